"""The rows of ids without a session: usage, fences, adapters' rows. A whole back-up has them too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, LiteralString, cast

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import D1StateError, SessionExistsError
from agents_store_cloudflare.database import Row, SqlError, Statement, batch_with_retry
from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION
from agents_store_cloudflare.state.session_tables import SESSION_TABLES
from agents_store_cloudflare.transfer.copies import FORMAT, SessionCopy
from agents_store_cloudflare.transfer.import_sql import ids_without_session
from agents_store_cloudflare.transfer.moments import rows_at_one_moment
from agents_store_cloudflare.transfer.tables import ENTRIES, KEPT

__all__ = ["export_remains", "list_remains"]

PAGE: Final = 1_000
_HOLDERS: tuple[LiteralString, ...] = ("__agents_fences", ENTRIES, *KEPT, *SESSION_TABLES)


async def list_remains(database: object) -> AsyncIterator[str]:
    """Yield the ids that have rows and no session. Reads every key of their tables: an operator's call."""
    db, seen = as_database(database), set[str]()
    for table in _HOLDERS:
        after = ""
        while True:
            rows: list[Row]
            try:
                [rows] = await batch_with_retry(db, [Statement(ids_without_session(table), (after, PAGE))])
            except SqlError as error:
                raise D1StateError(f"the ids without a session could not be listed: {error}") from error
            for [found] in rows:
                after = cast("str", found)
                if after not in seen:
                    seen.add(after)
                    yield after
            if len(rows) < PAGE:
                break


async def export_remains(database: object, session_id: str) -> SessionCopy:
    """Return the rows of an id without a session, for `import_session`: usage, fence, adapters' rows.

    Raises:
        SessionExistsError: there is a session by now; `export_session` copies it.
        D1StateError: the usage changed again and again meanwhile.
    """
    state, stored = await rows_at_one_moment(as_database(database), check_id(session_id, "session_id"))
    if state is not None:
        raise SessionExistsError(session_id)
    return {
        "format": FORMAT,
        "schema": CURRENT_SCHEMA_VERSION,
        "sessionId": session_id,
        "stored": stored,
        "messages": [],
    }
