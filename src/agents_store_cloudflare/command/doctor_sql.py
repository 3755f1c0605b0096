"""The SQL of `doctor`. It only reads, and it scans whole tables: an operator runs it."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.state.numbering import FIRST_KEY, KEYS_PER_SESSION, LAST_KEY

__all__ = [
    "BLOCKS_ALONE",
    "BLOCK_ENDS",
    "BLOCK_GAPS",
    "BLOCK_LINES",
    "CHECKPOINTS_ABOVE",
    "CHECKPOINTS_ALONE",
    "CHECKPOINTS_WITHOUT_BASE",
    "EXPIRED",
    "FENCES_ALONE",
    "PARTS_ALONE",
    "QUICK_CHECK",
    "RECORDED_FILES",
    "SCHEMA_OBJECTS",
    "UNNUMBERED",
    "USAGE_ALONE",
]

QUICK_CHECK: LiteralString = "PRAGMA quick_check"

# -> (type, name, the statement that made it) of each table, index and trigger with a name of this package
SCHEMA_OBJECTS: LiteralString = """
    SELECT type, name, sql
    FROM sqlite_master
    WHERE sql IS NOT NULL
      AND (name GLOB '__agents_*' OR name GLOB 'idx___agents_*')
    ORDER BY type, name
"""

# -> (file name)
RECORDED_FILES: LiteralString = """
    SELECT name
    FROM d1_migrations
"""

# Each statement below: -> (the session or row concerned, or NULL) for each finding.

# ?1 the most rows, as in each statement below. Sessions without a number, to which no message, checkpoint or run can belong.
UNNUMBERED: LiteralString = """
    SELECT session_id
    FROM __agents_states
    WHERE session_no IS NULL
    LIMIT ?1
"""

BLOCKS_ALONE: LiteralString = f"""
    SELECT 'session number ' || (b.id / {KEYS_PER_SESSION})
    FROM __agents_message_blocks AS b
    LEFT JOIN __agents_states AS s ON s.session_no = b.id / {KEYS_PER_SESSION}
    WHERE s.session_no IS NULL
    GROUP BY b.id / {KEYS_PER_SESSION}
    LIMIT ?1
"""

CHECKPOINTS_ALONE: LiteralString = f"""
    SELECT 'session number ' || (c.id / {KEYS_PER_SESSION})
    FROM __agents_checkpoints AS c
    LEFT JOIN __agents_states AS s ON s.session_no = c.id / {KEYS_PER_SESSION}
    WHERE s.session_no IS NULL
    GROUP BY c.id / {KEYS_PER_SESSION}
    LIMIT ?1
"""

PARTS_ALONE: LiteralString = """
    SELECT 'session number ' || p.session_no
    FROM (
      SELECT session_no FROM __agents_staged_changes
      UNION
      SELECT session_no FROM __agents_runs
      UNION
      SELECT session_no FROM __agents_sub_sessions
    ) AS p
    LEFT JOIN __agents_states AS s ON s.session_no = p.session_no
    WHERE s.session_no IS NULL
    LIMIT ?1
"""

# A block that does not begin at the end of the block before it. A later begin is a gap, an earlier one an overlap.
BLOCK_GAPS: LiteralString = f"""
    SELECT
      s.session_id || ': ' || CASE WHEN p.first > p.expected THEN 'gap' ELSE 'overlap' END
      || ' between ' || min(p.first, p.expected) || ' and ' || max(p.first, p.expected)
    FROM (
      SELECT
        id / {KEYS_PER_SESSION} AS session_no,
        id % {KEYS_PER_SESSION} AS first,
        lag(id % {KEYS_PER_SESSION} + count, 1, 0) OVER (PARTITION BY id / {KEYS_PER_SESSION} ORDER BY id) AS expected
      FROM __agents_message_blocks
    ) AS p
    JOIN __agents_states AS s ON s.session_no = p.session_no
    WHERE p.first <> p.expected
    LIMIT ?1
"""

# Sessions whose last block does not end at the count of the state row.
BLOCK_ENDS: LiteralString = f"""
    SELECT e.session_id || ': ' || e.message_count || ' counted, blocks end at ' || e.stored
    FROM (
      SELECT
        s.session_id,
        s.message_count,
        coalesce((
          SELECT b.id % {KEYS_PER_SESSION} + b.count
          FROM __agents_message_blocks AS b
          WHERE b.id BETWEEN {FIRST_KEY} AND {LAST_KEY}
          ORDER BY b.id DESC
          LIMIT 1
        ), 0) AS stored
      FROM __agents_states AS s
      WHERE s.session_no IS NOT NULL
    ) AS e
    WHERE e.message_count <> e.stored
    LIMIT ?1
"""

# Blocks whose text has another number of messages than their count, or is no JSON.
BLOCK_LINES: LiteralString = f"""
    SELECT s.session_id || ': block at ' || (b.id % {KEYS_PER_SESSION})
    FROM __agents_message_blocks AS b
    JOIN __agents_states AS s ON s.session_no = b.id / {KEYS_PER_SESSION}
    WHERE length(b.body) - length(replace(b.body, char(9), '')) + 1 <> b.count
      OR json_valid('[' || replace(b.body, char(9), ',') || ']') = 0
    LIMIT ?1
"""

# Pruned checkpoints are kept for the custom state that others share. Their count means nothing.
CHECKPOINTS_ABOVE: LiteralString = f"""
    SELECT s.session_id || ': number ' || (c.id % {KEYS_PER_SESSION}) || ' counts ' || c.message_count || ' of ' || s.message_count
    FROM __agents_checkpoints AS c
    JOIN __agents_states AS s ON s.session_no = c.id / {KEYS_PER_SESSION}
    WHERE c.pruned = 0
      AND c.message_count > s.message_count
    LIMIT ?1
"""

CHECKPOINTS_WITHOUT_BASE: LiteralString = f"""
    SELECT s.session_id || ': number ' || (c.id % {KEYS_PER_SESSION})
    FROM __agents_checkpoints AS c
    JOIN __agents_states AS s ON s.session_no = c.id / {KEYS_PER_SESSION}
    LEFT JOIN __agents_checkpoints AS base ON base.id = c.base_id
    WHERE c.base_id IS NOT NULL
      AND base.id IS NULL
    LIMIT ?1
"""

# ?1 now -> (how many)
EXPIRED: LiteralString = """
    SELECT count(*)
    FROM __agents_states
    WHERE expires_at IS NOT NULL
      AND expires_at <= ?1
"""

# -> (how many)
FENCES_ALONE: LiteralString = """
    SELECT count(*)
    FROM __agents_fences AS f
    LEFT JOIN __agents_states AS s ON s.session_id = f.session_id
    LEFT JOIN __agents_directory AS d ON d.session_id = f.session_id AND d.deleted = 0
    WHERE s.session_id IS NULL
      AND d.session_id IS NULL
      AND f.token > 0
"""

# -> (how many entries)
USAGE_ALONE: LiteralString = """
    SELECT count(*)
    FROM __agents_usage AS u
    LEFT JOIN __agents_states AS s ON s.session_id = u.session_id
    LEFT JOIN __agents_directory AS d ON d.session_id = u.session_id AND d.deleted = 0
    WHERE s.session_id IS NULL
      AND d.session_id IS NULL
"""
