"""Entering a turn: acquire the lock, then send one batch and open the stream at the same time. In a home all three are one call."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final, cast

from agents_store_cloudflare.contract.errors import (
    AgentsStoreError,
    LockNotAcquiredError,
    StaleFencingTokenError,
    StreamError,
    StreamNotFoundError,
    TurnEndedError,
    TurnRunningError,
)
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.state.records import AgentStatus
from agents_store_cloudflare.contract.usage.budgets import Reservation
from agents_store_cloudflare.database import LOCK_TOKEN, HomeNumber
from agents_store_cloudflare.database.finishing import Finishing, quietly
from agents_store_cloudflare.locks import DurableObjectLockManager
from agents_store_cloudflare.locks.lock import DurableObjectLock
from agents_store_cloudflare.state.turn_entering import RESTARTABLE
from agents_store_cloudflare.state.turn_records import (
    EnteredTurn,
    NotTogetherError,
    TurnEntry,
    TurnHome,
    kept_reservation,
)
from agents_store_cloudflare.state.turn_store import D1TurnStore
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.writer import DurableObjectStreamWriter
from agents_store_cloudflare.turns.closings import publish
from agents_store_cloudflare.turns.options import TurnOptions
from agents_store_cloudflare.turns.parts import TurnParts, opening_logged

__all__ = ["Entrance"]

SWEEPER_WAIT_MS: Final = 1000

_logger = logging.getLogger("agents_store_cloudflare.turns")


class Entrance:
    """Enters one turn. Call `come_in`, then `tell`.

    Attributes:
        abandoned: the parts of a turn that was entered after its caller was cancelled. The caller has to end the turn.
    """

    def __init__(
        self,
        options: TurnOptions,
        state: D1TurnStore,
        streams: DurableObjectStreamManager,
        locks: DurableObjectLockManager,
    ) -> None:
        self._options = options
        self._state = state
        self._streams = streams
        self._locks = locks
        self._finishing = Finishing(asyncio.sleep)
        self.abandoned: TurnParts | None = None

    async def come_in(self) -> TurnParts:
        """Acquire the session's lock and enter the turn. If the call raises, the lock is given back, or it ends with its ttl.

        Raises:
            TurnRunningError, TurnEndedError: the turn is running, or has ended.
            LockNotAcquiredError: somebody else holds the lock.
        """
        home = self._state.turn_home(self._options.session_id)
        is_held = False
        if home is not None:
            try:
                return await self._enter_at_once(home)
            except NotTogetherError as refusal:
                is_held = refusal.is_held
        return await self._enter_with(await self._lock(is_held=is_held))

    async def _lock(self, *, is_held: bool) -> DurableObjectLock:
        """Return the session's lock.

        Args:
            is_held: a call that does not wait was refused just now.

        Raises:
            TurnRunningError, TurnEndedError: the turn is running, or has ended.
            LockNotAcquiredError: somebody else holds the lock.
        """
        options = self._options
        lock = None if is_held and options.wait_ms == 0 else await self._acquire(options.wait_ms)
        if lock is not None:
            return lock
        # A sweep holds the lock for three calls. So even a caller that does not wait for turns waits a second for a sweep.
        is_turn = await self._look()
        if not is_turn and options.wait_ms < SWEEPER_WAIT_MS:
            lock = await self._acquire(SWEEPER_WAIT_MS - options.wait_ms)
            if lock is not None:
                return lock
            await self._look()
        raise LockNotAcquiredError(options.session_id)

    async def _acquire(self, wait_ms: int) -> DurableObjectLock | None:
        options = self._options
        return await self._locks.acquire(
            options.session_id, ttl=options.ttl, wait=wait_ms / 1000, owner=options.turn_id
        )

    async def _look(self) -> bool:
        """Return whether the open turn holds the lock. While a sweep works or a turn is entered, somebody else holds it."""
        options = self._options
        found = await self._state.find_turn(options.session_id, options.turn_id)
        if found is None:
            return False
        if found.status is not None and found.status not in RESTARTABLE:
            raise TurnEndedError(
                options.session_id,
                options.turn_id,
                status=found.status,
                output=found.output,
                from_sequence=found.from_sequence,
                end_sequence=found.end_sequence,
            )
        running = found.open_turn
        if running is None:
            return False
        holder = await self._locks.get_holder(options.session_id)
        if holder is None or holder.fencing_token != running["token"]:
            return False
        if running["turnId"] != options.turn_id:
            return True
        raise TurnRunningError(
            options.session_id,
            options.turn_id,
            stream_id=str(running["streamId"]),
            from_sequence=int(str(running["from"])),
        )

    async def _enter_with(self, lock: DurableObjectLock) -> TurnParts:
        """Enter the turn in one batch, and open the writer at the same time. If the call raises, at most an empty stream is left."""
        writer = self._new_writer(lock.fencing_token)
        opening = None if writer is None else asyncio.ensure_future(self._opened(writer))
        entry = self._entry(lock.fencing_token, writer)
        try:
            return await self._entered(entry, writer, lambda: lock, opening)
        except BaseException as error:
            if opening is not None and writer is not None:
                await asyncio.gather(opening, return_exceptions=True)
            await self._come_out(lock, error, writer)
            raise

    async def _enter_at_once(self, home: TurnHome) -> TurnParts:
        """Acquire the lock, enter the turn and open its writer in one call of the session's home.

        Raises:
            NotTogetherError: the lock is not free, or has an object of its own; nothing has happened.
        """
        from agents_store_cloudflare.turns.at_home import Opening  # noqa: PLC0415 - only homes need it

        options = self._options
        acquire = self._locks.acquiring(options.session_id, ttl=options.ttl, owner=options.turn_id)
        writer = self._new_writer(None)
        others = [] if writer is None else [Opening(writer, options.turn_id)]
        entry = replace(self._entry(LOCK_TOKEN, writer), database=home.entering(acquire, others))

        def lock_of() -> DurableObjectLock:
            lock = cast("DurableObjectLock", acquire.lock)
            if writer is not None:
                writer.hold(lock.fencing_token)
            return lock

        try:
            return self._of_its_lock(await self._entered(entry, writer, lock_of))
        except BaseException as error:
            if acquire.lock is None:
                acquire.leave()  # a caller that was cancelled twice did not wait for the reply
                if writer is not None and self.abandoned is None:
                    writer.let_go()
                raise
            await self._come_out(acquire.lock, error, writer)
            if isinstance(error, StaleFencingTokenError) and isinstance(error.actual, HomeNumber):
                raise self._stale(acquire.lock, error.expected) from None
            raise

    def _of_its_lock(self, parts: TurnParts) -> TurnParts:
        """Return the parts. If the turn was entered with an earlier grant of the same acquire, which is over, raise an error."""
        token = cast("int", parts.entered.turn["token"])
        if token != parts.lock.fencing_token:
            raise self._stale(parts.lock, token)
        return parts

    def _stale(self, lock: DurableObjectLock, newest: int) -> StaleFencingTokenError:
        return StaleFencingTokenError(self._options.session_id, expected=newest, actual=lock.fencing_token)

    async def _entered(
        self,
        entry: TurnEntry,
        writer: DurableObjectStreamWriter | None,
        lock_of: Callable[[], DurableObjectLock],
        opening: Awaitable[None] | None = None,
    ) -> TurnParts:
        """Send the batch that enters the turn.

        A cancelled call still waits for the reply. If the turn was entered, `abandoned` holds its parts. A call that is cancelled a
        second time stops waiting. Then the session's next turn or a sweep closes the turn.
        """

        def parts_of(entered: EnteredTurn) -> TurnParts:
            return TurnParts(
                options=self._options,
                state_store=self._state,
                streams=self._streams,
                lock=lock_of(),
                entered=entered,
                writer=writer,
                reservation=entry.reservation and entered.reservation,
                owed=entered.owed,
                opening=opening,
                home=self._state.turn_home(self._options.session_id),
            )

        entering = self._finishing.start(self._state.enter_turn(entry, uuid.uuid4().hex))
        try:
            await asyncio.wait([entering])
            return parts_of(entering.result())
        except asyncio.CancelledError:
            await self._finishing.wait_for([entering])
            if entering.done() and not entering.cancelled() and entering.exception() is None:
                self.abandoned = parts_of(entering.result())
            raise

    async def _come_out(
        self, lock: DurableObjectLock, error: BaseException, writer: DurableObjectStreamWriter | None
    ) -> None:
        """Give back the lock and the writer of a turn that was not entered."""
        if self.abandoned is not None:
            return
        if writer is not None:
            writer.let_go()
        if isinstance(error, AgentsStoreError) and error.outcome_unknown:
            lock.let_expire()
        else:
            await quietly(lock.release(), "the lock could not be given back", _logger)

    def _entry(self, token: int, writer: DurableObjectStreamWriter | None) -> TurnEntry:
        options = self._options
        now_ms = None if options.budget is None else self._state.now_ms()
        reservation = None if now_ms is None else self._reservation(now_ms)
        return TurnEntry(
            session_id=options.session_id,
            turn_id=options.turn_id,
            agent_type=options.agent_type,
            token=token,
            turn=self._facts(writer, reservation),
            messages=options.messages,
            parent_session_id=options.parent_session_id,
            create=options.create,
            reservation=reservation,
            reserved_at=now_ms,
        )

    async def tell(self, parts: TurnParts) -> None:
        """Bring the stream up to date: write the missing closing chunks of earlier turns, and resume the stream after a suspension.

        Raises:
            StreamError: the stream of a suspended session cannot be reached.
        """
        writer, is_resumed = parts.writer, parts.entered.state.status == AgentStatus.SUSPENDED
        if writer is not None:
            if parts.opening is not None:
                await parts.opening
            if parts.stream_id != writer.stream_id:
                writer = parts.writer = await self._moved(writer, parts)
            writer.speak_as(str(parts.entered.turn["agentId"]))
            parts.begin_after(writer.last_sequence)
        if parts.owed and (writer is None or writer.newest_closed_writer != parts.owed[-1]["writer"]):
            await self._publish(parts, must_succeed=is_resumed)
        else:
            parts.owed = []
        if is_resumed and parts.is_fenced:
            with suppress(StreamNotFoundError):
                await self._streams.resume_stream(parts.stream_id, fencing_token=parts.lock.fencing_token)

    async def _publish(self, parts: TurnParts, *, must_succeed: bool) -> None:
        try:
            told = await publish(self._streams, parts.owed, self._state.now_ms())
        except StreamError:
            if must_succeed:
                raise  # a closing chunk that pauses the stream must not arrive after the stream was resumed
            _logger.warning(
                "closing chunks of session %r must still be published", self._options.session_id, exc_info=True
            )
            return
        parts.owed = []
        # The turn's own chunks begin after the closing chunks of earlier turns.
        parts.begin_after(told.get(parts.stream_id, 0))

    async def _moved(self, writer: DurableObjectStreamWriter, parts: TurnParts) -> DurableObjectStreamWriter:
        """Return a writer of the same name, without the token, for a stream that the session shares with others."""
        writer.let_go()
        shared = self._writer_of(parts.stream_id, None, writer_id=writer.writer_id)
        await self._opened(shared)
        return shared

    def _new_writer(self, fencing_token: int | None) -> DurableObjectStreamWriter | None:
        """Return a writer of the stream with the session's name, or None for a turn without a stream."""
        return self._writer_of(self._options.session_id, fencing_token) if self._options.stream else None

    def _writer_of(
        self, stream_id: str, fencing_token: int | None, *, writer_id: str | None = None
    ) -> DurableObjectStreamWriter:
        options = self._options
        return self._streams.turn_writer(
            stream_id,
            options.agent_id or options.agent_type,
            options.agent_type,
            fencing_token=fencing_token,
            writer_id=writer_id,
        )

    def _reservation(self, now_ms: int) -> Reservation | None:
        if self._options.budget is None:
            return None
        scope, amount = self._options.budget
        expires_at = now_ms + self._options.max_hold_ms
        return Reservation(id=uuid.uuid4().hex, scope=scope, amount=amount, expires_at=expires_at)

    def _facts(self, writer: DurableObjectStreamWriter | None, reservation: Reservation | None) -> JsonObject:
        """Return the facts of the open turn for the state row. The batch adds the facts that only the row has."""
        options = self._options
        return {
            "turnId": options.turn_id,
            "writer": None if writer is None else writer.writer_id,
            "incarnation": None,
            "agentId": options.agent_id,
            "agentType": options.agent_type,
            "reservation": None if reservation is None else kept_reservation(reservation),
            "spent": 0,
        }

    async def _opened(self, writer: DurableObjectStreamWriter) -> None:
        """Open a writer. If the stream cannot be reached now, the first flush tries again."""
        with opening_logged(self._options.turn_id):
            await writer.open()
