"""What the instruments need of an adapter: a world with two clients on one database, and its operations."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ClassVar, Self

import pytest

from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.testing import FakeClock, SqliteDatabase
from tests.instruments.images import copy_of
from tests.instruments.operations import NOW_MS, Call, Operation, Role
from tests.instruments.seams import Seam, WatchedDatabase

__all__ = ["AdapterWorld", "by_others", "op", "plain_op", "role_of"]

Act = Callable[[Any], Awaitable[object]]


class AdapterWorld:
    """Two clients of one adapter. The first is behind a seam. A subclass makes clients, fills the database and shows what is stored."""

    image: ClassVar[SqliteDatabase | None] = None

    def __init__(self, database: SqliteDatabase) -> None:
        self.clock = FakeClock(NOW_MS)
        self.seam = Seam()
        self.database = database
        self.mine = self.client(WatchedDatabase(database, self.seam))
        self.theirs = self.client(database)

    def client(self, database: Any) -> Any:
        """Return a client of the adapter."""
        raise NotImplementedError

    async def fill(self) -> None:
        """Store what the operations find."""

    async def picture(self) -> str:
        """Return everything that a new client reads, as text without random values."""
        raise NotImplementedError

    async def probe(self, client: Any) -> None:
        """Use the client once more. Raise if it cannot be used."""
        raise NotImplementedError

    @classmethod
    async def open(cls) -> Self:
        """Return a new world. The database is filled once and copied then."""
        if "image" not in vars(cls):
            database = SqliteDatabase()
            await run_migration(database)
            await cls(database).fill()
            cls.image = database
        assert cls.image is not None
        return cls(copy_of(cls.image))

    async def left_over(self) -> list[str]:
        return []

    def close(self) -> None:
        self.database.close()


def op(
    name: str,
    act: Callable[..., Awaitable[object]],
    *arguments: Callable[..., object],
    is_retried: bool = True,
) -> Operation:
    """Return a call of a client.

    Args:
        act: gets the client and the arguments.
        arguments: make the arguments, which the aliasing instrument changes. A coroutine function gets the world and the client.
    """

    async def prepare(world: AdapterWorld, client: Any) -> Call:
        made: list[object] = [
            await each(world, client) if inspect.iscoroutinefunction(each) else each() for each in arguments
        ]
        return Call(partial(_told, act, client), made)

    return Operation(name, (), prepare, is_retried)


def plain_op(name: str, act: Act) -> Operation:
    """Return a call of a client that has no arguments to change."""
    return op(name, act)


def by_others(name: str, act: Act) -> Operation:
    """Return one or several calls that others make meanwhile."""

    async def prepare(world: AdapterWorld, client: Any) -> Call:
        return Call(partial(_told, act, client))

    return Operation(name, (), prepare, is_retried=False, is_block=True)


async def _told(act: Callable[..., Awaitable[object]], client: Any, *given: object) -> object:
    """Make the call. An error that no adapter promises fails the test."""
    try:
        return await act(client, *given)
    except (LookupError, AttributeError, AssertionError) as error:
        pytest.fail(f"an error that nobody promised: {error!r}")


def role_of(name: str, world: type[AdapterWorld], *operations: Operation) -> Role:
    """Return the role of an adapter."""
    return Role(name, (), frozenset(), False, world.open, operations)
