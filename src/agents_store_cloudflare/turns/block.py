"""`async with store.turn(…)` enters a turn. It ends the turn when the block ends, also after an exception."""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Never

from agents_store_cloudflare.contract.blocks import AsyncBlock
from agents_store_cloudflare.contract.errors import AgentsStoreError, StaleFencingTokenError, TurnError
from agents_store_cloudflare.database.finishing import Finishing, quietly
from agents_store_cloudflare.locks import DurableObjectLockManager
from agents_store_cloudflare.locks.lock import DurableObjectLock
from agents_store_cloudflare.locks.loss import CancelledWhenLost
from agents_store_cloudflare.state.turn_store import D1TurnStore
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.turns.closings import INTERRUPTED, publish
from agents_store_cloudflare.turns.entering import Entrance
from agents_store_cloudflare.turns.options import TurnOptions
from agents_store_cloudflare.turns.parts import TurnParts
from agents_store_cloudflare.turns.turn import Turn

__all__ = ["TurnBlock"]

MAX_ERROR_CHARACTERS = 2000

_logger = logging.getLogger("agents_store_cloudflare.turns")
_inside: ContextVar[frozenset[tuple[str, int]]] = ContextVar("agents_store_turns", default=frozenset())


class TurnBlock(AsyncBlock):
    """The block of one turn. Make it with `store.turn`, and use it once."""

    use = "async with store.turn(…) as turn:"

    def __init__(
        self,
        options: TurnOptions,
        state: D1TurnStore,
        streams: DurableObjectStreamManager,
        locks: DurableObjectLockManager,
    ) -> None:
        self._options = options
        self._entrance = Entrance(options, state, streams, locks)
        self._state = state
        self._streams = streams
        self._finishing = Finishing(asyncio.sleep)
        self._is_used = False
        self._place = (options.session_id, 0)
        self._parts: TurnParts
        self._turn: Turn
        self._loss: CancelledWhenLost

    if not TYPE_CHECKING:  # a type checker refuses the name by itself

        def __getattr__(self, name: str) -> Never:
            """Raise an error that says: enter the block before you use the turn.

            Raises:
                AttributeError: always.
            """
            raise AttributeError(f"the turn is not entered yet, so it has no {name!r}: write `{self.use}`")

    async def __aenter__(self) -> Turn:
        session_id = self._options.session_id
        if self._is_used:
            raise TurnError("a turn's block is entered once; call store.turn again")
        self._place = (session_id, id(asyncio.current_task()))
        if self._place in _inside.get():
            raise TurnError(f"session {session_id!r} has an open turn around this one; a turn has none inside")
        self._is_used = True
        try:
            self._parts = await self._entrance.come_in()
        except BaseException as error:
            if self._entrance.abandoned is not None:
                self._parts = self._entrance.abandoned
                await self._failed(Turn(self._parts), error)
                self._close_writer()
            raise
        lock = self._parts.lock
        try:
            await self._entrance.tell(self._parts)
        except BaseException as error:
            await self._failed(Turn(self._parts), error)
            self._close_writer()
            raise
        self._turn = Turn(self._parts)
        _inside.set(_inside.get() | {self._place})
        if self._options.auto_refresh:
            lock.keep_refreshed(self._options.max_hold_ms)
        self._loss = CancelledWhenLost([lock])
        await self._loss.__aenter__()
        return self._turn

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _inside.set(_inside.get() - {self._place})
        try:
            await self._ended(kind, error, trace)
        except asyncio.CancelledError:
            # The task was cancelled again during the end of the turn. The refreshes of the lock must stop, because nobody uses it.
            await quietly(self._parts.lock.release(), "the lock ends with its ttl", _logger)
            raise
        finally:
            self._close_writer()

    async def _ended(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        turn = self._turn
        try:
            await self._loss.__aexit__(kind, error, trace)
            if error is None and not turn.is_over:
                await turn.end()
        except BaseException as ending:
            await self._failed(turn, ending)
            raise
        if error is None:
            await self._let_go(turn)
        else:
            await self._failed(turn, error)

    async def _failed(self, turn: Turn, error: BaseException) -> None:
        """End a turn whose block raised. The block's own exception is never hidden.

        The end completes even if the task is cancelled meanwhile. Otherwise the run would stay open until the next turn or a sweep.
        """
        ending = self._finishing.start(self._fail(turn, error))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await self._finishing.wait_for([ending])
            raise

    async def _fail(self, turn: Turn, error: BaseException) -> None:
        lock = self._parts.lock
        if lock.lost or self._is_stale(error):  # the present holder of the lock closes the turn
            await quietly(turn.settle_orphaned(), "the reservation ends by its time", _logger)
            if not lock.lost:
                await quietly(lock.release(), "the lock ends with its ttl", _logger)
            return
        if _is_cancellation(error):
            await quietly(turn.settle(), "the commit that was cancelled could not be sent again", _logger)
        await turn.rest()
        if turn.is_unsure:
            _logger.warning("turn %r ended with an unknown outcome; the next turn or a sweep closes it", turn.id)
            lock.let_expire()
            return
        if not turn.is_over:
            await self._told_and_failed(turn, error)
        await self._let_go(turn)

    def _is_stale(self, error: BaseException) -> bool:
        """Return whether a later holder of the session's lock has written.

        An error of another session or lock says nothing about this one.
        """
        return isinstance(error, StaleFencingTokenError) and error.resource == self._options.session_id

    async def _told_and_failed(self, turn: Turn, error: BaseException) -> None:
        is_cancelled = _is_cancellation(error)
        status = INTERRUPTED if is_cancelled else "failed"
        code = INTERRUPTED if is_cancelled else str(getattr(error, "code", "failed"))
        _logger.info("turn %r %s", turn.id, status, exc_info=error)
        writer = self._parts.writer
        if writer is not None and writer.pending:
            await quietly(writer.flush(), "the last chunks could not be stored", _logger)
        text = str(error) if isinstance(error, AgentsStoreError) else type(error).__name__
        await quietly(turn.fail(status, code, text[:MAX_ERROR_CHARACTERS]), "the run could not be ended", _logger)

    async def _let_go(self, turn: Turn) -> None:
        """Release the lock and publish the closing chunk at the same time."""
        parts, wait_until = self._parts, self._options.wait_until
        owed = [*parts.owed, *([] if turn.closing is None else [turn.closing])]

        # These are functions and not coroutines, so that a cancellation before their first step leaves no coroutine that nobody
        # awaits.
        async def tell() -> None:
            publishing = publish(self._streams, owed, self._state.now_ms())
            await quietly(publishing, "the closing chunk must still be published", _logger)

        if not owed:
            await _released(parts.lock)
        elif wait_until is None:
            await asyncio.gather(_released(parts.lock), tell())
        else:
            wait_until(asyncio.ensure_future(tell()))
            await _released(parts.lock)

    def _close_writer(self) -> None:
        """Stop the writer's timer and close its connection. Its chunks are stored, or they are lost with the turn."""
        if self._parts.writer is not None:
            self._parts.writer.let_go()


async def _released(lock: DurableObjectLock) -> None:
    if lock.is_given_back:
        return  # the last commit took the release along
    await quietly(lock.release(), "the lock ends with its ttl", _logger)


def _is_cancellation(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt)
