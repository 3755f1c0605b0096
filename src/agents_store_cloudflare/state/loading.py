"""Loads a state: makes the statements that read it, and the state from their rows."""

from __future__ import annotations

from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.state import codec, message_sql, session_sql
from agents_store_cloudflare.state.history import fill_messages
from agents_store_cloudflare.state.numbering import MAX_MESSAGES

__all__ = ["loaded", "loading"]


def loading(session_id: str, wanted: int = MAX_MESSAGES) -> list[Statement]:
    """Return the statements that load a state with its last `wanted` messages: two, or one when no messages are wanted."""
    statements = [Statement(session_sql.SELECT_STATE, (session_id,))]
    if wanted:
        statements.append(Statement(message_sql.BLOCKS_FROM, (session_id, 0, wanted, wanted)))
    return statements


def loaded(rows: list[Row], blocks: list[Row], wanted: int = MAX_MESSAGES) -> AgentState:
    """Return the state from the rows of the statements of `loading`."""
    state = codec.state_of(rows[0])
    fill_messages(state, blocks, wanted)
    return state
