"""The rows that belong to a session, table by table. They are read in pages, by key.

Messages are not among them. A copy has the messages themselves, so that it does not depend on the layout of blocks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString, TypeAlias, cast

from agents_store_cloudflare.contract.errors import D1StateError
from agents_store_cloudflare.database import Database, Row, SqlValue, Statement, batch_with_retry
from agents_store_cloudflare.state.numbering import first_key, last_key
from agents_store_cloudflare.state.session_tables import SESSION_TABLES

__all__ = ["ENTRIES", "HIDDEN", "KEPT", "TABLES", "StoredRow", "StoredRows", "Table", "columns_of", "insert", "rows_of"]

StoredRow: TypeAlias = "dict[str, SqlValue]"
"""Column -> value."""

StoredRows: TypeAlias = "dict[str, list[StoredRow]]"
"""Table -> its rows of one session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table, and the reads of a session's rows in it.

    Attributes:
        key: the SQL of the key that orders the rows. The next page begins after the key of the last row.
        rows: FROM and WHERE: ?1 is the session id, ?2 the key of the last row of the page before.
        before: a key below all keys.
        page: the most rows of a page. A checkpoint may have 1.8 MB.
    """

    key: LiteralString
    rows: LiteralString
    before: SqlValue = 0
    page: int = 500

    def statement(self, columns: LiteralString, key: LiteralString) -> LiteralString:
        """Return the SQL of a page. ?1 session id, ?2 the key of the last row of the page before, ?3 most rows -> (key, the columns)."""
        sql: LiteralString = f"SELECT {self.key} AS page_key, {columns}\n{self.rows}\nORDER BY 1\nLIMIT ?3"
        return sql.replace("{key}", key)


_NUMBER: LiteralString = "(SELECT session_no FROM __agents_states WHERE session_id = ?1)"

# Every statement reads by a primary key, or by the index on session_id.
TABLES: Mapping[LiteralString, Table] = {
    "__agents_states": Table(key="1", rows="FROM __agents_states AS t WHERE session_id = ?1 AND 1 > ?2"),
    "__agents_fences": Table(key="1", rows="FROM __agents_fences AS t WHERE session_id = ?1 AND 1 > ?2"),
    "__agents_checkpoints": Table(
        key="t.id",
        rows=f"""FROM __agents_checkpoints AS t
        WHERE t.id > max(?2, {first_key(_NUMBER)})
          AND t.id <= {last_key(_NUMBER)}""",
        page=10,
    ),
    "__agents_staged_changes": Table(
        key="hex(t.step_id) || ' ' || hex(t.tool_call_id)",
        rows=f"""FROM __agents_staged_changes AS t
        WHERE t.session_no = {_NUMBER}
          AND hex(t.step_id) || ' ' || hex(t.tool_call_id) > ?2""",
        before="",
        page=10,
    ),
    "__agents_runs": Table(
        key="t.turn", rows=f"FROM __agents_runs AS t WHERE t.session_no = {_NUMBER} AND t.turn > ?2", page=100
    ),
    "__agents_sub_sessions": Table(
        key="t.sub_session_id",
        rows=f"FROM __agents_sub_sessions AS t WHERE t.session_no = {_NUMBER} AND t.sub_session_id > ?2",
        before="",
        page=10,
    ),
    "__agents_usage_by_session": Table(
        key="hex(t.kind) || ' ' || hex(t.name)",
        rows="""FROM __agents_usage_by_session AS t
        WHERE t.session_id = ?1
          AND t.kept = 1
          AND hex(t.kind) || ' ' || hex(t.name) > ?2""",
        before="",
    ),
    "__agents_usage_sub_sessions": Table(
        key="t.sub_session_id",
        rows="""FROM __agents_usage_sub_sessions AS t
        WHERE t.session_id = ?1
          AND t.kept = 1
          AND t.sub_session_id > ?2""",
        before="",
    ),
    "__agents_usage_kept": Table(
        key="hex(t.day) || ' ' || hex(t.kind) || ' ' || hex(t.name) || ' ' || hex(t.agent)",
        rows="""FROM __agents_usage_kept AS t
        WHERE t.session_id = ?1
          AND hex(t.day) || ' ' || hex(t.kind) || ' ' || hex(t.name) || ' ' || hex(t.agent) > ?2""",
        before="",
    ),
    "__agents_usage": Table(
        key="t.rowid", rows="FROM __agents_usage AS t WHERE t.session_id = ?1 AND t.rowid > ?2", page=200
    ),
    # The primary keys begin with the session's id. {key} is the rest of the key.
    **{
        table: Table(
            key="{key}",
            rows=f"FROM {table} AS t WHERE t.session_id = ?1 AND {{key}} > ?2",
            before="",
            page=50,
        )
        for table in SESSION_TABLES
    },
    "__agents_conversation_entries": Table(
        key="hex(t.entry_id) || ' ' || hex(t.part)",
        rows="""FROM __agents_conversation_entries AS t
        WHERE t.entry_id IN (
          WITH RECURSIVE reached (entry_id) AS (
            SELECT tip.value
            FROM __agents_conversations AS own
            JOIN json_each(json_insert(own.branches, '$[#]', own.head_id)) AS tip
            WHERE own.session_id = ?1
            UNION
            SELECT above.parent_id
            FROM reached
            JOIN __agents_conversation_entries AS above ON above.entry_id = reached.entry_id AND above.part = 0
          )
          SELECT entry_id FROM reached
        )
          AND hex(t.entry_id) || ' ' || hex(t.part) > ?2""",
        before="",
        page=50,
    ),
}
"""Each table with the reads of a session's rows."""

HIDDEN: tuple[LiteralString, ...] = (
    "__agents_checkpoints",
    "__agents_staged_changes",
    "__agents_runs",
    "__agents_sub_sessions",
)
"""The tables whose rows have the session's number as their key. Nobody reads rows under a number that no session has."""

KEPT: tuple[LiteralString, ...] = ("__agents_usage_by_session", "__agents_usage_sub_sessions", "__agents_usage_kept")
"""The totals of deleted entries. Totals of stored entries are counted from the entries."""

ENTRIES: LiteralString = "__agents_usage"


async def rows_of(
    database: Database, table: LiteralString, session_id: str, *, schema_of: Database | None = None
) -> AsyncIterator[StoredRow]:
    """Yield the session's rows of one table, page by page, in the order of their keys.

    Args:
        schema_of: the database that has every table, when `database` is a home, whose tables come with their first row.
    """
    whole = schema_of or database
    columns, rule = await columns_of(whole, table), TABLES[table]
    [keys] = await batch_with_retry(whole, [Statement(_KEY, (table,))])
    sql = rule.statement(_listed(columns), _in_hex([cast("str", row[0]) for row in keys[1:] or keys]))
    after = rule.before
    while True:
        rows: list[Row]
        [rows] = await batch_with_retry(database, [Statement(sql, (session_id, after, rule.page))])
        for key, *values in rows:
            after = key
            yield dict(zip(columns, values, strict=True))
        if len(rows) < rule.page:
            return


# ?1 table -> (column) in order
_COLUMNS: LiteralString = "SELECT name FROM pragma_table_info(?1) ORDER BY cid"


# ?1 table -> (column) of its primary key, in order
_KEY: LiteralString = "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk"


def _listed(columns: Sequence[str]) -> LiteralString:
    # The names come from the database, for a table that this package makes.
    return cast("LiteralString", ", ".join(f"t.{name}" for name in columns))  # type: ignore[redundant-cast]


def _in_hex(columns: Sequence[str]) -> LiteralString:
    """Return the SQL of one text for several columns. Different values give different texts."""
    return cast("LiteralString", " || ' ' || ".join(f"hex(t.{name})" for name in columns))  # type: ignore[redundant-cast]


async def columns_of(database: Database, table: LiteralString) -> list[str]:
    """Return the names of a table's columns, in order.

    Raises:
        D1StateError: the database has no such table.
    """
    [rows] = await batch_with_retry(database, [Statement(_COLUMNS, (table,))])
    if not rows:
        raise D1StateError(
            f"the database has no table {table}: `run_migration(db)` makes the tables of a new database, "
            "and `agents-store doctor` names tables that were lost"
        )
    return [cast("str", row[0]) for row in rows]


def insert(table: LiteralString, row: StoredRow) -> Statement:
    """Return the statement that stores a row. If the key is already stored, the stored row stays unchanged."""
    # The names are columns of the table, because they were compared with `columns_of`.
    names = cast("LiteralString", ", ".join(row))  # type: ignore[redundant-cast]
    places = cast("LiteralString", ", ".join(f"?{place}" for place in range(1, len(row) + 1)))  # type: ignore[redundant-cast]
    sql: LiteralString = f"INSERT INTO {table} ({names}) VALUES ({places}) ON CONFLICT DO NOTHING"  # noqa: S608 - names of the schema
    return Statement(sql, tuple(row.values()))
