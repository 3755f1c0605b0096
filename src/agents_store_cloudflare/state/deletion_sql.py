"""The SQL that deletes sessions. Staged changes, runs and references go with the state row (ON DELETE CASCADE)."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.database.clock_sql import NOW_MS
from agents_store_cloudflare.state.damage import list_or_empty
from agents_store_cloudflare.state.numbering import first_key, last_key
from agents_store_cloudflare.state.session_tables import SESSION_TABLES

__all__ = [
    "DELETE_BLOCKS",
    "DELETE_CHECKPOINTS",
    "DELETE_SESSION_TABLES",
    "DELETE_STATES",
    "FORGET_STREAMS",
    "NO_SESSION",
    "REMEMBER_DELETION",
    "REMEMBER_PLAN",
    "REMOTE_SUB_SESSIONS",
    "SELECT_LEFT_STREAMS",
    "SELECT_PLAN",
    "SELECT_STREAMS",
    "SELECT_STREAM_USE",
    "SELECT_TREE",
    "with_gone",
    "with_tree",
]

# The condition on `child`: its parent {parent} refers to it as remote, because it belongs to another store.
_IS_REMOTE: LiteralString = """EXISTS (
          SELECT 1
          FROM __agents_sub_sessions AS r
          WHERE r.session_no = {parent}.session_no
            AND r.sub_session_id = child.session_id
            AND r.location = 'remote'
        )"""

# The parameters of both trees: ?1 session id or NULL, ?2 now, or NULL for the present by the database's clock, ?3 most expired sessions, 0
# for a deletion of one session. Primary keys, partial indexes on expires_at and on parent_session_id.

# A session, or the expired sessions, each with its descendants. UNION ends at a cycle of parents. A remote child stays. The rows of
# {others} stand in the tree too, without a number and without descendants.
_MEMBERS: LiteralString = f"""
    tree (session_id, session_no) AS (
      SELECT session_id, session_no
      FROM (
        SELECT session_id, session_no FROM __agents_states WHERE session_id = ?1
        UNION ALL
        SELECT session_id, session_no FROM (
          SELECT session_id, session_no FROM __agents_states WHERE expires_at <= coalesce(?2, {NOW_MS}) ORDER BY expires_at LIMIT ?3
        )
        UNION ALL
        SELECT other.session_id, NULL
        FROM {{others}} AS other
        WHERE other.session_id IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM __agents_states AS living WHERE living.session_id = other.session_id)
      )
      UNION
      SELECT child.session_id, child.session_no
      FROM tree
      JOIN __agents_states AS child ON child.parent_session_id = tree.session_id
      WHERE tree.session_no IS NOT NULL
        AND NOT {_IS_REMOTE.format(parent="tree")}
    )
"""

# An id without a session stands in the tree, because adapters' rows may have this id.
_TREE: LiteralString = "WITH RECURSIVE" + _MEMBERS.format(others="(SELECT ?1 AS session_id)")

# The tree with all that usage and streams may belong to: also the descendants of ?1 that a deletion of the state alone has left,
# unless they were made again since.
_TREE_WITH_LOST: LiteralString = f"""
    WITH RECURSIVE lost (session_id) AS (
      SELECT ?1
      UNION
      SELECT child.session_id
      FROM lost
      JOIN __agents_fences AS f ON f.session_id = lost.session_id
      JOIN json_each({list_or_empty("f.children")}) AS named
      JOIN __agents_fences AS child ON child.session_id = named.value ->> 0 AND child.lives = named.value ->> 1
      WHERE named.type = 'array'
    ),""" + _MEMBERS.format(others="lost")


def with_tree(statement: LiteralString) -> LiteralString:
    """Return a statement that may use the sessions of a deletion as `tree (session_id, session_no)`.

    The number of an id without a session is NULL. So is the number of a descendant that a deletion of the state alone has left. The first
    parameters are ?1 session id or NULL, ?2 now or NULL, ?3 most expired sessions or 0.
    """
    return _TREE_WITH_LOST + statement


# The ids among ?1, session ids as JSON, that have no session. Primary key.
_GONE: LiteralString = """
    WITH tree (session_id) AS (
      SELECT value
      FROM json_each(?1)
      WHERE NOT EXISTS (SELECT 1 FROM __agents_states WHERE session_id = value)
    )
"""


def with_gone(statement: LiteralString) -> LiteralString:
    """Return a statement that may use ids that have no session as `tree (session_id)`. The parameter ?1 is some ids as JSON."""
    return _GONE + statement


# -> (session id, session number) of each session to delete
SELECT_TREE: LiteralString = (
    _TREE
    + """
    SELECT session_id, session_no
    FROM tree
    WHERE session_no IS NOT NULL
    """
)

# The condition on a row of `streams`: no session outside the tree uses this stream.
_IS_UNUSED: LiteralString = """
      NOT EXISTS (
        SELECT 1
        FROM __agents_states AS named
        WHERE named.session_id = streams.stream_id
          AND named.session_id NOT IN (SELECT session_id FROM tree)
      )
      AND NOT EXISTS (
        SELECT 1
        FROM __agents_states AS other
        WHERE other.stream_id = streams.stream_id
          AND other.stream_id <> other.session_id
          AND other.session_id NOT IN (SELECT session_id FROM tree)
      )
"""

# Tells a session from a later session of its id. The number alone is given again when it was the highest.
_LIFE: LiteralString = "{state}.session_no || '.' || {state}.history_epoch"

# -> (stream id, mark or NULL, life or NULL) of each stream that only sessions of the tree use, a row for each of its sessions. The streams
# that earlier deletions of ?1 and of lost descendants have left come last, with the marks that they found. Partial index on stream_id,
# primary keys.
SELECT_STREAMS: LiteralString = (
    _TREE_WITH_LOST
    + f""",
    streams (stream_id, mark, life) AS (
      SELECT coalesce(s.stream_id, tree.session_id), NULL, {_LIFE.format(state="s")}
      FROM tree
      LEFT JOIN __agents_states AS s ON s.session_id = tree.session_id
      UNION ALL
      SELECT left_over.value ->> 0, left_over.value -> 1, NULL
      FROM tree
      JOIN __agents_fences AS f ON f.session_id = tree.session_id
      JOIN json_each("""
    + list_or_empty("f.streams")
    + """) AS left_over
      WHERE (tree.session_id = ?1 OR tree.session_no IS NULL)
        AND left_over.type = 'array'
    )
    SELECT stream_id, mark, life
    FROM streams
    WHERE """
    + _IS_UNUSED
)

# ?1 session id -> (stream id, mark or NULL) of the streams that its deletion has left. Primary key.
SELECT_LEFT_STREAMS: LiteralString = f"""
    SELECT left_over.value ->> 0 AS stream_id, left_over.value -> 1 AS mark
    FROM __agents_fences AS f
    JOIN json_each({list_or_empty("f.streams")}) AS left_over
    WHERE f.session_id = ?1
      AND left_over.type = 'array'
"""

# ?2 stream id -> (1) if a session uses it, or no row. Primary key, partial index on stream_id.
SELECT_STREAM_USE: LiteralString = """
    SELECT 1 AS used
    FROM (SELECT ?1 AS asking) AS asked
    WHERE EXISTS (SELECT 1 FROM __agents_states WHERE session_id = ?2)
      OR EXISTS (SELECT 1 FROM __agents_states WHERE stream_id = ?2 AND stream_id <> session_id)
"""

# -> (sub-session id) of each sub-session to which the tree refers as remote
REMOTE_SUB_SESSIONS: LiteralString = (
    _TREE
    + """
    SELECT r.sub_session_id
    FROM tree
    JOIN __agents_sub_sessions AS r ON r.session_no = tree.session_no
    WHERE r.location = 'remote'
    """
)

DELETE_BLOCKS: LiteralString = (
    _TREE
    + f"""
    DELETE FROM __agents_message_blocks
    WHERE id IN (
      SELECT b.id
      FROM tree
      JOIN __agents_message_blocks AS b
        ON b.id BETWEEN {first_key("tree.session_no")} AND {last_key("tree.session_no")}
    )
    """
)

DELETE_CHECKPOINTS: LiteralString = (
    _TREE
    + f"""
    DELETE FROM __agents_checkpoints
    WHERE id IN (
      SELECT c.id
      FROM tree
      JOIN __agents_checkpoints AS c
        ON c.id BETWEEN {first_key("tree.session_no")} AND {last_key("tree.session_no")}
    )
    """
)

# The adapters' rows of the sessions. Primary keys.
DELETE_SESSION_TABLES: tuple[LiteralString, ...] = tuple(
    f"""{_TREE}
    DELETE FROM {table}
    WHERE session_id IN (SELECT session_id FROM tree)
    """
    for table in SESSION_TABLES
)

# -> (session id) of each deleted session. This is the last statement of the batch, because the other statements find the tree by
# these rows.
DELETE_STATES: LiteralString = (
    _TREE
    + """
    DELETE FROM __agents_states
    WHERE session_id IN (SELECT session_id FROM tree)
    RETURNING session_id
    """
)

# ?1 … ?3 as in the trees, ?4 commit id and ?5 request of the deletion, or NULL for a cleanup, ?6 now, ?7 1 to remember the deletion
# although there is no session, ?8 the streams that the session ?1 leaves unless others use them, and the lives of their sessions, as
# JSON; the streams of other sessions come first. ?9 1 where each session leaves its own stream, ?10 1 if the deletion met the session
# before others deleted it, ?11 most streams and most children -> (session id, the streams that it leaves). Damaged commits are
# forgotten. Runs after the deletion of the usage and before the deletion of the sessions. For each session of the tree it keeps: the
# last commits, without results that hold text; how many sessions of this id were deleted; the streams that are left, and where each
# session leaves its own stream, its children. It keeps the deletion itself under ?1 and forgets its plan. Of each id the newest 32
# commits and the newest 32 deletions stay, of each kind at most 5,000 bytes. Primary keys, partial index on parent_session_id.
REMEMBER_DELETION: LiteralString = (
    _TREE_WITH_LOST
    + """,
    leaving AS (
      SELECT session_id FROM tree WHERE session_no IS NOT NULL OR ?7 = 1
    ),
    entries AS (
      SELECT leaving.session_id, 0 AS age, e.key AS place, e.value AS entry
      FROM leaving
      JOIN __agents_fences AS f ON f.session_id = leaving.session_id
      JOIN json_each("""
    + list_or_empty("f.past")
    + """) AS e
      WHERE e.type = 'array'
      UNION ALL
      SELECT
        leaving.session_id, 1 AS age, e.key AS place,
        json_set(e.value, '$[8]', CASE json_type(e.value, '$[8]') WHEN 'integer' THEN e.value ->> 8 END) AS entry
      FROM leaving
      JOIN __agents_states AS s ON s.session_id = leaving.session_id
      JOIN json_each("""
    + list_or_empty("s.commits")
    + """) AS e
      WHERE e.type = 'array'
      UNION ALL
      SELECT
        ?1 AS session_id, 2 AS age, 0 AS place,
        json_array(
          ?4, ?5, 0, 0, 0, 0, CAST(?6 AS INTEGER), 0, ?10 = 1 OR EXISTS (SELECT 1 FROM __agents_states WHERE session_id = ?1)
        ) AS entry
      WHERE ?1 IN (SELECT session_id FROM leaving)
    ),
    numbered AS (
      SELECT
        *,
        row_number() OVER newest_first AS number,
        sum(length(CAST(entry AS BLOB)) + 1) OVER newest_first AS bytes
      FROM entries
      WINDOW newest_first AS (
        PARTITION BY session_id, entry ->> 1 LIKE 'delete_session#%'
        ORDER BY age DESC, place DESC
        ROWS UNBOUNDED PRECEDING
      )
    ),
    streams (stream_id, entry) AS (
      SELECT coalesce(late.stream_id, late.session_id), NULL
      FROM tree
      JOIN __agents_states AS late ON late.session_id = tree.session_id
      WHERE ?8 IS NOT NULL
        AND """
    + _LIFE.format(state="late")
    + """ NOT IN (SELECT value FROM json_each(?8, '$.lives'))
      UNION ALL
      SELECT given.value ->> 0, given.value
      FROM json_each(?8, '$.streams') AS given
    ),
    unused AS (
      SELECT coalesce(entry, json_array(stream_id)) AS entry
      FROM streams
      WHERE """
    + _IS_UNUSED
    + """
      LIMIT ?11
    ),
    kept AS (
      SELECT
        leaving.session_id,
        (
          SELECT json_group_array(json(ordered.entry))
          FROM (
            SELECT entry
            FROM numbered
            WHERE numbered.session_id = leaving.session_id
              AND number <= 32
              AND (bytes < 5000 OR number = 1)
            ORDER BY age, place
          ) AS ordered
        ) AS past,
        s.session_id IS NOT NULL AS life,
        CASE
          WHEN leaving.session_id = ?1 AND ?8 IS NOT NULL THEN (SELECT json_group_array(json(entry)) FROM unused)
          WHEN ?9 = 1 AND s.stream_id <> s.session_id THEN json_array(json_array(s.stream_id))
        END AS streams,
        CASE
          WHEN ?9 = 1 THEN (
            SELECT nullif(json_group_array(json_array(own.session_id, own.lives)), '[]')
            FROM (
              SELECT child.session_id, 1 + coalesce(f.lives, 0) AS lives
              FROM __agents_states AS child
              LEFT JOIN __agents_fences AS f ON f.session_id = child.session_id
              WHERE child.parent_session_id = s.session_id
                AND NOT """
    + _IS_REMOTE.format(parent="s")
    + """
              LIMIT ?11
            ) AS own
          )
        END AS children
      FROM leaving
      LEFT JOIN __agents_states AS s ON s.session_id = leaving.session_id
    )
    INSERT INTO __agents_fences (session_id, token, lives, past, streams, children)
    SELECT session_id, 0, life, past, streams, children
    FROM kept
    WHERE true
    ON CONFLICT (session_id) DO UPDATE SET
      lives = lives + excluded.lives,
      past = excluded.past,
      plans = (
        SELECT json_group_array(json(p.value))
        FROM json_each("""
    + list_or_empty("plans")
    + """) AS p
        WHERE p.type = 'array'
          AND p.value ->> 0 IS NOT ?4
      ),
      streams = CASE WHEN ?9 = 1 THEN coalesce(excluded.streams, streams) ELSE excluded.streams END,
      children = CASE
        WHEN ?9 = 1 AND excluded.children IS NULL THEN children
        WHEN ?9 = 1 THEN (
          SELECT json_group_array(json(entry))
          FROM (
            SELECT value AS entry FROM json_each(excluded.children)
            UNION ALL
            SELECT value
            FROM json_each("""
    + list_or_empty("children")
    + """)
            WHERE type = 'array'
              AND value ->> 0 NOT IN (SELECT value ->> 0 FROM json_each(excluded.children))
            LIMIT ?11
          )
        )
      END
    RETURNING session_id, streams
    """
)

# ?1 session id, ?2 commit id -> (how many sessions of this id were deleted, the plan of this commit id or NULL) or no row. Primary key.
SELECT_PLAN: LiteralString = f"""
    SELECT
      lives,
      (SELECT p.value FROM json_each({list_or_empty("plans")}) AS p WHERE p.type = 'array' AND p.value ->> 0 = ?2) AS plan
    FROM __agents_fences
    WHERE session_id = ?1
"""

# ?1 session id, ?2 commit id, ?3 request: keeps the plan, unless it is kept. One row. Primary key.
REMEMBER_PLAN: LiteralString = f"""
    INSERT INTO __agents_fences (session_id, token, plans)
    SELECT ?1, 0, json_array(json_array(?2, ?3, 0, EXISTS (SELECT 1 FROM __agents_states WHERE session_id = ?1)))
    WHERE true
    ON CONFLICT (session_id) DO UPDATE SET
      plans = json_insert(
        CASE
          WHEN json_valid(plans) = 0 THEN '[]'
          WHEN json_array_length(plans) >= 8 THEN json_remove(plans, '$[0]')
          ELSE plans
        END,
        '$[#]',
        json_array(?2, ?3, lives, EXISTS (SELECT 1 FROM __agents_states WHERE session_id = ?1))
      )
    WHERE NOT EXISTS (
      SELECT 1
      FROM json_each({list_or_empty("plans")}) AS p
      WHERE p.type = 'array'
        AND p.value ->> 0 = ?2
    )
"""

# ?1 session id: aborts the batch if there is a session of this id; writes nothing -> (NULL). Primary key.
NO_SESSION: LiteralString = """
    SELECT
      CASE WHEN EXISTS (SELECT 1 FROM __agents_states WHERE session_id = ?1) THEN
        json_extract('{}', 'agents-store ' || json_object('fault', 'life'))
      END AS verdict
"""

# ?1 session id: the streams that its deletion has left are gone. One row. Primary key.
FORGET_STREAMS: LiteralString = """
    UPDATE __agents_fences
    SET streams = NULL
    WHERE session_id = ?1
"""
