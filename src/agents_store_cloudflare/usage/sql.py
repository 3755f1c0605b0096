"""The SQL of the usage store. Written for `__agents_usage`; `for_table` makes the same for a table of another name.

Entries travel as one JSON text: each element is an object of columns, its `data` a text inside, so that user JSON is never
re-serialised and integers keep their digits.
"""

from __future__ import annotations

import re
from typing import LiteralString, cast

from agents_store_cloudflare.errors import InvalidArgumentError
from agents_store_cloudflare.usage.options import DEFAULT_TABLE

__all__ = [
    "COUNT_ENTRIES",
    "CREATE_TABLE",
    "DELETE_ENTRIES",
    "DELETE_OLD",
    "FIND_SESSIONS",
    "INSERT_ENTRIES",
    "SELECT_EXISTS",
    "SELECT_PAGE",
    "SELECT_SESSION",
    "SELECT_STORED_OTHERWISE",
    "SELECT_TREE",
    "check_table_name",
    "for_table",
]

RESERVED = ("__agents_", "sqlite_", "_cf_", "d1_")

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

# ?1 JSON list of entries, ?2 now. An id that is there already changes nothing.
INSERT_ENTRIES: LiteralString = """
    INSERT INTO __agents_usage (
      id, session_id, kind, step_count, timestamp, source_type, source_name, data, created_at
    )
    SELECT
      value ->> 'id', value ->> 'session_id', value ->> 'kind', value ->> 'step_count', value ->> 'timestamp',
      value ->> 'source_type', value ->> 'source_name', value ->> 'data', ?2
    FROM json_each(?1)
    WHERE true
    ON CONFLICT (id) DO NOTHING
"""

# ?1 JSON list of entries -> the columns of entries.entry_of, of those that are stored with another content: an earlier entry had
# their id. Primary key.
SELECT_STORED_OTHERWISE: LiteralString = """
    SELECT e.id, e.session_id, e.kind, e.step_count, e.timestamp, e.source_type, e.source_name, e.data
    FROM json_each(?1) AS given
    CROSS JOIN __agents_usage AS e ON e.id = given.value ->> 'id'
    WHERE e.data <> given.value ->> 'data'
      OR e.timestamp <> given.value ->> 'timestamp'
      OR e.session_id <> given.value ->> 'session_id'
      OR e.kind <> given.value ->> 'kind'
      OR e.step_count <> given.value ->> 'step_count'
      OR e.source_type <> given.value ->> 'source_type'
      OR e.source_name <> given.value ->> 'source_name'
"""

# ?1 session id, ?2 JSON list of kinds or NULL, ?3 least step or NULL, ?4 most step or NULL, ?5 most rows (-1: all), ?6 rows to skip
# -> the columns of entries.entry_of, by time, then insertion. Index on session_id.
SELECT_PAGE: LiteralString = """
    SELECT id, session_id, kind, step_count, timestamp, source_type, source_name, data
    FROM __agents_usage
    WHERE session_id = ?1
      AND (?2 IS NULL OR kind IN (SELECT value FROM json_each(?2)))
      AND (?3 IS NULL OR step_count >= ?3)
      AND (?4 IS NULL OR step_count <= ?4)
    ORDER BY timestamp, rowid
    LIMIT ?5 OFFSET ?6
"""

# ?1 session id -> (kind, timestamp, data) of every entry. Index on session_id.
SELECT_SESSION: LiteralString = """
    SELECT kind, timestamp, data
    FROM __agents_usage
    WHERE session_id = ?1
    ORDER BY timestamp, rowid
"""

# ?1 session id -> (kind, timestamp, data) of every entry of the session and its descendants, each session once: those whose
# parent it is, and those that its subagent entries name. UNION keeps a cycle from going round. Indexes on session_id and on
# parent_session_id.
SELECT_TREE: LiteralString = """
    WITH RECURSIVE tree (session_id) AS (
      SELECT ?1
      UNION
      SELECT child.session_id
      FROM tree
      JOIN __agents_states AS child ON child.parent_session_id = tree.session_id
      UNION
      SELECT named.data ->> '$.subSessionId'
      FROM tree
      JOIN __agents_usage AS named ON named.session_id = tree.session_id AND +named.kind = 'subagent'
      WHERE named.data ->> '$.subSessionId' IS NOT NULL
    )
    SELECT e.kind, e.timestamp, e.data
    FROM tree
    CROSS JOIN __agents_usage AS e ON e.session_id = tree.session_id
    ORDER BY e.timestamp, e.rowid
"""

# ?1 session id -> (1) or no row. Index on session_id.
SELECT_EXISTS: LiteralString = """
    SELECT 1 AS found
    FROM __agents_usage
    WHERE session_id = ?1
    LIMIT 1
"""

# ?1 session id -> (entries). Index on session_id.
COUNT_ENTRIES: LiteralString = """
    SELECT count(*) AS entries
    FROM __agents_usage
    WHERE session_id = ?1
"""

# ?1 agent type or NULL, ?2 most rows (-1: all) -> (session id), the most recently used first. Reads the whole table: an operator's call.
FIND_SESSIONS: LiteralString = """
    SELECT session_id
    FROM __agents_usage
    WHERE ?1 IS NULL OR (source_type = 'agent' AND source_name = ?1)
    GROUP BY session_id
    ORDER BY max(timestamp) DESC, session_id
    LIMIT ?2
"""

# ?1 session id -> a row for each entry deleted. Index on session_id.
DELETE_ENTRIES: LiteralString = """
    DELETE FROM __agents_usage
    WHERE session_id = ?1
    RETURNING 1 AS deleted
"""

# ?1 timestamp: strictly older ones go -> a row for each. Index on timestamp.
DELETE_OLD: LiteralString = """
    DELETE FROM __agents_usage
    WHERE timestamp < ?1
    RETURNING 1 AS deleted
"""

# The documented table and its indexes, for a table of another name; that of the documented name comes from the migrations.
CREATE_TABLE: tuple[LiteralString, ...] = (
    """
    CREATE TABLE IF NOT EXISTS __agents_usage (
      id TEXT PRIMARY KEY,
      session_id TEXT NOT NULL,
      kind TEXT NOT NULL,
      step_count INTEGER NOT NULL,
      timestamp INTEGER NOT NULL,
      source_type TEXT NOT NULL,
      source_name TEXT NOT NULL,
      data TEXT NOT NULL,
      created_at INTEGER NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS idx___agents_usage_session_id ON __agents_usage (session_id)",
    "CREATE INDEX IF NOT EXISTS idx___agents_usage_kind ON __agents_usage (kind)",
    "CREATE INDEX IF NOT EXISTS idx___agents_usage_timestamp ON __agents_usage (timestamp)",
)


def check_table_name(name: str) -> str:
    """`name` if it is an identifier that needs no quoting.

    Raises:
        TypeError, InvalidArgumentError: it is not.
    """
    if not isinstance(cast("object", name), str):
        raise TypeError(f"table_name must be text, not {type(name).__name__}")
    if not _IDENTIFIER.fullmatch(name):
        raise InvalidArgumentError(
            "table_name must be letters, digits and underscores, at most 63, not beginning with a digit"
        )
    if name != DEFAULT_TABLE and name.lower().startswith(RESERVED):
        raise InvalidArgumentError(f"table_name begins with one of {', '.join(RESERVED)}, which are not yours")
    return name


def for_table(sql: LiteralString, name: str) -> LiteralString:
    """The statement for the table `name`, which `check_table_name` has passed: the one place where SQL is made from text."""
    checked = cast("LiteralString", name)  # type: ignore[redundant-cast]
    return sql if name == DEFAULT_TABLE else sql.replace(DEFAULT_TABLE, checked)
