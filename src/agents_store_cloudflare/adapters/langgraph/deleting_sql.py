"""The SQL that deletes and copies checkpoints and lines."""

from __future__ import annotations

from typing import LiteralString

__all__ = [
    "COPY_CHECKPOINTS",
    "COPY_LINES",
    "DELETE_CHECKPOINTS",
    "DELETE_LINES",
    "DELETE_RUNS",
    "FENCE_OF_THREADS",
    "FORGET_LINES",
    "GUARD_COPY",
    "PRUNE",
    "THREADS_OF_RUNS",
]

# ?1 thread
DELETE_CHECKPOINTS: LiteralString = "DELETE FROM __agents_graph_checkpoints WHERE session_id = ?1"
DELETE_LINES: LiteralString = "DELETE FROM __agents_graph_lines WHERE session_id = ?1"

# ?1 thread, ?2 thread of the copy: aborts the batch when both have added to one log since it was copied. The copy cannot hold both.
# A row of a log only grows at its end, so of two equal rows one is the beginning of the other. Primary keys.
GUARD_COPY: LiteralString = """
    SELECT json_extract('{}', 'agents-store ' || json_object('fault', 'parted')) AS verdict
    FROM __agents_graph_lines AS mine
    JOIN __agents_graph_lines AS theirs
      ON theirs.session_id = ?2
      AND theirs.ns = mine.ns
      AND theirs.log = mine.log
      AND theirs.start < mine.start + mine.count
      AND theirs.start + theirs.count > mine.start
    WHERE mine.session_id = ?1
      AND NOT (
        theirs.start = mine.start
        AND (
          substr(theirs.body || char(9), 1, length(mine.body) + 1) = mine.body || char(9)
          OR substr(mine.body || char(9), 1, length(theirs.body) + 1) = theirs.body || char(9)
        )
      )
"""

# ?1 thread, ?2 thread of the copy. A checkpoint that the copy has already stays, because others may have continued it since: a second
# run changes nothing. A row that has only writes gets its checkpoint.
COPY_CHECKPOINTS: LiteralString = """
    INSERT INTO __agents_graph_checkpoints
      (session_id, ns, checkpoint_id, parent_id, body, refs, metadata, writes, write_refs)
    SELECT ?2, ns, checkpoint_id, parent_id, body, refs, metadata, writes, write_refs
    FROM __agents_graph_checkpoints
    WHERE session_id = ?1
    ON CONFLICT (session_id, ns, checkpoint_id) DO UPDATE SET
      parent_id = excluded.parent_id,
      body = excluded.body,
      refs = excluded.refs,
      metadata = excluded.metadata,
      writes = excluded.writes,
      write_refs = excluded.write_refs
    WHERE body IS NULL
      AND excluded.body IS NOT NULL
"""
COPY_LINES: LiteralString = """
    INSERT INTO __agents_graph_lines (session_id, ns, log, start, count, body)
    SELECT ?2, ns, log, start, count, body
    FROM __agents_graph_lines
    WHERE session_id = ?1
    ON CONFLICT (session_id, ns, log, start) DO UPDATE SET
      count = excluded.count,
      body = excluded.body
    WHERE excluded.count > count
"""

_OF_RUNS: LiteralString = "metadata ->> '$.run_id' IN (SELECT value FROM json_each(?1))"

# ?1 JSON list of threads, ?2 fencing token: aborts the batch when one of these threads has seen a higher token. Primary keys.
FENCE_OF_THREADS: LiteralString = """
    SELECT
      CASE WHEN token > ?2 THEN json_extract('{}', 'agents-store ' || json_object(
        'fault', 'fence',
        'token', token
      )) END AS verdict
    FROM __agents_fences
    WHERE session_id IN (SELECT value FROM json_each(?1))
"""

# ?1 JSON list of run ids -> (thread) of each run. Reads all checkpoints.
THREADS_OF_RUNS: LiteralString = f"""
    SELECT DISTINCT session_id
    FROM __agents_graph_checkpoints
    WHERE {_OF_RUNS}
"""

# ?1 JSON list of run ids, ?2 JSON list of threads. Reads the threads.
DELETE_RUNS: LiteralString = f"""
    DELETE FROM __agents_graph_checkpoints
    WHERE session_id IN (SELECT value FROM json_each(?2))
      AND {_OF_RUNS}
"""

# ?1 JSON list of threads. Deletes the lines that no checkpoint of these threads needs. Reads the threads.
FORGET_LINES: LiteralString = """
    DELETE FROM __agents_graph_lines
    WHERE session_id IN (SELECT value FROM json_each(?1))
      AND NOT EXISTS (
        SELECT 1
        FROM __agents_graph_checkpoints AS c
        JOIN json_each(c.refs) AS need
        WHERE c.session_id = __agents_graph_lines.session_id
          AND c.ns = __agents_graph_lines.ns
          AND need.value ->> 0 = __agents_graph_lines.log
          AND need.value ->> 1 < __agents_graph_lines.start + __agents_graph_lines.count
          AND need.value ->> 2 > __agents_graph_lines.start
      )
      AND NOT EXISTS (
        SELECT 1
        FROM __agents_graph_checkpoints AS c
        JOIN json_each(c.write_refs) AS need
        WHERE c.session_id = __agents_graph_lines.session_id
          AND c.ns = __agents_graph_lines.ns
          AND need.value ->> 0 = __agents_graph_lines.log
          AND need.value ->> 1 < __agents_graph_lines.start + __agents_graph_lines.count
          AND need.value ->> 2 > __agents_graph_lines.start
      )
"""


# ?1 thread, ?2 the checkpoints that stay, as [[namespace, id], …]. Checkpoints that are newer than all of these in their namespace
# stay too.
PRUNE: LiteralString = """
    DELETE FROM __agents_graph_checkpoints
    WHERE session_id = ?1
      AND EXISTS (
        SELECT 1
        FROM json_each(?2) AS kept
        WHERE kept.value ->> 0 = ns
          AND kept.value ->> 1 > checkpoint_id
      )
      AND NOT EXISTS (
        SELECT 1
        FROM json_each(?2) AS kept
        WHERE kept.value ->> 0 = ns
          AND kept.value ->> 1 = checkpoint_id
      )
"""
