"""The parts of an operator's act: the page that explains it, the act itself, and its report."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from agents_store_cloudflare.console.asking import Asked
from agents_store_cloudflare.console.sources import Objects
from agents_store_cloudflare.contract.errors import AgentsStoreError, StreamError
from agents_store_cloudflare.contract.json_values import JsonObject

__all__ = [
    "Act",
    "ChangedError",
    "Entry",
    "Plan",
    "Receipt",
    "holding",
    "new_commit_id",
    "objects_of",
    "overview",
    "who_is_kept_out",
]


class ChangedError(AgentsStoreError):
    """The page was shown about a session or a stream that is gone by now. One that was made since has its name."""

    code = "changed"
    http_status = 409


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A field of the form that the operator may fill in."""

    name: str
    label: str
    value: str = ""
    kind: str = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The content of a confirmation.

    Attributes:
        says: paragraphs about the effect of the act.
        fixed: the values that the form fixes. The form's token covers them, so a changed value makes the token invalid.
        entries: the fields that the operator may fill in.
        back: the page to go back to.
    """

    title: str
    says: tuple[str, ...]
    fixed: Mapping[str, str]
    button: str
    back: str
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The report of an act.

    Attributes:
        facts: names and texts, for people.
        data: the same facts for programs.
        file: a file to download: its name and its content.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    back: str
    data: JsonObject = field(default_factory=dict[str, Any])
    file: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act.

    Attributes:
        written: the fields that the operator fills in. The form's token fixes all other values.
        needs_objects: True for an act that needs Durable Objects. It is not offered over a database alone.
    """

    plan: Callable[[Asked], Awaitable[Plan]]
    perform: Callable[[Asked, Mapping[str, str]], Awaitable[Receipt]]
    written: frozenset[str] = frozenset()
    needs_objects: bool = False


def new_commit_id() -> str:
    """Return a commit id for the form of an act. With it the act has one effect, even if its button is pressed twice."""
    return secrets.token_hex(16)


def objects_of(asked: Asked) -> Objects:
    """Return the Durable Objects behind the console.

    Raises:
        StreamError: the console has only a database.
    """
    if asked.sources.objects is None:
        raise StreamError("this act needs the Worker's Durable Objects, and this console has only a database")
    return asked.sources.objects


def overview(asked: Asked, session_id: str) -> str:
    """Return the link to the page of a session."""
    return asked.link("session", id=session_id)


@asynccontextmanager
async def holding(asked: Asked, session_id: str) -> AsyncGenerator[dict[str, Any]]:
    """Hold the session's lock during a change. The value of the block is the keyword arguments with the fencing token.

    Raises:
        LockNotAcquiredError: somebody holds the session.
    """
    objects = asked.sources.objects
    if objects is None or objects.locks is None:
        yield {}
        return
    async with objects.locks.lock(session_id) as lock:
        yield {"fencing_token": lock}


def who_is_kept_out(asked: Asked) -> str:
    """Return a sentence for a plan that says whether `holding` keeps agents away from the session."""
    objects = asked.sources.objects
    if objects is not None and objects.locks is not None:
        return "The session's lock is held meanwhile. Where somebody else holds it, nothing happens."
    return "No lock can be taken from here: make sure that no agent is working on the session."
