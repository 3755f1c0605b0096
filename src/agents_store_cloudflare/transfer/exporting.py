"""Exports a session as a copy."""

from __future__ import annotations

from typing import Final, LiteralString

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import D1StateError, StateNotFoundError
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import Database
from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.transfer.copies import FORMAT, SessionCopy
from agents_store_cloudflare.transfer.stream_copies import copy_of_stream
from agents_store_cloudflare.transfer.tables import TABLES, StoredRows, rows_of

__all__ = ["export_session"]

ATTEMPTS: Final = 5
STATES: Final[LiteralString] = "__agents_states"


async def export_session(
    database: object, session_id: str, *, streams: DurableObjectStreamManager | None = None
) -> SessionCopy:
    """Return the session as one JSON object, for `import_session`.

    Stop the writes to the session and its stream before. If somebody writes to the session meanwhile, the call begins again.

    Args:
        database: a D1 binding or a `Database`.
        session_id: the session.
        streams: the stream manager, to copy the session's stream too. None leaves the stream out.

    Raises:
        StateNotFoundError: there is no such session.
        D1StateError: the session was written again and again meanwhile.
        StreamError: the stream could not be reached.
    """
    db = as_database(database)
    state, stored = await _quiet(db, check_id(session_id, "session_id"))
    copy: SessionCopy = {
        "format": FORMAT,
        "schema": CURRENT_SCHEMA_VERSION,
        "sessionId": session_id,
        "stored": stored,
        "messages": state.messages,
    }
    if streams is not None:
        stream = await copy_of_stream(streams, state.stream_id or session_id)
        copy["streams"] = [] if stream is None else [stream]
    return copy


async def _quiet(db: Database, session_id: str) -> tuple[AgentState, StoredRows]:
    """Return the session's state and rows.

    They were read while its state row stayed the same, because each write to a session changes this row.
    """
    for _ in range(ATTEMPTS):
        before = [row async for row in rows_of(db, STATES, session_id)]
        state = await D1StateStore(db).load_state(session_id)
        if state is None:
            raise StateNotFoundError(session_id)
        stored = {table: [row async for row in rows_of(db, table, session_id)] for table in TABLES}
        if before == stored[STATES] == [row async for row in rows_of(db, STATES, session_id)]:
            return state, stored
    raise D1StateError(f"session {session_id!r} was written while it was copied; copy it when nobody writes")
