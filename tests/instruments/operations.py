"""What the instruments share: an operation of a role, and a world in which it runs."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any, Protocol, TypeAlias

from agents_store_cloudflare.database import SqlError
from agents_store_cloudflare.testing import FakeClock
from tests.instruments.seams import Seam

__all__ = ["Call", "Operation", "Role", "World", "outcome_of", "plain"]

NOW_MS = 1_700_000_000_000
_BY_CHANCE = re.compile(
    r"(?<='storedHistory': )\[[^\]]*\]|(?<=-)[0-9a-f]{6}(?=\b)|\b[0-9a-f]{32}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
)


class World(Protocol):
    """One role's stores with data in them, and two clients.

    Attributes:
        seam: between the first client and its store; it counts the calls, and fails them as it is told.
        mine: the first client. theirs: another one, on a seam of its own that never fails.
    """

    clock: FakeClock
    seam: Seam
    mine: Any
    theirs: Any

    async def picture(self) -> str:
        """Return everything that public reads show, as text without random values."""
        ...

    async def left_over(self) -> list[str]:
        """Return the locks, reservations and listeners that nobody holds any more."""
        ...

    async def probe(self, client: Any) -> None:
        """Use the client once more. Raise if it cannot be used."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


@dataclass(frozen=True)
class Call:
    """A prepared call with its arguments. Nothing is sent yet."""

    method: Callable[..., Awaitable[Any]]
    arguments: Sequence[Any] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict[str, Any])

    async def make(self) -> Any:
        return await self.method(*self.arguments, **self.keywords)

    def takes(self, name: str) -> bool:
        """Return whether the call has this parameter."""
        return name in signature(self.method).parameters

    def having(self, **keywords: object) -> Call:
        """Return the call with those of these keywords that it accepts and lacks."""
        more = {name: value for name, value in keywords.items() if self.takes(name)}
        return replace(self, keywords={**more, **self.keywords})


Prepare: TypeAlias = "Callable[[Any, Any], Awaitable[Call]]"


@dataclass(frozen=True)
class Operation:
    """One call of a role.

    Attributes:
        covers: the methods of the protocols that it calls, as `Protocol.method`.
        prepare: given the world and a client, the call with its arguments.
        is_retried: a lost reply is repaired by the client itself.
        is_block: it runs a whole `async with` block; when it is over, nothing may be left.
        gives_back: it gives back what was held before. Cancelled, it may be called again.
    """

    name: str
    covers: tuple[str, ...]
    prepare: Prepare
    is_retried: bool = True
    is_block: bool = False
    gives_back: bool = False


@dataclass(frozen=True)
class Role:
    """A role: its protocols, how its world is made, its operations."""

    name: str
    protocols: tuple[type, ...]
    reads: frozenset[str]
    counts_attempts: bool  # what was taken and given back again shows, as a lock's token does
    open: Callable[[], Awaitable[Any]]
    operations: tuple[Operation, ...]


async def outcome_of(call: Call) -> str:
    """Return the result, or the error, as text."""
    try:
        return plain(await call.make())
    except SqlError:
        raise
    except Exception as error:  # noqa: BLE001 - an error is a result too
        return plain(f"{type(error).__name__}: {error}")


def plain(value: object) -> str:
    """Return the value as text without random values."""
    shown = getattr(value, "to_dict", None)
    text = repr(shown() if callable(shown) else value)
    return _BY_CHANCE.sub("*", text)
