"""The sweep: it closes turns whose Worker died, and publishes their closing chunks."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Final

from agents_store_cloudflare.contract.errors import AgentsStoreError
from agents_store_cloudflare.contract.turns import SweptTurns
from agents_store_cloudflare.locks import DurableObjectLockManager
from agents_store_cloudflare.state.turn_records import DueTurn
from agents_store_cloudflare.state.turn_store import D1TurnStore
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.turns.closings import publish

__all__ = ["sweep_session", "sweep_turns"]

PAGE: Final = 100
LOOKED_AT: Final = 20
"""The number of sessions that the sweep looks at for each session that it may close, because it passes over running turns."""

_logger = logging.getLogger("agents_store_cloudflare.turns")


async def sweep_turns(
    state: D1TurnStore,
    streams: DurableObjectStreamManager,
    locks: DurableObjectLockManager,
    limit: int,
    now_ms: Callable[[], int],
) -> SweptTurns:
    """Close up to `limit` dead turns, and publish their closing chunks. Running turns hold their locks, so they are left alone."""
    closed: list[str] = []
    settled: list[tuple[str, str]] = []
    told = held = looked = done = 0
    after = (0, 0)
    while done < limit and looked < limit * LOOKED_AT:
        page = await state.list_due_turns(min(PAGE, limit), after)
        if not page:
            break
        for due in page:
            after, looked = (due.since, due.session_no), looked + 1
            if due.unreadable is not None:
                _logger.warning("session %r could not be swept: %s", due.session_id, due.unreadable)
                continue
            if due.owed_text is None:
                continue
            try:
                swept = await _swept(due, state, streams, locks, now_ms)
            except AgentsStoreError as error:
                _logger.warning("session %r could not be swept: %s", due.session_id, error)
                continue
            if swept is None:
                held += 1
                continue
            done += 1
            told += swept[0]
            settled.append((due.session_id, swept[1]))
            if due.is_open:
                closed.append(due.session_id)
            if done >= limit:
                break
    await state.settle_closings(settled)
    return SweptTurns(closed=tuple(closed), told=told, held=held)


async def _swept(
    due: DueTurn,
    state: D1TurnStore,
    streams: DurableObjectStreamManager,
    locks: DurableObjectLockManager,
    now_ms: Callable[[], int],
) -> tuple[int, str] | None:
    """Return the number of published chunks, and the text of the chunks to publish. Return None if the lock is held."""
    if not due.is_open and due.owed_text is not None:
        await publish(streams, due.owed, now_ms())
        return len(due.owed), due.owed_text
    return await _interrupted(due.session_id, state, streams, locks, now_ms)


async def sweep_session(
    session_id: str,
    state: D1TurnStore,
    streams: DurableObjectStreamManager,
    locks: DurableObjectLockManager,
    now_ms: Callable[[], int],
) -> int | None:
    """Close the dead turn of one session, if it has one, and publish the closing chunks that its streams must still get.

    Returns:
        How many closing chunks were published or found in their streams. None when somebody holds the session's lock.

    Raises:
        StateNotFoundError: there is no such session.
        StreamError, LockError: an object could not be reached. The closing chunks must still be published.
    """
    swept = await _interrupted(session_id, state, streams, locks, now_ms)
    if swept is None:
        return None
    told, text = swept
    await state.settle_closings([(session_id, text)])
    return told


async def _interrupted(
    session_id: str,
    state: D1TurnStore,
    streams: DurableObjectStreamManager,
    locks: DurableObjectLockManager,
    now_ms: Callable[[], int],
) -> tuple[int, str] | None:
    lock = await locks.acquire(session_id, owner="sweep_turns")
    if lock is None:
        return None
    try:
        owed, text = await state.interrupt_turn(session_id, lock.fencing_token, uuid.uuid4().hex)
        await publish(streams, owed, now_ms())
    finally:
        await lock.release()
    return len(owed), text
