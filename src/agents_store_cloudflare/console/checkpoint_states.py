"""A session's state now, or at one of its checkpoints, without messages."""

from __future__ import annotations

import re
from typing import Final

from agents_store_cloudflare.console.sources import Sources
from agents_store_cloudflare.contract.errors import CheckpointNotFoundError, StateNotFoundError
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.state import codec
from agents_store_cloudflare.state.checkpoint_sql import SELECT_CHECKPOINT

__all__ = ["NOW", "state_at"]

NOW: Final = "now"
_NUMBER: Final = re.compile(r"-([0-9a-f]{6})", re.ASCII)


async def state_at(sources: Sources, session_id: str, at: str) -> AgentState:
    """Return the state now or at a checkpoint. It costs one query, and messages are not read.

    Raises:
        StateNotFoundError: there is no such session.
        CheckpointNotFoundError: the session has no such checkpoint.
    """
    if at == NOW:
        state = await sources.states.load_state(session_id, messages="none")
        if state is None:
            raise StateNotFoundError(session_id)
        return state
    number = _NUMBER.fullmatch(at[-7:])
    if number is None:
        raise CheckpointNotFoundError(session_id, at)
    [rows] = await sources.session_rows(session_id, Statement(SELECT_CHECKPOINT, (session_id, int(number[1], 16))))
    if not rows:
        raise CheckpointNotFoundError(session_id, at)
    row = rows[0]
    state = codec.state_of(row[4:])
    found = codec.bare_checkpoint_of(session_id, [*row[:4], state.status, state.step_count, 0])
    # A later session of this id may have a checkpoint of the same number. The id also has the time and the step.
    if found.id != at:
        raise CheckpointNotFoundError(session_id, at)
    return state
