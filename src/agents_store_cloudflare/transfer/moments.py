"""The rows of a session at one moment: they are read again if somebody has changed them meanwhile."""

from __future__ import annotations

from typing import Final, LiteralString, TypeAlias

from agents_store_cloudflare.contract.errors import D1StateError
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import Row, Statement, batch_with_retry
from agents_store_cloudflare.transfer import usage_sql
from agents_store_cloudflare.transfer.places import Place
from agents_store_cloudflare.transfer.tables import TABLES, StoredRow, StoredRows, rows_of

__all__ = ["Mark", "mark_of", "rows_at_one_moment", "stored_rows"]

ATTEMPTS: Final = 5
STATES: Final[LiteralString] = "__agents_states"

Mark: TypeAlias = "tuple[list[StoredRow], list[Row]]"
"""The state row of a session, and marks of its usage."""


async def rows_at_one_moment(place: Place, session_id: str) -> tuple[AgentState | None, StoredRows]:
    """Return the session's state and its rows of all tables; None for the state of an id without a session.

    They were read while the state row and the usage stayed the same. Each write to a session changes its state row, and each change of
    its usage changes its totals or its newest entry. A home sends its usage to D1 before, and none may wait there when the reading
    begins: later usage comes with a change of the state row.

    Raises:
        D1StateError: the session was written again and again meanwhile.
        UsageError: the session's home could not send its usage to D1.
    """
    for _ in range(ATTEMPTS):
        await place.settle(session_id)
        before = await mark_of(place, session_id)
        if before is None:
            continue
        state = await place.states.load_state(session_id)
        stored = {table: await stored_rows(place, table, session_id) for table in TABLES}
        if stored[STATES] == before[0] and before == await mark_of(place, session_id):
            return state, stored
    raise D1StateError(f"session {session_id!r} was written while it was copied; copy it when nobody writes")


async def mark_of(place: Place, session_id: str) -> Mark | None:
    """Return what changes with each write to the session and with each change of its usage: the state row, and marks of its usage.

    None means that usage of the session still waits in its home.
    """
    state = await stored_rows(place, STATES, session_id)
    if place.homes is not None and await place.homes.has_waiting_usage(session_id):
        return None
    [usage] = await batch_with_retry(place.accounts, [Statement(usage_sql.SELECT_MARK, (session_id,))])
    return state, usage


async def stored_rows(place: Place, table: LiteralString, session_id: str) -> list[StoredRow]:
    """Return the session's rows of one table, wherever they are."""
    database = place.holder(table, session_id)
    return [row async for row in rows_of(database, table, session_id, schema_of=place.accounts)]
