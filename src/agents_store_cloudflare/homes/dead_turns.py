"""Closes the open turn of a home's own session when the lease of the turn's lock has ended."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, LiteralString, cast

from agents_store_cloudflare.database import Homes, Row, Statement, compact_sql
from agents_store_cloudflare.homes.own_parts import OwnParts
from agents_store_cloudflare.homes.schema import SCHEMA
from agents_store_cloudflare.homes.tables import BatchRequest, HomeTables
from agents_store_cloudflare.homes.wire import read_rows
from agents_store_cloudflare.objects import ObjectCallError, ObjectHost

__all__ = ["DeadTurns"]

SHORTEST_PAUSE_MS: Final = 60_000
LONGEST_PAUSE_MS: Final = 24 * 3_600_000

# ?1 session id -> when the open turn began, or no row. Primary key.
_OPEN_SINCE: LiteralString = """
    SELECT open_turn ->> '$.startedAt'
    FROM __agents_states
    WHERE session_id = ?1
      AND open_turn IS NOT NULL
"""


class DeadTurns:
    """Closes dead turns of the session with the home's name, by the home's alarm. Dead turns of its children wait for a sweep.

    A turn is dead when its session's lock is free, because the next holder has a higher token. The home does what `sweep_turns`
    does, with its own lock, its own tables and its own stream.

    Args:
        host: the object's platform, with the shared alarm.
        call: answers a call of the home's lock or stream.
        wrote: is called after each batch, so that the directory gets the change.
        logger: gets the error of a turn that could not be closed. The home tries again after a minute, and then after ever longer
            pauses, unless the session's next turn or a sweep closes it before.
    """

    def __init__(
        self,
        host: ObjectHost,
        tables: HomeTables,
        own: OwnParts,
        *,
        call: Callable[[str], Awaitable[str]],
        wrote: Callable[[], None],
        logger: logging.Logger,
    ) -> None:
        self._host = host
        self._tables = tables
        self._own = own
        self._call = call
        self._wrote = wrote
        self._logger = logger

    def entered(self, frees_at: int | None = None) -> None:
        """Note that a turn may have entered. Look again when its lease ends.

        Args:
            frees_at: the end of the lease of the home's own session, if the caller knows it.
        """
        due_ms = self.waits() if frees_at is None else frees_at + 1
        if due_ms is not None:
            self._host.set_alarm(due_ms)

    def waits(self) -> int | None:
        """Return the next time at which this part needs the alarm: the end of an open turn's lease, or the next attempt to close it."""
        record = self._tables.record()
        since_ms = None if record is None else self._open_since(record.home)
        if record is None or since_ms is None or not self._own.are_here(record.home):
            return None
        frees_at = self._own.lock.frees_at(record.home)
        return self._next_attempt(since_ms) if frees_at is None else frees_at + 1

    async def ring(self) -> None:
        """Close a dead turn, or look again when the lease of a living turn ends. It never raises."""
        record = self._tables.record()
        if record is None or self._open_since(record.home) is None or not self._own.are_here(record.home):
            return
        if self._own.lock.frees_at(record.home) is None:
            try:
                await self._close(record.home)
            except Exception as error:  # noqa: BLE001 - the other parts of the alarm go on
                self._logger.warning("the dead turn of session %r could not be closed: %s", record.home, error)
        self.entered()

    def _next_attempt(self, since_ms: int) -> int:
        """Return the time of the next attempt: after as long as the turn has been open. So pauses double, and nothing is stored."""
        now_ms = self._host.now_ms()
        return now_ms + min(max(now_ms - since_ms, SHORTEST_PAUSE_MS), LONGEST_PAUSE_MS)

    def _open_since(self, home: str) -> int | None:
        rows = self._tables.query(_OPEN_SINCE, home)
        return cast("int", rows[0][0]) if rows else None

    async def _close(self, home: str) -> None:
        from agents_store_cloudflare.homes.accounts import OutboxAccounts  # noqa: PLC0415 - few homes need it
        from agents_store_cloudflare.locks import DurableObjectLockManager  # noqa: PLC0415
        from agents_store_cloudflare.state.turn_store import D1TurnStore  # noqa: PLC0415
        from agents_store_cloudflare.streams.manager import DurableObjectStreamManager  # noqa: PLC0415
        from agents_store_cloudflare.turns.sweeping import sweep_session  # noqa: PLC0415
        from agents_store_cloudflare.usage import UsageOptions  # noqa: PLC0415

        now_ms = self._host.now_ms
        objects = _OwnObject(home, self._call)
        state = D1TurnStore(
            _OwnHome(home, self._tables, self._wrote),
            now_ms=now_ms,
            accounts=OutboxAccounts(UsageOptions(), now_ms),
        )
        streams, locks = DurableObjectStreamManager(objects), DurableObjectLockManager(objects)
        await sweep_session(home, state, streams, locks, now_ms)


class _OwnHome(Homes):
    """The home's own tables as the database of its session."""

    def __init__(self, home: str, tables: HomeTables, wrote: Callable[[], None]) -> None:
        self._home = home
        self._tables = tables
        self._wrote = wrote

    def of(self, session_id: str) -> _OwnHome:  # noqa: ARG002 - only the home's own session is swept here
        return self

    def of_new(self, session_id: str) -> _OwnHome:
        """Return the home, although nothing is created here."""
        return self.of(session_id)

    def admit(self, session_id: str, parent_session_id: str | None) -> None:
        """Allow every id, because no session is created here."""

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run the statements as one transaction."""
        request = BatchRequest(
            home=self._home,
            session=self._home,
            schema=SCHEMA,
            statements=[(compact_sql(each.sql), each.parameters) for each in statements],
        )
        result = self._tables.run(request)
        if result.is_write:
            self._wrote()
        return read_rows(result.text)


class _OwnObject:
    """The home's lock and stream as objects of a namespace."""

    def __init__(self, home: str, call: Callable[[str], Awaitable[str]]) -> None:
        self._home = home
        self._call = call

    async def call(self, name: str, request: str) -> str:
        """Answer a call of the home's own lock or stream.

        Raises:
            ObjectCallError: the stream is not the home's own.
        """
        if name != self._home:
            raise ObjectCallError(f"{name!r} has an object of its own, which a home does not call", raised=True)
        return await self._call(request)
