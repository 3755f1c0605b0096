"""Exports a session as a copy."""

from __future__ import annotations

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import StateNotFoundError
from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.transfer.copies import FORMAT, SessionCopy
from agents_store_cloudflare.transfer.moments import rows_at_one_moment
from agents_store_cloudflare.transfer.stream_copies import copy_of_stream

__all__ = ["export_session"]


async def export_session(
    database: object, session_id: str, *, streams: DurableObjectStreamManager | None = None
) -> SessionCopy:
    """Return the session as one JSON object, for `import_session`.

    Stop the writes to the session and its stream before. If somebody writes to the session or
    changes its usage meanwhile, the call begins again.

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
    state, stored = await rows_at_one_moment(db, check_id(session_id, "session_id"))
    if state is None:
        raise StateNotFoundError(session_id)
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
