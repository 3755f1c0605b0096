"""The SQL that puts checkpoints and lines."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.adapters.langgraph.reading_sql import SELECT_HEAD

__all__ = [
    "APPEND_LINES",
    "CHECK_HEAD",
    "DROP_LOG",
    "GUARD_PUT",
    "MERGE_WRITES",
    "PUT_CHECKPOINT",
    "PUT_LINES",
    "SETTLE_PARENT",
]

# ?1 thread, ?2 namespace, ?3 checkpoint id, ?4 its body, ?5 JSON list of the checkpoints that may be the newest or NULL for no
# condition, ?6 the ends of the logs that grow, as [[log, end], …], ?7 the needed lines, as [[log, first, end], …], ?8 the beginning of the
# body, with its numbers: aborts the batch with `done` when exactly this checkpoint is stored, or when others have put a checkpoint after
# it and made its values refer to theirs; with `head` or `lines` when a condition does not hold. Primary keys.
GUARD_PUT: LiteralString = """
    WITH judged AS (
      SELECT
        coalesce((
          SELECT checkpoint_id
          FROM __agents_graph_checkpoints
          WHERE session_id = ?1
            AND ns = ?2
            AND body IS NOT NULL
          ORDER BY checkpoint_id DESC
          LIMIT 1
        ), '') AS head,
        (
          SELECT body
          FROM __agents_graph_checkpoints
          WHERE session_id = ?1
            AND ns = ?2
            AND checkpoint_id = ?3
        ) AS stored,
        EXISTS (
          SELECT 1
          FROM json_each(?6) AS grown
          WHERE grown.value ->> 1 <> coalesce((
            SELECT l.start + l.count
            FROM __agents_graph_lines AS l
            WHERE l.session_id = ?1
              AND l.ns = ?2
              AND l.log = grown.value ->> 0
            ORDER BY l.start DESC
            LIMIT 1
          ), 0)
        ) OR EXISTS (
          SELECT 1
          FROM json_each(?7) AS need
          JOIN (SELECT 1 AS at UNION ALL SELECT 2 AS at) AS edge
          WHERE NOT EXISTS (
            SELECT 1
            FROM __agents_graph_lines AS l
            WHERE l.session_id = ?1
              AND l.ns = ?2
              AND l.log = need.value ->> 0
              AND l.start = (
                SELECT max(x.start)
                FROM __agents_graph_lines AS x
                WHERE x.session_id = ?1
                  AND x.ns = ?2
                  AND x.log = need.value ->> 0
                  AND x.start <= CASE edge.at WHEN 1 THEN need.value ->> 1 ELSE need.value ->> 2 - 1 END
              )
              AND l.start + l.count > CASE edge.at WHEN 1 THEN need.value ->> 1 ELSE need.value ->> 2 - 1 END
          )
        ) AS is_moved
    ),
    named AS (
      SELECT
        head,
        CASE
          WHEN stored = ?4 THEN 'done'
          WHEN ?5 IS NOT NULL AND head NOT IN (SELECT value FROM json_each(?5))
            THEN CASE WHEN substr(stored, 1, length(?8)) = ?8 THEN 'done' ELSE 'head' END
          WHEN is_moved THEN 'lines'
        END AS fault
      FROM judged
    )
    SELECT
      CASE WHEN fault IS NOT NULL THEN json_extract('{}', 'agents-store ' || json_object(
        'fault', fault,
        'head', head
      )) END AS verdict
    FROM named
"""

# ?1 thread, ?2 namespace, ?3 JSON list of the checkpoints that may be the newest, ?4 checkpoint id, ?5 and ?6 its writes, as MERGE_WRITES
# has them: aborts the batch when another checkpoint is the newest, unless these writes are stored already. Primary key.
CHECK_HEAD: LiteralString = f"""
    SELECT json_extract('{{}}', 'agents-store ' || json_object(
      'fault', 'head',
      'head', head
    )) AS verdict
    FROM (SELECT coalesce(({SELECT_HEAD}), '') AS head)
    WHERE head NOT IN (SELECT value FROM json_each(?3))
      AND NOT EXISTS (
        SELECT 1
        FROM __agents_graph_checkpoints
        WHERE session_id = ?1
          AND ns = ?2
          AND checkpoint_id = ?4
          AND json_patch(json_patch(writes, ?5), ?6) = json(writes)
      )
"""

# ?1 thread, ?2 namespace, ?3 checkpoint id, ?4 parent or NULL, ?5 body, ?6 refs, ?7 metadata. Writes that came before the
# checkpoint stay.
PUT_CHECKPOINT: LiteralString = """
    INSERT INTO __agents_graph_checkpoints (session_id, ns, checkpoint_id, parent_id, body, refs, metadata)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (session_id, ns, checkpoint_id) DO UPDATE SET
      parent_id = excluded.parent_id,
      body = excluded.body,
      refs = excluded.refs,
      metadata = excluded.metadata
"""

# ?1 thread, ?2 namespace, ?3 log, ?4 number of the first line, ?5 number of lines, ?6 the lines joined by tabs. Primary key: reads
# the log's last row. If other lines have these numbers already, the body would become NULL, and the batch is refused.
APPEND_LINES: LiteralString = """
    INSERT INTO __agents_graph_lines (session_id, ns, log, start, count, body)
    SELECT
      ?1, ?2, ?3,
      coalesce(
        (
          SELECT last.start
          FROM __agents_graph_lines AS last
          WHERE last.session_id = ?1
            AND last.ns = ?2
            AND last.log = ?3
            AND last.start = (
              SELECT max(x.start)
              FROM __agents_graph_lines AS x
              WHERE x.session_id = ?1
                AND x.ns = ?2
                AND x.log = ?3
            )
            AND last.start + last.count = ?4
            AND length(CAST(last.body AS BLOB)) + length(CAST(?6 AS BLOB)) < 16000
        ),
        CAST(?4 AS INTEGER)
      ),
      ?5, ?6
    WHERE true
    ON CONFLICT (session_id, ns, log, start) DO UPDATE SET
      count = count + excluded.count,
      body = CASE WHEN excluded.start < ?4 THEN body || char(9) || excluded.body END
"""

# The same parameters, for a log that only this call knows. A second run changes nothing.
PUT_LINES: LiteralString = """
    INSERT INTO __agents_graph_lines (session_id, ns, log, start, count, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (session_id, ns, log, start) DO UPDATE SET
      count = excluded.count,
      body = excluded.body
"""

# Merges writes into a row. A stored write of a task stays, unless ?5 replaces it.
_MERGED: LiteralString = "json_patch(json_patch(?4, coalesce(writes, '{}')), ?5)"

# ?1 thread, ?2 namespace, ?3 checkpoint id, ?4 writes that leave a stored write unchanged, ?5 writes that replace a stored write,
# ?6 the lines that they need -> (writes). The checkpoint itself may be stored later. Primary key.
MERGE_WRITES: LiteralString = f"""
    INSERT INTO __agents_graph_checkpoints (session_id, ns, checkpoint_id, writes, write_refs)
    VALUES (?1, ?2, ?3, json_patch(?4, ?5), ?6)
    ON CONFLICT (session_id, ns, checkpoint_id) DO UPDATE SET
      writes = {_MERGED},
      write_refs = (
        SELECT json_group_array(json(need.value))
        FROM (SELECT value FROM json_each(write_refs) UNION SELECT value FROM json_each(?6)) AS need
      )
    RETURNING writes
"""

# As above. ?7 the known stored writes, ?8 these and the new writes in the form that refers to the child's lines, ?9 the lines that
# ?8 needs; ?10 the known stored body, ?11 the body that refers to the child's lines, ?12 the lines that ?11 needs.
SETTLE_PARENT: LiteralString = f"""
    INSERT INTO __agents_graph_checkpoints (session_id, ns, checkpoint_id, writes, write_refs)
    VALUES (?1, ?2, ?3, ?8, ?9)
    ON CONFLICT (session_id, ns, checkpoint_id) DO UPDATE SET
      write_refs = CASE WHEN writes IS ?7 THEN ?9 ELSE (
        SELECT json_group_array(json(need.value))
        FROM (SELECT value FROM json_each(write_refs) UNION SELECT value FROM json_each(?6)) AS need
      ) END,
      writes = CASE WHEN writes IS ?7 THEN ?8 ELSE {_MERGED} END,
      refs = CASE WHEN body = ?10 THEN ?12 ELSE refs END,
      body = CASE WHEN body = ?10 THEN ?11 ELSE body END
"""

# ?1 thread, ?2 namespace, ?3 log, ?4 checkpoint id, ?5 the checkpoint's writes: drops a log that these writes no longer need.
# Primary keys.
DROP_LOG: LiteralString = """
    DELETE FROM __agents_graph_lines
    WHERE session_id = ?1
      AND ns = ?2
      AND log = ?3
      AND EXISTS (
        SELECT 1
        FROM __agents_graph_checkpoints
        WHERE session_id = ?1
          AND ns = ?2
          AND checkpoint_id = ?4
          AND writes = ?5
      )
"""
