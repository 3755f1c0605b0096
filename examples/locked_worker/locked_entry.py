"""A lock whose holder pauses for too long, and the store that refuses what it then writes.

GET /write?who=ada&pause=0   takes the lock of the one document here, pauses, and writes it; answers with what happened
GET /                        the document, and whether somebody holds its lock
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
LONGEST_PAUSE_S = 20.0


@dataclass(frozen=True, slots=True)
class Event:
    """What one of the writers did, under which fencing token; the time in seconds since 1970."""

    at: float
    who: str
    token: int
    did: str


class Default(WorkerEntrypoint):
    """Answers in plain text, for reading with curl."""

    env: Any  # the bindings of wrangler.toml

    async def fetch(self, request: Request) -> Response:
        """Write, or show what is written."""
        url = urlsplit(request.url)
        query = parse_qs(url.query)
        self._states = D1StateStore(self.env.AGENT_DB)
        self._locks = DurableObjectLockManager(self.env.LOCKS, default_ttl=float(self.env.LOCK_TTL_S))
        try:
            await run_migration(self.env.AGENT_DB)
            if url.path != "/write":
                return await self._shown()
            return await self._write(query.get("who", ["ada"])[0], _pause_s(query.get("pause", ["0"])[0]))
        except AgentsStoreError as error:
            return Response(f"{error}\n", status=error.http_status)

    async def _write(self, who: str, pause_s: float) -> Response:
        async with self._locks.lock(DOCUMENT, wait=LONGEST_PAUSE_S, owner=who) as lock:
            token = lock.fencing_token
            events = [Event(time.time(), who, token, "took the lock")]
            await asyncio.sleep(pause_s)  # no refresh: as if the isolate stood still
            events.append(Event(time.time(), who, token, "writes"))
            # Asking lock.lost would help here, but never surely: the pause can as well come right after having asked. And the
            # version is no help, for the document is loaded after the pause. What refuses the late write is its token.
            document = await self._document()
            before = [Event(**event) for event in document.custom_state.get("events", [])]
            document.custom_state = {"writer": who, "events": [asdict(event) for event in events]}
            try:
                await self._states.save(document, fencing_token=lock)
            except StaleFencingTokenError as error:
                refusal = Event(time.time(), who, token, f"REFUSED, the store has seen {error.expected}")
                return _told([*events, *before, refusal], status=error.http_status)
            return _told(events)

    async def _document(self) -> AgentState:
        stored = await self._states.load_state(DOCUMENT)
        return stored or AgentState(session_id=DOCUMENT, agent_type="document")

    async def _shown(self) -> Response:
        writer = (await self._document()).custom_state.get("writer", "nobody")
        lock = "locked" if await self._locks.is_locked(DOCUMENT) else "free"
        return Response(f"written by {writer}; {lock}\n")


def _told(events: list[Event], *, status: int = 200) -> Response:
    start = events[0].at
    ordered = sorted(events, key=lambda event: event.at)
    return Response(
        "".join(f"{event.at - start:5.1f} s  {event.token}  {event.who} {event.did}\n" for event in ordered),
        status=status,
    )


def _pause_s(given: str) -> float:
    if not given.isdecimal() or int(given) > LONGEST_PAUSE_S:
        raise InvalidArgumentError(f"pause must be whole seconds, at most {LONGEST_PAUSE_S:.0f}")
    return float(given)
