"""Exports sessions as copies."""

from __future__ import annotations

from collections.abc import AsyncIterator

from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import SessionExistsError, StateNotFoundError
from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.transfer.budgets import BudgetCopy, budget_roots, export_budgets
from agents_store_cloudflare.transfer.copies import FORMAT, SessionCopy
from agents_store_cloudflare.transfer.moments import rows_at_one_moment
from agents_store_cloudflare.transfer.places import place_of
from agents_store_cloudflare.transfer.remains import export_remains, list_remains
from agents_store_cloudflare.transfer.stream_copies import copy_of_stream

__all__ = ["export_all", "export_session"]

PAGE = 100


async def export_session(
    source: object, session_id: str, *, streams: DurableObjectStreamManager | None = None
) -> SessionCopy:
    """Return the session as one JSON object, for `import_session`.

    Stop the writes to the session and its stream before. If somebody writes to the session or
    changes its usage meanwhile, the call begins again.

    Args:
        source: the store of `create_cloudflare_store`, a D1 binding or a `Database`. Sessions in homes need the store.
        session_id: the session.
        streams: the stream manager, to copy the session's stream too. None leaves the stream out.

    Raises:
        StateNotFoundError: there is no such session.
        InvalidArgumentError: the session lives in a home, and `source` is a database.
        D1StateError: the session was written again and again meanwhile.
        UsageError: the session's home could not send its usage to D1.
        StreamError: the stream could not be reached.
    """
    place = place_of(source)
    state, stored = await rows_at_one_moment(place, check_id(session_id, "session_id"))
    if state is None:
        if place.homes is None:
            await place.refuse_elsewhere(session_id)
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


async def export_all(
    source: object, *, streams: DurableObjectStreamManager | None = None
) -> AsyncIterator[SessionCopy | BudgetCopy]:
    """Yield everything, one copy at a time: every session, the newest first, the rows of ids without a session, and all budgets.

    Each copy shows one moment of its own. Sessions that are made or deleted meanwhile may be missing. With homes the sessions come from
    the directory, which is late by `directory_delay`; and see `list_remains` for the fences of deleted sessions.

    Args:
        source: the store of `create_cloudflare_store`, a D1 binding or a `Database`. Sessions in homes need the store.
        streams: the stream manager, to copy the sessions' streams too. None leaves the streams out.

    Raises:
        InvalidArgumentError: the store has homes and was made with `directory=False`.
        D1StateError, UsageError, StreamError: as `export_session` and `export_budgets` raise them.
    """
    place, cursor = place_of(source), None
    while True:
        page = await place.states.list_sessions(limit=PAGE, cursor=cursor)
        for state in page.items:
            try:
                yield await export_session(source, state.session_id, streams=streams)
            except StateNotFoundError:
                continue  # deleted meanwhile
        cursor = page.next_cursor
        if cursor is None:
            break
    async for session_id in list_remains(source):
        try:
            yield await export_remains(source, session_id)
        except SessionExistsError:
            continue  # made meanwhile
    async for root in budget_roots(source):
        yield await export_budgets(source, root)
