"""A session as a copy."""

from __future__ import annotations

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import StateNotFoundError
from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.transfer.copies import FORMAT, SessionCopy
from agents_store_cloudflare.transfer.stream_copies import copy_of_stream
from agents_store_cloudflare.transfer.tables import TABLES, rows_of

__all__ = ["export_session"]


async def export_session(
    database: object, session_id: str, *, streams: DurableObjectStreamManager | None = None
) -> SessionCopy:
    """Return the session as one JSON object, for `import_session`.

    Nobody may write to the session or its stream meanwhile.

    Args:
        database: a D1 binding or a `Database`.
        session_id: which session.
        streams: copies the session's stream too, where it has one.

    Raises:
        StateNotFoundError: there is no such session.
        StreamError: the stream could not be reached.
    """
    db = as_database(database)
    state = await D1StateStore(db).load_state(check_id(session_id, "session_id"))
    if state is None:
        raise StateNotFoundError(session_id)
    copy: SessionCopy = {
        "format": FORMAT,
        "schema": CURRENT_SCHEMA_VERSION,
        "sessionId": session_id,
        "stored": {table: [row async for row in rows_of(db, table, session_id)] for table in TABLES},
        "messages": state.messages,
    }
    if streams is not None:
        stream = await copy_of_stream(streams, state.stream_id or session_id)
        copy["streams"] = [] if stream is None else [stream]
    return copy
