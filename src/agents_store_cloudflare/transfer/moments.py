"""The rows of a session at one moment: they are read again if somebody has changed them meanwhile."""

from __future__ import annotations

from typing import Final, LiteralString, TypeAlias

from agents_store_cloudflare.contract.errors import D1StateError
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import Database, Row, Statement, batch_with_retry
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.transfer import usage_sql
from agents_store_cloudflare.transfer.tables import TABLES, StoredRow, StoredRows, rows_of

__all__ = ["Mark", "mark_of", "rows_at_one_moment"]

ATTEMPTS: Final = 5
STATES: Final[LiteralString] = "__agents_states"

Mark: TypeAlias = "tuple[list[StoredRow], list[Row]]"
"""The state row of a session, and marks of its usage."""


async def rows_at_one_moment(db: Database, session_id: str) -> tuple[AgentState | None, StoredRows]:
    """Return the session's state and its rows of all tables; None for the state of an id without a session.

    They were read while the state row and the usage stayed the same. Each write to a session changes its state row, and each change of
    its usage changes its totals or its newest entry.

    Raises:
        D1StateError: the session was written again and again meanwhile.
    """
    for _ in range(ATTEMPTS):
        before = await mark_of(db, session_id)
        state = await D1StateStore(db).load_state(session_id)
        stored = {table: [row async for row in rows_of(db, table, session_id)] for table in TABLES}
        if stored[STATES] == before[0] and before == await mark_of(db, session_id):
            return state, stored
    raise D1StateError(f"session {session_id!r} was written while it was copied; copy it when nobody writes")


async def mark_of(db: Database, session_id: str) -> Mark:
    """Return what changes with each write to the session and with each change of its usage: the state row, and marks of its usage."""
    [usage] = await batch_with_retry(db, [Statement(usage_sql.SELECT_MARK, (session_id,))])
    return [row async for row in rows_of(db, STATES, session_id)], usage
