"""The SQL that reads checkpoints and lines."""

from __future__ import annotations

from typing import LiteralString

__all__ = [
    "HEADS_OF_THREAD",
    "LINES_OF_CHAIN",
    "LINES_OF_ONE",
    "LINES_OF_PAGE",
    "SELECT_CHAIN",
    "SELECT_HEAD",
    "SELECT_LATEST",
    "SELECT_ONE",
    "SELECT_PAGE",
]

_COLUMNS: LiteralString = "session_id, ns, checkpoint_id, parent_id, body, refs, metadata, writes"

# ?1 thread, ?2 namespace -> (checkpoint id) of the newest checkpoint, or no row. Primary key, backwards.
SELECT_HEAD: LiteralString = """
    SELECT checkpoint_id
    FROM __agents_graph_checkpoints
    WHERE session_id = ?1
      AND ns = ?2
      AND body IS NOT NULL
    ORDER BY checkpoint_id DESC
    LIMIT 1
"""

# ?1 thread, ?2 namespace, ?3 checkpoint id -> (thread, namespace, id, parent, body, refs, metadata, writes) or no row. Primary key.
SELECT_ONE: LiteralString = f"""
    SELECT {_COLUMNS}
    FROM __agents_graph_checkpoints
    WHERE session_id = ?1
      AND ns = ?2
      AND checkpoint_id = ?3
      AND body IS NOT NULL
"""

# ?1 thread, ?2 namespace -> the same columns for the newest checkpoint. Primary key, backwards.
SELECT_LATEST: LiteralString = f"""
    SELECT {_COLUMNS}
    FROM __agents_graph_checkpoints
    WHERE session_id = ?1
      AND ns = ?2
      AND body IS NOT NULL
    ORDER BY checkpoint_id DESC
    LIMIT 1
"""


# ?1 thread or NULL, ?2 namespace or NULL, ?3 checkpoint id or NULL, ?4 only checkpoints before this id, or NULL, ?5 most rows; ?6
# id or NULL, ?7 thread and ?8 namespace of the last row of the page before. Newest first.
def _page(place: LiteralString) -> LiteralString:
    return f"""
      FROM __agents_graph_checkpoints
      WHERE {place}
        AND (?3 IS NULL OR checkpoint_id = ?3)
        AND (?4 IS NULL OR checkpoint_id < ?4)
        AND (?6 IS NULL OR (checkpoint_id, session_id, ns) < (?6, ?7, ?8))
        AND body IS NOT NULL
      ORDER BY checkpoint_id DESC, session_id DESC, ns DESC
      LIMIT ?5
    """


# Without a thread it reads all checkpoints. With a thread it reads and sorts the thread's checkpoints. With a namespace it reads as
# many as the page needs.
_PAGES: tuple[LiteralString, ...] = (
    _page("?1 IS NULL AND (?2 IS NULL OR ns = ?2)"),
    _page("session_id = ?1 AND ?2 IS NULL"),
    _page("session_id = ?1 AND ns = ?2"),
)


def _lines(rows: LiteralString) -> LiteralString:
    """Return the SQL of the lines that rows of checkpoints need.

    Each row of lines comes once, in the order in which the lines are joined.

    -> (thread, namespace, log, start, body). Primary keys.
    """
    return f"""
    wanted AS (
      SELECT DISTINCT
        n.session_id, n.ns, need.value ->> 0 AS log, need.value ->> 1 AS first, need.value ->> 2 AS finish
      FROM {rows} AS n
      JOIN json_each(n.needs) AS need
    ),
    places AS (
      SELECT DISTINCT w.session_id, w.ns, w.log, l.start
      FROM wanted AS w
      JOIN __agents_graph_lines AS l
        ON l.session_id = w.session_id
        AND l.ns = w.ns
        AND l.log = w.log
        AND l.start < w.finish
        AND l.start >= coalesce(
          (
            SELECT max(x.start)
            FROM __agents_graph_lines AS x
            WHERE x.session_id = w.session_id
              AND x.ns = w.ns
              AND x.log = w.log
              AND x.start <= w.first
          ),
          0
        )
    )
    SELECT l.session_id, l.ns, l.log, l.start, l.body
    FROM places AS p
    JOIN __agents_graph_lines AS l
      ON l.session_id = p.session_id
      AND l.ns = p.ns
      AND l.log = p.log
      AND l.start = p.start
    ORDER BY l.session_id, l.ns, l.log, l.start
    """


def _needing(source: LiteralString) -> LiteralString:
    """Return the SQL of rows with the lines that their bodies and writes need, in one column."""
    return f"""
    WITH chosen AS (
      SELECT session_id, ns, refs, write_refs
      {source}
    ),
    needing AS (
      SELECT session_id, ns, refs AS needs FROM chosen
      UNION ALL
      SELECT session_id, ns, write_refs AS needs FROM chosen
    ),
    """


# ?1 thread, ?2 namespace, ?3 checkpoint id or NULL for the newest
LINES_OF_ONE: LiteralString = _needing(
    """
      FROM __agents_graph_checkpoints
      WHERE session_id = ?1
        AND ns = ?2
        AND (?3 IS NULL OR checkpoint_id = ?3)
        AND body IS NOT NULL
      ORDER BY checkpoint_id DESC
      LIMIT 1
    """
) + _lines("needing")

# The parameters of a page. The statements are for all threads, for a thread, and for a namespace of a thread.
SELECT_PAGE: tuple[LiteralString, ...] = tuple(f"SELECT {_COLUMNS}{page}" for page in _PAGES)
LINES_OF_PAGE: tuple[LiteralString, ...] = tuple(_needing(page) + _lines("needing") for page in _PAGES)

# ?1 thread, ?2 namespace, ?3 checkpoint id, ?4 most rows: the checkpoint and its ancestors.
_CHAIN: LiteralString = """
    chain (checkpoint_id, parent_id, depth) AS (
      SELECT checkpoint_id, parent_id, 0
      FROM __agents_graph_checkpoints
      WHERE session_id = ?1
        AND ns = ?2
        AND checkpoint_id = ?3
        AND body IS NOT NULL
      UNION ALL
      SELECT c.checkpoint_id, c.parent_id, chain.depth + 1
      FROM chain
      JOIN __agents_graph_checkpoints AS c
        ON c.session_id = ?1
        AND c.ns = ?2
        AND c.checkpoint_id = chain.parent_id
        AND c.body IS NOT NULL
      LIMIT ?4
    )"""

SELECT_CHAIN: LiteralString = f"""
    WITH RECURSIVE {_CHAIN}
    SELECT c.session_id, c.ns, c.checkpoint_id, c.parent_id, c.body, c.refs, c.metadata, c.writes
    FROM chain
    JOIN __agents_graph_checkpoints AS c
      ON c.session_id = ?1
      AND c.ns = ?2
      AND c.checkpoint_id = chain.checkpoint_id
    ORDER BY chain.depth
"""

LINES_OF_CHAIN: LiteralString = f"""
    WITH RECURSIVE {_CHAIN},
    chosen AS (
      SELECT c.session_id, c.ns, c.refs, c.write_refs
      FROM chain
      JOIN __agents_graph_checkpoints AS c
        ON c.session_id = ?1
        AND c.ns = ?2
        AND c.checkpoint_id = chain.checkpoint_id
    ),
    needing AS (
      SELECT session_id, ns, refs AS needs FROM chosen
      UNION ALL
      SELECT session_id, ns, write_refs AS needs FROM chosen
    ),
    """ + _lines("needing")

# ?1 thread -> (namespace, checkpoint id, metadata) of the newest checkpoint of each namespace
HEADS_OF_THREAD: LiteralString = """
    SELECT ns, max(checkpoint_id) AS newest, metadata
    FROM __agents_graph_checkpoints
    WHERE session_id = ?1
      AND body IS NOT NULL
    GROUP BY ns
"""
