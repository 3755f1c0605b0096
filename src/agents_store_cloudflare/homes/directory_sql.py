"""The SQL of the directory in D1: the writes of a home, and the reads of lists and clean-ups."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.database.clock_sql import NOW_MS

__all__ = [
    "DUE_TURNS",
    "EXPIRED",
    "LATER_EDITION",
    "LIST_CHILDREN",
    "LIST_PREFIXED",
    "LIST_SESSIONS",
    "MAKE_ROOM",
    "PROJECT",
    "PURGE",
    "SESSION_IN_DB",
]

# ?1 JSON list of rows, each a list: 0 session id, 1 home, 2 edition, 3 deleted, 4 version, 5 agent type, 6 status, 7 step count, 8
# message count, 9 parent, 10 root, 11 created at, 12 updated at, 13 expires at, 14 the time since which a turn is open or a closing
# chunk is missing.

# A session that was deleted and made again gets a new place. Primary key.
MAKE_ROOM: LiteralString = """
    DELETE FROM __agents_directory
    WHERE session_id IN (
      SELECT d.session_id
      FROM json_each(?1) AS given
      JOIN __agents_directory AS d ON d.session_id = given.value ->> 0
      WHERE d.edition < given.value ->> 2
        AND d.created_at <> given.value ->> 11
    )
"""

# The columns of the indexes on place and parent are written once: a later edition costs one row. Primary key; index of places.
PROJECT: LiteralString = """
    INSERT INTO __agents_directory (
      session_id, home, edition, deleted, version, agent_type, status, step_count, message_count,
      parent_session_id, root_session_id, created_at, updated_at, expires_at, turn_since, place
    )
    SELECT
      value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8,
      value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14,
      key + coalesce(
        (
          SELECT max(d.place) + 1
          FROM __agents_directory AS d
          WHERE d.place BETWEEN (value ->> 11) * 1024 AND (value ->> 11) * 1024 + 1023
        ),
        (value ->> 11) * 1024
      )
    FROM json_each(?1)
    WHERE true
    ON CONFLICT (session_id) DO UPDATE SET
      edition = excluded.edition,
      deleted = excluded.deleted,
      version = excluded.version,
      agent_type = excluded.agent_type,
      status = excluded.status,
      step_count = excluded.step_count,
      message_count = excluded.message_count,
      root_session_id = excluded.root_session_id,
      updated_at = excluded.updated_at,
      expires_at = excluded.expires_at,
      turn_since = excluded.turn_since
    WHERE excluded.edition > edition
"""

# -> (the highest stored edition that is above the given editions, or NULL). Primary key.
LATER_EDITION: LiteralString = """
    SELECT max(d.edition) AS edition
    FROM json_each(?1) AS given
    JOIN __agents_directory AS d ON d.session_id = given.value ->> 0
    WHERE d.edition > given.value ->> 2
"""

# ?1 a time. Deletes a few rows of deleted sessions that are older. Partial index on updated_at.
PURGE: LiteralString = """
    DELETE FROM __agents_directory
    WHERE session_id IN (
      SELECT session_id FROM __agents_directory WHERE deleted = 1 AND updated_at < ?1 LIMIT 20
    )
"""

_COLUMNS: LiteralString = """d.place, d.session_id, d.agent_type, d.status, d.step_count, d.version, d.parent_session_id,
      d.root_session_id, d.created_at, d.updated_at, d.expires_at"""

# ?1 a place: lower places are wanted, ?2 agent type or NULL, ?3 status or NULL, ?4 most rows -> _COLUMNS, newest first. Index of
# places.
LIST_SESSIONS: LiteralString = f"""
    SELECT {_COLUMNS}
    FROM __agents_directory AS d
    WHERE d.place < ?1
      AND d.deleted = 0
      AND (?2 IS NULL OR d.agent_type = ?2)
      AND (?3 IS NULL OR d.status = ?3)
    ORDER BY d.place DESC
    LIMIT ?4
"""

# ?1 … ?4 as above, ?5 parent. Index of parents: reads all children of that parent.
LIST_CHILDREN: LiteralString = f"""
    SELECT {_COLUMNS}
    FROM __agents_directory AS d
    WHERE d.parent_session_id = ?5
      AND +d.place < ?1
      AND +d.deleted = 0
      AND (?2 IS NULL OR d.agent_type = ?2)
      AND (?3 IS NULL OR d.status = ?3)
    ORDER BY +d.place DESC
    LIMIT ?4
"""

# ?1 … ?4 as above, ?5 parent or NULL, ?6 prefix, ?7 the first text after all texts with that prefix. Primary key.
LIST_PREFIXED: LiteralString = f"""
    SELECT {_COLUMNS}
    FROM __agents_directory AS d
    WHERE d.session_id >= ?6
      AND d.session_id < ?7
      AND (?5 IS NULL OR +d.parent_session_id = ?5)
      AND +d.place < ?1
      AND +d.deleted = 0
      AND (?2 IS NULL OR d.agent_type = ?2)
      AND (?3 IS NULL OR d.status = ?3)
    ORDER BY +d.place DESC
    LIMIT ?4
"""

# ?1 now, or NULL for the present by the database's clock, ?2 most rows -> (home, the number of its sessions that seem to have expired),
# the earliest expiry first. Partial index on expires_at.
EXPIRED: LiteralString = f"""
    SELECT home, count(*) AS expired
    FROM (
      SELECT home, expires_at
      FROM __agents_directory
      WHERE expires_at <= coalesce(?1, {NOW_MS})
        AND +deleted = 0
      ORDER BY expires_at
      LIMIT ?2
    )
    GROUP BY home
    ORDER BY min(expires_at)
"""

# ?1 time and ?2 place of the last row of the page before, ?3 most rows -> (session id, place, since), oldest first. Partial index
# on turn_since.
DUE_TURNS: LiteralString = """
    SELECT session_id, place, turn_since
    FROM __agents_directory
    WHERE turn_since IS NOT NULL
      AND +deleted = 0
      AND turn_since >= ?1
      AND (turn_since > ?1 OR place > ?2)
    ORDER BY turn_since, place
    LIMIT ?3
"""

# ?1 JSON list of session ids -> (session id) of each listed session that D1 holds itself. Primary key.
SESSION_IN_DB: LiteralString = """
    SELECT s.session_id
    FROM json_each(?1) AS given
    JOIN __agents_states AS s ON s.session_id = given.value
"""
