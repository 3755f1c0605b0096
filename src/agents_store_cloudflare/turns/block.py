"""`async with store.turn(…)`: enters a turn, and ends it whatever happens in the block."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable
from contextvars import ContextVar
from types import TracebackType
from typing import Final

from agents_store_cloudflare.contract.errors import (
    AgentsStoreError,
    LockLostError,
    LockNotAcquiredError,
    StaleFencingTokenError,
    StreamError,
    TurnEndedError,
    TurnError,
    TurnRunningError,
)
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.state.records import AgentStatus
from agents_store_cloudflare.contract.usage.budgets import Reservation
from agents_store_cloudflare.database.finishing import quietly
from agents_store_cloudflare.locks import DurableObjectLockManager
from agents_store_cloudflare.locks.lock import DurableObjectLock
from agents_store_cloudflare.locks.loss import CancelledWhenLost
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.state.turn_records import EnteredTurn, TurnEntry
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.writer import DurableObjectStreamWriter
from agents_store_cloudflare.turns.closings import publish
from agents_store_cloudflare.turns.options import TurnOptions
from agents_store_cloudflare.turns.turn import Turn, TurnParts

__all__ = ["TurnBlock"]

SWEEPER_WAIT_S: Final = 1.0
RESTARTABLE: Final = frozenset({"failed", "interrupted", "running", None})

_logger = logging.getLogger("agents_store_cloudflare.turns")
_inside: ContextVar[frozenset[tuple[str, int]]] = ContextVar("agents_store_turns", default=frozenset())


class TurnBlock:
    """The block of one turn. Make it with `store.turn`; it is used once."""

    def __init__(
        self,
        options: TurnOptions,
        state: D1StateStore,
        streams: DurableObjectStreamManager,
        locks: DurableObjectLockManager,
    ) -> None:
        self._options = options
        self._state = state
        self._streams = streams
        self._locks = locks
        self._turn: Turn | None = None
        self._parts: TurnParts | None = None
        self._writer: DurableObjectStreamWriter | None = None
        self._place = (options.session_id, 0)

    async def __aenter__(self) -> Turn:
        options = self._options
        if self._turn is not None:
            raise TurnError("a turn's block is entered once; call store.turn again")
        self._place = (options.session_id, id(asyncio.current_task()))
        if self._place in _inside.get():
            raise TurnError(f"session {options.session_id!r} has an open turn around this one; a turn has none inside")
        lock = await self._acquired()
        try:
            self._turn = await self._entered(lock)
        except BaseException as error:
            self._close_writer()
            if isinstance(error, AgentsStoreError) and error.outcome_unknown:
                lock.let_expire()
            else:
                await quietly(lock.release(), "the lock could not be given back", _logger)
            raise
        _inside.set(_inside.get() | {self._place})
        if options.auto_refresh:
            lock.keep_refreshed(options.max_hold_ms)
        self._loss = CancelledWhenLost([lock])
        await self._loss.__aenter__()
        return self._turn

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._turn is not None and self._parts is not None  # noqa: S101, PT018 - __aenter__ has returned
        _inside.set(_inside.get() - {self._place})
        try:
            await self._ended(self._turn, kind, error, trace)
        except asyncio.CancelledError:
            # Cancelled again while it ended: the lock must not be refreshed on and on for nobody.
            await quietly(self._parts.lock.release(), "the lock ends with its ttl", _logger)
            raise
        finally:
            self._close_writer()

    async def _ended(
        self,
        turn: Turn,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._parts is not None  # noqa: S101 - the turn was entered
        try:
            await self._loss.__aexit__(kind, error, trace)
            if error is None and not turn.is_over:
                await turn.end()
        except BaseException as ending:
            await self._failed(turn, ending)
            raise
        if error is not None:
            await self._failed(turn, error)
            return
        await self._let_go(turn, self._parts.lock)

    async def _acquired(self) -> DurableObjectLock:
        options = self._options
        lock = await self._locks.acquire(options.session_id, ttl=options.ttl, wait=options.wait, owner=options.turn_id)
        if lock is not None:
            return lock
        found = await self._state.find_turn(options.session_id, options.turn_id)
        if found is not None and found.status not in RESTARTABLE:
            raise TurnEndedError(
                options.session_id,
                options.turn_id,
                status=str(found.status),
                output=found.output,
                from_sequence=found.from_sequence,
                end_sequence=found.end_sequence,
            )
        running = None if found is None else found.open_turn
        if running is not None:
            if running["turnId"] == options.turn_id:
                raise TurnRunningError(
                    options.session_id,
                    options.turn_id,
                    stream_id=str(running["streamId"]),
                    from_sequence=int(str(running["from"])),
                )
            raise LockNotAcquiredError(options.session_id)
        # No turn holds the lock: perhaps a sweep does, for two calls.
        lock = await self._locks.acquire(options.session_id, ttl=options.ttl, wait=SWEEPER_WAIT_S)
        if lock is None:
            raise LockNotAcquiredError(options.session_id)
        return lock

    async def _entered(self, lock: DurableObjectLock) -> Turn:
        options = self._options
        self._writer = writer = self._new_writer(lock) if options.stream else None
        reservation = self._reservation()
        entry = TurnEntry(
            session_id=options.session_id,
            turn_id=options.turn_id,
            agent_type=options.agent_type,
            token=lock.fencing_token,
            turn=self._facts(lock, writer, reservation),
            messages=options.messages,
            parent_session_id=options.parent_session_id,
            create=options.create,
            reservation=reservation,
        )
        opening = None if writer is None else asyncio.ensure_future(writer.open())
        try:
            entered = await self._state.enter_turn(entry, uuid.uuid4().hex)
        except BaseException:
            if opening is not None:
                await asyncio.gather(opening, return_exceptions=True)
            raise
        if opening is not None and writer is not None:
            await self._opened(opening)
            entered.turn["from"] = writer.last_sequence
            entered.turn["incarnation"] = writer.incarnation
        self._parts = TurnParts(
            options=options,
            state_store=self._state,
            lock=lock,
            entered=entered,
            writer=writer,
            reservation=reservation,
            owed=await self._told(entered, writer),
        )
        if writer is not None and entered.state.status == AgentStatus.SUSPENDED and entered.turn["fenced"]:
            await self._streams.resume_stream(writer.stream_id, fencing_token=lock.fencing_token)
        return Turn(self._parts)

    def _close_writer(self) -> None:
        """Give back the writer's timer and its object. Its chunks are stored, or lost with the turn."""
        if self._writer is not None:
            self._writer.let_go()

    def _new_writer(self, lock: DurableObjectLock) -> DurableObjectStreamWriter:
        options = self._options
        return self._streams.turn_writer(
            options.session_id,
            options.agent_id or options.agent_type,
            options.agent_type,
            fencing_token=lock.fencing_token,
        )

    def _reservation(self) -> Reservation | None:
        if self._options.budget is None:
            return None
        scope, amount = self._options.budget
        expires_at = self._state.now_ms() + self._options.max_hold_ms
        return Reservation(id=uuid.uuid4().hex, scope=scope, amount=amount, expires_at=expires_at)

    def _facts(
        self, lock: DurableObjectLock, writer: DurableObjectStreamWriter | None, reservation: Reservation | None
    ) -> JsonObject:
        """What the state row keeps of the open turn."""
        options = self._options
        kept = (
            None
            if reservation is None
            else [reservation.scope, reservation.expires_at, reservation.id, reservation.amount]
        )
        return {
            "turnId": options.turn_id,
            "token": lock.fencing_token,
            "writer": None if writer is None else writer.writer_id,
            "incarnation": None,
            "agentId": options.agent_id or options.agent_type,
            "agentType": options.agent_type,
            "streamId": options.session_id,
            "fenced": True,
            "reservation": kept,
            "spent": 0,
        }

    async def _opened(self, opening: Awaitable[object]) -> None:
        """A stream that cannot be reached now is asked again by the first flush."""
        try:
            await opening
        except StreamError:
            _logger.warning("the stream of turn %r could not be opened yet", self._options.turn_id, exc_info=True)

    async def _told(self, entered: EnteredTurn, writer: DurableObjectStreamWriter | None) -> list[JsonObject]:
        """What is still owed after an attempt to publish it."""
        if not entered.owed:
            return []
        if writer is not None and writer.newest_closed_turn == entered.owed[-1]["turnId"]:
            return []
        try:
            told = await publish(self._streams, entered.owed, self._state.now_ms())
        except StreamError:
            _logger.warning("closing chunks of session %r stay owed", self._options.session_id, exc_info=True)
            return entered.owed
        if writer is not None:
            # The turn's own chunks begin after the closing chunks of earlier turns.
            entered.turn["from"] = max(writer.last_sequence, told.get(writer.stream_id, 0))
        return []

    async def _failed(self, turn: Turn, error: BaseException) -> None:
        """End a turn whose block raised. Nothing here hides the block's own exception."""
        assert self._parts is not None  # noqa: S101 - the turn was entered
        if isinstance(error, LockLostError | StaleFencingTokenError):
            return
        if isinstance(error, AgentsStoreError) and error.outcome_unknown and not turn.is_over:
            _logger.warning("turn %r ended with an unknown outcome; the next turn or a sweep closes it", turn.id)
            self._parts.lock.let_expire()
            return
        if not turn.is_over:
            is_cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt)
            status = "interrupted" if is_cancelled else "failed"
            code = "interrupted" if is_cancelled else getattr(error, "code", "failed")
            _logger.info("turn %r %s", turn.id, status, exc_info=error)
            writer = self._parts.writer
            if writer is not None and writer.pending:
                await quietly(writer.flush(), "the last chunks could not be stored", _logger)
            text = str(error) if isinstance(error, AgentsStoreError) else type(error).__name__
            await quietly(turn.fail(status, str(code), text[:2000]), "the run could not be ended", _logger)
        await self._let_go(turn, self._parts.lock)

    async def _let_go(self, turn: Turn, lock: DurableObjectLock) -> None:
        """Release the lock and publish the closing chunk, side by side."""
        parts, wait_until = self._parts, self._options.wait_until
        assert parts is not None  # noqa: S101 - the turn was entered
        owed = [*parts.owed, *([] if turn.closing is None else [turn.closing])]

        # Functions, so that a cancellation before their first step leaves no call that nobody awaits.
        async def release() -> None:
            await quietly(lock.release(), "the lock ends with its ttl", _logger)

        async def tell() -> None:
            publishing = publish(self._streams, owed, self._state.now_ms())
            await quietly(publishing, "the closing chunk stays owed", _logger)

        if not owed:
            await release()
        elif wait_until is None:
            await asyncio.gather(release(), tell())
        else:
            wait_until(asyncio.ensure_future(tell()))
            await release()
