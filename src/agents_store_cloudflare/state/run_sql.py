"""The SQL of runs.

The state row counts all runs and the open runs. So a statement looks for an open run only if there is one.
"""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.state.commit_sql import session_update

__all__ = [
    "CURRENT_RUN",
    "INSERT_RUN",
    "LIST_RUNS",
    "NUMBERED_RUN",
    "REMEMBER_RUN",
    "REMEMBER_RUN_UPDATE",
    "RUN_EXISTS",
    "RUN_GATE",
    "SELECT_RUN",
    "UPDATE_RUN",
]

# The latest run of the state row `s` that has not ended -> (run id) or NULL
_CURRENT: LiteralString = """CASE WHEN s.open_run_count > 0 THEN (
          SELECT r.run_id
          FROM __agents_runs AS r
          WHERE r.session_no = s.session_no
            AND r.completed_at IS NULL
          ORDER BY r.turn DESC
          LIMIT 1
        ) END"""

# ?1 session id, ?2 run id, ?3 JSON list of the expected statuses, each in a list, or NULL, ?4 1 to compare the current run, ?5 the expected
# current run or NULL for none: aborts the batch unless the run may start. Primary key; index of run ids.
RUN_GATE: LiteralString = f"""
    WITH live AS (
      SELECT
        s.status,
        s.version,
        {_CURRENT} AS current_run_id,
        EXISTS (SELECT 1 FROM __agents_runs AS r WHERE r.session_no = s.session_no AND r.run_id = ?2) AS used
      FROM __agents_states AS s
      WHERE s.session_id = ?1
    ),
    judged AS (
      SELECT
        *,
        CASE
          WHEN used THEN 'run_id'
          WHEN ?3 IS NOT NULL AND json_array(status) NOT IN (SELECT value FROM json_each(?3)) THEN 'run_status'
          WHEN ?4 = 1 AND current_run_id IS NOT ?5 THEN 'current_run'
        END AS fault
      FROM live
    )
    SELECT
      CASE WHEN fault IS NOT NULL THEN json_extract('{{}}', 'agents-store ' || json_object(
        'fault', fault,
        'version', version,
        'status', status,
        'current_run_id', current_run_id
      )) END AS verdict
    FROM judged
"""

# The version stays, because a run does not change the session. The result is the run's turn.
REMEMBER_RUN: LiteralString = session_update(
    "run_count = run_count + 1, open_run_count = open_run_count + 1",
    version="version",
    result="coalesce(json(?5), run_count + 1)",
)

# ?1 session id, ?2 run id, ?3 status, ?4 step count, ?5 start sequence, ?6 now
INSERT_RUN: LiteralString = """
    INSERT INTO __agents_runs (session_no, turn, run_id, status, step_count, start_sequence, started_at)
    SELECT session_no, run_count, ?2, ?3, ?4, ?5, ?6
    FROM __agents_states
    WHERE session_id = ?1
"""

# ?1 session id, ?2 run id: aborts the batch unless the session has that run. Index of run ids.
RUN_EXISTS: LiteralString = """
    SELECT
      CASE WHEN r.turn IS NULL THEN json_extract('{}', 'agents-store ' || json_object('fault', 'run')) END AS verdict
    FROM __agents_states AS s
    LEFT JOIN __agents_runs AS r ON r.session_no = s.session_no AND r.run_id = ?2
    WHERE s.session_id = ?1
"""

# ?6 run id, ?7 1 when the run ends, 0 when it goes on, NULL when neither changes. The version stays.
REMEMBER_RUN_UPDATE: LiteralString = session_update(
    """open_run_count = open_run_count + CASE WHEN ?7 IS NULL THEN 0 ELSE (
        SELECT (1 - ?7) - (r.completed_at IS NULL)
        FROM __agents_runs AS r
        WHERE r.session_no = __agents_states.session_no
          AND r.run_id = ?6
      ) END""",
    version="version",
)

# ?1 session id, ?2 run id, ?3 status or NULL to leave it, ?4 when it ended, or NULL when it goes on, ?5 step count or NULL to leave it,
# ?6 1 to set the error, ?7 the error
UPDATE_RUN: LiteralString = """
    UPDATE __agents_runs
    SET
      completed_at = CASE WHEN ?3 IS NULL THEN completed_at ELSE ?4 END,
      status = coalesce(?3, status),
      step_count = coalesce(?5, step_count),
      error = CASE WHEN ?6 = 1 THEN ?7 ELSE error END
    WHERE session_no = (SELECT session_no FROM __agents_states WHERE session_id = ?1)
      AND run_id = ?2
"""

_COLUMNS: LiteralString = """r.run_id, r.turn, r.status, r.step_count, r.start_sequence, r.started_at, r.completed_at, r.error,
      r.end_sequence, r.output, CASE WHEN json_valid(r.facts) THEN r.facts ->> '$.resumes' END"""

# ?1 session id, ?2 run id -> (run id, turn, status, step count, start sequence, started at, completed at, error, end sequence,
# output, the run that it resumes), or no row
SELECT_RUN: LiteralString = f"""
    SELECT {_COLUMNS}
    FROM __agents_states AS s
    JOIN __agents_runs AS r ON r.session_no = s.session_no
    WHERE s.session_id = ?1
      AND r.run_id = ?2
"""

# ?1 session id, ?2 turn -> the same
NUMBERED_RUN: LiteralString = f"""
    SELECT {_COLUMNS}
    FROM __agents_states AS s
    JOIN __agents_runs AS r ON r.session_no = s.session_no
    WHERE s.session_id = ?1
      AND r.turn = ?2
"""

# ?1 session id -> the same, of the latest run that has not ended. Reads from the newest run backwards, and only when a run is open.
CURRENT_RUN: LiteralString = f"""
    SELECT {_COLUMNS}
    FROM __agents_states AS s
    JOIN __agents_runs AS r ON r.session_no = s.session_no
    WHERE s.session_id = ?1
      AND s.open_run_count > 0
      AND r.completed_at IS NULL
    ORDER BY r.turn DESC
    LIMIT 1
"""

# ?1 session id, ?2 a turn: lower ones are wanted, ?3 most rows -> the same, newest first. Primary key.
LIST_RUNS: LiteralString = f"""
    SELECT {_COLUMNS}
    FROM __agents_states AS s
    JOIN __agents_runs AS r ON r.session_no = s.session_no
    WHERE s.session_id = ?1
      AND r.turn < ?2
    ORDER BY r.turn DESC
    LIMIT ?3
"""
