"""The SQL that stores the usage and the tasks of a copied session in D1, from rows that an import has put there before.

The rows lie under a number that no session has, as texts in the table of message blocks. The column `count` has the kind of their
table. `store_accounts` turns them into rows. The session's share in the totals of days is subtracted first and added last, so the
result is right whichever entries were stored before.
"""

from __future__ import annotations

from typing import Final, LiteralString

from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.state.numbering import first_key, last_key
from agents_store_cloudflare.usage.amounts_sql import amounts_added
from agents_store_cloudflare.usage.deletion_sql import DELETE_SESSION

__all__ = [
    "ACCOUNT_TABLES",
    "COUNT_ENTRIES",
    "DELETE_STAGED",
    "DELETE_TASKS",
    "FORGET_TOTALS",
    "GUARD",
    "INSERT_STAGED",
    "LARGE_COLUMNS",
    "REHEARSED",
    "REPLACED",
    "rehearse_accounts",
    "store_accounts",
]

ACCOUNT_TABLES: Final[tuple[LiteralString, ...]] = (
    "__agents_usage",
    "__agents_usage_by_session",
    "__agents_usage_sub_sessions",
    "__agents_usage_kept",
    "__agents_a2a_tasks",
)
"""The tables of a session that are in D1 also when the session lives in a home. The kind of a table is its place, from 1."""

LARGE_COLUMNS: Final = {"__agents_usage": "data", "__agents_a2a_tasks": "body"}
"""The columns whose text may be too large for a text inside a text. Then the row has NULL, and the next block has the text as it is."""

DELETE_TASKS: Final[LiteralString] = "DELETE FROM __agents_a2a_tasks WHERE session_id = ?1"

# ?1 session id. Deletes the entries, the totals and the share of days, as `usage_store.delete` does, and the tasks.
REPLACED: tuple[LiteralString, ...] = (*DELETE_SESSION, DELETE_TASKS)

# ?1 session id. Deletes the totals of stored entries. The entries stay. The first two statements subtract the session's share of
# days.
FORGET_TOTALS: tuple[LiteralString, ...] = (
    *DELETE_SESSION[:2],
    """
    DELETE FROM __agents_usage_by_session
    WHERE session_id = ?1
      AND kept = 0
    """,
    """
    DELETE FROM __agents_usage_sub_sessions
    WHERE session_id = ?1
      AND kept = 0
    """,
)


def _inserted(
    table: LiteralString, kind: LiteralString, columns: LiteralString, values: LiteralString
) -> LiteralString:
    return f"""
    INSERT INTO {table} ({columns})
    SELECT
      {values}
    FROM __agents_message_blocks AS staged
    JOIN json_each(CASE WHEN staged.count = {kind} THEN staged.body ELSE '[]' END) AS r
    WHERE staged.id BETWEEN {first_key("?1")} + 1 AND {last_key("?1")}
    ORDER BY staged.id, r.key
    ON CONFLICT DO NOTHING
    """


def _or_next(column: LiteralString) -> LiteralString:
    return f"coalesce(r.value ->> '{column}', (SELECT body FROM __agents_message_blocks WHERE id = staged.id + 1 AND count = 0))"


# ?1 the number of the staged rows. Rows whose key is stored already stay unchanged. Primary keys.
INSERT_STAGED: tuple[LiteralString, ...] = (
    _inserted(
        "__agents_usage",
        "1",
        "id, session_id, kind, step_count, timestamp, source_type, source_name, data, created_at",
        f"""r.value ->> 'id', r.value ->> 'session_id', r.value ->> 'kind', r.value ->> 'step_count', r.value ->> 'timestamp',
      r.value ->> 'source_type', r.value ->> 'source_name', {_or_next("data")}, r.value ->> 'created_at'""",
    ),
    _inserted(
        "__agents_usage_by_session",
        "2",
        "session_id, kept, kind, name, first_timestamp, last_timestamp, amounts",
        """r.value ->> 'session_id', r.value ->> 'kept', r.value ->> 'kind', r.value ->> 'name',
      r.value ->> 'first_timestamp', r.value ->> 'last_timestamp', r.value ->> 'amounts'""",
    ),
    _inserted(
        "__agents_usage_sub_sessions",
        "3",
        "session_id, kept, sub_session_id",
        "r.value ->> 'session_id', r.value ->> 'kept', r.value ->> 'sub_session_id'",
    ),
    _inserted(
        "__agents_usage_kept",
        "4",
        "session_id, day, kind, name, agent, amounts",
        """r.value ->> 'session_id', r.value ->> 'day', r.value ->> 'kind', r.value ->> 'name', r.value ->> 'agent',
      r.value ->> 'amounts'""",
    ),
    _inserted(
        "__agents_a2a_tasks",
        "5",
        "session_id, owner, task_id, version, writes, state, updated_at, body",
        f"""r.value ->> 'session_id', r.value ->> 'owner', r.value ->> 'task_id', r.value ->> 'version', r.value ->> 'writes',
      r.value ->> 'state', r.value ->> 'updated_at', {_or_next("body")}""",
    ),
)

# ?1 the number of the staged rows. Primary key.
DELETE_STAGED: LiteralString = f"""
    DELETE FROM __agents_message_blocks
    WHERE id BETWEEN {first_key("?1")} AND {last_key("?1")}
"""

# ?1 session id. Counts the totals of its entries, and its share of days with the share of deleted entries. Index on session_id.
COUNT_ENTRIES: tuple[LiteralString, ...] = (
    """
    INSERT INTO __agents_usage_by_session (session_id, kept, kind, name, first_timestamp, last_timestamp, amounts)
    WITH counted AS (
      SELECT
        p.session_id, p.kind, p.name, min(p.timestamp) AS first_timestamp, max(p.timestamp) AS last_timestamp,
        part.key AS counter, sum(part.value) AS total
      FROM __agents_usage_parts AS p
      JOIN json_each(p.amounts) AS part
      WHERE p.session_id = ?1
      GROUP BY p.kind, p.name, part.key
    )
    SELECT session_id, 0, kind, name, min(first_timestamp), max(last_timestamp), json_group_object(counter, total)
    FROM counted
    WHERE total <> 0
    GROUP BY kind, name
    """,
    """
    INSERT INTO __agents_usage_sub_sessions (session_id, kept, sub_session_id)
    SELECT DISTINCT session_id, 0, sub_session_id
    FROM __agents_usage_parts
    WHERE session_id = ?1
      AND sub_session_id IS NOT NULL
    """,
    """
    INSERT INTO __agents_usage_by_day (day, kept, kind, name, agent, amounts)
    WITH counted AS (
      SELECT day, kept, kind, name, agent, counter, sum(amount) AS total
      FROM (
        SELECT p.day, 0 AS kept, p.kind, p.name, p.agent, part.key AS counter, part.value AS amount
        FROM __agents_usage_parts AS p
        JOIN json_each(p.amounts) AS part
        WHERE p.session_id = ?1
        UNION ALL
        SELECT k.day, 1 AS kept, k.kind, k.name, k.agent, part.key AS counter, part.value AS amount
        FROM __agents_usage_kept AS k
        JOIN json_each(k.amounts) AS part
        WHERE k.session_id = ?1
      )
      GROUP BY day, kept, kind, name, agent, counter
    )
    SELECT day, kept, kind, name, agent, json_group_object(counter, total)
    FROM counted
    WHERE total <> 0
    GROUP BY day, kept, kind, name, agent
    ON CONFLICT (day, kept, kind, name, agent) DO UPDATE SET
    """
    + amounts_added("__agents_usage_by_day"),
)

# Aborts the batch unless the staged rows are still there: a repetition finds none. Writes nothing. ?1 their number, ?2 the name of
# their claim -> one row (NULL). Primary key.
GUARD: LiteralString = f"""
    SELECT CASE WHEN NOT EXISTS (
      SELECT 1 FROM __agents_message_blocks WHERE id = {first_key("?1")} AND body = ?2
    ) THEN json_extract('{{}}', 'agents-store ' || json_object('fault', 'shown')) END AS verdict
"""

# Aborts the batch after its statements have run.
REHEARSED: LiteralString = """
    SELECT json_extract('{}', 'agents-store ' || json_object('fault', 'rehearsed')) AS verdict
"""


def store_accounts(session_id: str, number: int, name: str, *, is_replaced: bool) -> list[Statement]:
    """Return the statements that store the staged rows as one batch. A repetition is refused with the fault "shown".

    Args:
        number, name: the number of the staged rows, and the name of their claim.
        is_replaced: delete the session's usage and tasks before.
    """
    return [Statement(GUARD, (number, name)), *_storing(session_id, number, is_replaced=is_replaced)]


def rehearse_accounts(session_id: str, number: int, *, is_replaced: bool) -> list[Statement]:
    """Return the statements of a batch that fails with the fault "rehearsed" if the rows can be stored. It changes nothing."""
    return [*_storing(session_id, number, is_replaced=is_replaced), Statement(REHEARSED)]


def _storing(session_id: str, number: int, *, is_replaced: bool) -> list[Statement]:
    own = (session_id,)
    return [
        *(Statement(sql, own) for sql in (REPLACED if is_replaced else FORGET_TOTALS)),
        *(Statement(sql, (number,)) for sql in INSERT_STAGED),
        Statement(DELETE_STAGED, (number,)),
        *(Statement(sql, own) for sql in COUNT_ENTRIES),
    ]
