"""A lock whose holder pauses for too long, and the store that refuses the holder's late write.

GET /write?who=ada&pause=0   takes the lock of the document, pauses, and writes it; the answer lists the events GET / the writers of
the document, and whether somebody holds its lock
"""

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    AgentsStoreError,
    AgentState,
    D1StateStore,
    DurableObjectLockManager,
    InvalidArgumentError,
    LockServer,
    StaleFencingTokenError,
    run_migration,
)

__all__ = ["Default", "LockServer"]

DOCUMENT = "document"
LONGEST_WAIT_S = 20


@dataclass(frozen=True, slots=True)
class Event:
    """An act of a writer with its fencing token, and the time in seconds since 1970."""

    at: float
    who: str
    token: int
    did: str


class Default(WorkerEntrypoint):
    """Answers in plain text, for reading with curl."""

    env: Any  # the bindings of wrangler.toml

    async def fetch(self, request: Request) -> Response:
        """Write, or show the writers."""
        url = urlsplit(request.url)
        query = parse_qs(url.query)
        states = D1StateStore(self.env.AGENT_DB)
        locks = DurableObjectLockManager(self.env.LOCKS, default_ttl=float(self.env.LOCK_TTL_S))
        try:
            await run_migration(self.env.AGENT_DB)
            if url.path == "/write":
                who, pause = query.get("who", ["ada"])[0], query.get("pause", ["0"])[0]
                return await write(states, locks, who, whole_seconds(pause))
            writer = (await load(states)).custom_state.get("writer", "nobody")
            return Response(f"written by {writer}; {'locked' if await locks.is_locked(DOCUMENT) else 'free'}\n")
        except AgentsStoreError as error:
            return Response(f"{error}\n", status=error.http_status)


async def write(states: D1StateStore, locks: DurableObjectLockManager, who: str, pause_s: int) -> Response:
    """Write under the lock, after a pause in which nobody refreshes it, as if the isolate stood still."""
    async with locks.lock(DOCUMENT, wait=LONGEST_WAIT_S, owner=who) as lock:
        events = [Event(time.time(), who, lock.fencing_token, "took the lock")]
        await asyncio.sleep(pause_s)
        # A check of lock.lost does not help here, because the pause can come directly after the check. The version does not help
        # either, because the document is loaded after the pause. Only the token refuses a late write.
        document = await load(states)
        before = [Event(**event) for event in document.custom_state.get("events", [])]
        events.append(Event(time.time(), who, lock.fencing_token, "writes"))
        document.custom_state = {"writer": who, "events": [asdict(event) for event in events]}
        try:
            await states.save(document, fencing_token=lock)
        except StaleFencingTokenError as error:
            refused = Event(time.time(), who, error.actual, f"is REFUSED: the store has seen {error.expected}")
            return Response(timeline([*before, *events, refused]), status=error.http_status)
        return Response(timeline(events))


async def load(states: D1StateStore) -> AgentState:
    """Return the document, or an empty document if nobody has written it."""
    return await states.load_state(DOCUMENT) or AgentState(session_id=DOCUMENT, agent_type="document")


def timeline(events: list[Event]) -> str:
    """Return a line for each event, in the order of time."""
    ordered = sorted(events, key=lambda event: event.at)
    return "".join(
        f"{event.at - ordered[0].at:4.1f} s  token {event.token}  {event.who} {event.did}\n" for event in ordered
    )


def whole_seconds(given: str) -> int:
    """Return the length of the pause."""
    if not (given.isascii() and given.isdecimal() and len(given) < 3 and int(given) <= LONGEST_WAIT_S):
        raise InvalidArgumentError(f"pause must be whole seconds, at most {LONGEST_WAIT_S}")
    return int(given)
