"""The rows of ids without a session: usage, fences, adapters' rows. A whole back-up has them too."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Final, LiteralString, cast

from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import D1StateError, SessionExistsError
from agents_store_cloudflare.database import Database, Row, SqlError, Statement, batch_with_retry
from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION
from agents_store_cloudflare.state.copied_accounts_sql import ACCOUNT_TABLES
from agents_store_cloudflare.state.session_tables import SESSION_TABLES
from agents_store_cloudflare.transfer import import_sql
from agents_store_cloudflare.transfer.copies import FORMAT, SessionCopy
from agents_store_cloudflare.transfer.moments import rows_at_one_moment
from agents_store_cloudflare.transfer.places import Place, place_of
from agents_store_cloudflare.transfer.tables import ENTRIES, KEPT

__all__ = ["export_remains", "list_remains"]

PAGE: Final = 1_000
_HOLDERS: tuple[LiteralString, ...] = ("__agents_fences", ENTRIES, *KEPT, *SESSION_TABLES)


async def list_remains(source: object) -> AsyncIterator[str]:
    """Yield the ids that have rows and no session. Reads every key of their tables, in D1 and in each home: an operator's call.

    The homes come from the directory. A home whose last session was deleted over a day ago is not there any more, so the fences in it
    are not found.

    Args:
        source: the store of `create_cloudflare_store`, a D1 binding or a `Database`. Rows in homes need the store.

    Raises:
        D1StateError: the database failed.
    """
    place, seen = place_of(source), set[str]()
    try:
        async for found in _all_ids(place):
            if found not in seen:
                seen.add(found)
                yield found
    except SqlError as error:
        raise D1StateError(f"the ids without a session could not be listed: {error}") from error


async def _all_ids(place: Place) -> AsyncIterator[str]:
    for table in _HOLDERS:
        async for page in _pages(place.accounts, import_sql.ids_without_session(table)):
            [rows] = await batch_with_retry(place.accounts, [Statement(import_sql.IN_HOMES, (json.dumps(page),))])
            alive = {row[0] for row in rows}
            for each in page:
                if each not in alive:
                    yield each
    if place.homes is not None:
        async for homes in _pages(place.accounts, import_sql.SELECT_HOMES):
            for home in homes:
                async for each in _ids_in(place.homes.of(home)):
                    yield each


async def _ids_in(home: Database) -> AsyncIterator[str]:
    for table in _HOLDERS:
        if table not in ACCOUNT_TABLES:
            async for page in _pages(home, import_sql.ids_without_session(table)):
                for each in page:
                    yield each


async def _pages(database: Database, sql: LiteralString) -> AsyncIterator[list[str]]:
    """Yield pages of texts. The statement takes the last text of the page before, and the most rows."""
    after = ""
    while True:
        rows: list[Row]
        [rows] = await batch_with_retry(database, [Statement(sql, (after, PAGE))])
        if rows:
            after = cast("str", rows[-1][0])
            yield [cast("str", row[0]) for row in rows]
        if len(rows) < PAGE:
            return


async def export_remains(source: object, session_id: str) -> SessionCopy:
    """Return the rows of an id without a session, for `import_session`: usage, fence, adapters' rows.

    Args:
        source: the store of `create_cloudflare_store`, a D1 binding or a `Database`. Rows in homes need the store.
        session_id: the id.

    Raises:
        SessionExistsError: there is a session by now; `export_session` copies it.
        InvalidArgumentError: a session of this id lives in a home, and `source` is a database.
        D1StateError: the usage changed again and again meanwhile.
        UsageError: the home of the id could not send its usage to D1.
    """
    place = place_of(source)
    state, stored = await rows_at_one_moment(place, check_id(session_id, "session_id"))
    if state is not None:
        raise SessionExistsError(session_id)
    if place.homes is None:
        await place.refuse_elsewhere(session_id)
    return {
        "format": FORMAT,
        "schema": CURRENT_SCHEMA_VERSION,
        "sessionId": session_id,
        "stored": stored,
        "messages": [],
    }
