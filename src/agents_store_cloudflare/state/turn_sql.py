"""The SQL of turns: a turn enters and commits; another caller closes the turn of a Worker that died."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.state.commit_sql import session_update
from agents_store_cloudflare.state.session_sql import UPDATE_STATE

__all__ = [
    "CLOSE_STATE",
    "COMMIT_STATE",
    "CREATE_SESSION",
    "ENTER_STATE",
    "INSERT_TURN_RUN",
    "INTERRUPT_RUN",
    "INTERRUPT_STATE",
    "LIST_DUE",
    "RENAME_ATTEMPT",
    "SELECT_TURN",
    "SELECT_TURN_RUN",
    "SETTLE_CLOSINGS",
    "TURN_GATE",
    "TURN_IS_OPEN",
    "UPDATE_TURN_RUN",
]

# ?1 session id, ?2 turn id, ?3 the turn number of the earlier attempt that the caller knows, or 0, ?4 agent type, ?5 the most
# closing chunks that may wait for their streams: aborts the batch, with the live facts, unless the turn may enter. Primary key;
# index of run ids.
TURN_GATE: LiteralString = """
    WITH live AS (
      SELECT
        s.agent_type, s.version, s.owed_closings, s.open_turn,
        r.turn, r.status, r.start_sequence, r.end_sequence, r.token, r.output, r.error
      FROM __agents_states AS s
      LEFT JOIN __agents_runs AS r ON r.session_no = s.session_no AND r.run_id = ?2
      WHERE s.session_id = ?1
    ),
    judged AS (
      SELECT
        *,
        CASE
          WHEN agent_type <> ?4 THEN 'agent_type'
          WHEN coalesce(turn, 0) <> ?3 THEN 'turn'
          WHEN json_array_length(owed_closings) + (open_turn IS NOT NULL) > ?5 THEN 'owing'
        END AS fault
      FROM live
    )
    SELECT
      CASE WHEN fault IS NOT NULL THEN json_extract('{}', 'agents-store ' || json_object(
        'fault', fault,
        'version', version,
        'agent_type', agent_type,
        'turn', turn,
        'status', status,
        'start_sequence', start_sequence,
        'end_sequence', end_sequence,
        'token', token,
        'output', output,
        'error', error
      )) END AS verdict
    FROM judged
"""

# ?1 session id, ?2 fencing token: aborts the batch unless the turn of that token is the open one. Primary key.
TURN_IS_OPEN: LiteralString = """
    SELECT
      CASE WHEN coalesce(open_turn ->> '$.token', 0) <> ?2 THEN json_extract('{}', 'agents-store ' || json_object(
        'fault', 'turn_gone',
        'version', version
      )) END AS verdict
    FROM __agents_states
    WHERE session_id = ?1
"""

# ?1 session id, ?2 now, ?3 agent type, ?4 parent, ?5 epoch of a new history. Changes nothing when the session exists. The next statement
# of the batch makes it version 1.
CREATE_SESSION: LiteralString = """
    INSERT INTO __agents_states (
      session_id, agent_type, parent_session_id, root_session_id, created_at, updated_at, version, session_no, history_epoch
    )
    SELECT
      ?1, ?3, ?4,
      coalesce((SELECT coalesce(p.root_session_id, p.session_id) FROM __agents_states AS p WHERE p.session_id = ?4), ?4),
      ?2, ?2, 0, (SELECT next_no FROM __agents_next_session_no), ?5
    WHERE NOT EXISTS (SELECT 1 FROM __agents_states WHERE session_id = ?1)
"""

# ?1 session id, ?2 now. Ends the run of a turn that is open although another caller has its lock. Primary key.
INTERRUPT_RUN: LiteralString = """
    UPDATE __agents_runs
    SET
      status = 'interrupted',
      completed_at = ?2
    WHERE session_no = (SELECT session_no FROM __agents_states WHERE session_id = ?1)
      AND turn = (SELECT open_turn ->> '$.turn' FROM __agents_states WHERE session_id = ?1)
"""

# ?1 session id, ?2 turn id. Renames the run of an earlier attempt, so that the next attempt can have the turn id. Index of run ids.
RENAME_ATTEMPT: LiteralString = """
    UPDATE __agents_runs
    SET run_id = '__attempt-' || turn || '-' || run_id
    WHERE session_no = (SELECT session_no FROM __agents_states WHERE session_id = ?1)
      AND run_id = ?2
"""

_OWED_AFTER_A_DEATH: LiteralString = """CASE
        WHEN open_turn ->> '$.writer' IS NULL THEN owed_closings
        ELSE json_insert(owed_closings, '$[#]', json_set(open_turn, '$.status', 'interrupted', '$.code', 'interrupted'))
      END"""

# The run that suspended the session, if it is suspended. Primary key; from the newest run backwards.
_SUSPENDED_RUN: LiteralString = """CASE WHEN status = 'suspended' THEN (
          SELECT r.run_id
          FROM __agents_runs AS r
          WHERE r.session_no = __agents_states.session_no
            AND r.status = 'suspended'
          ORDER BY r.turn DESC
          LIMIT 1
        ) END"""

# ?6 new messages, ?7 the turn as a JSON object, ?8 its fencing token. The row adds the facts that only it knows: number, start, position,
# agent, stream, and the run that the turn resumes. A stream with another name is shared with other sessions. The version stays when
# only the run is new.
ENTER_STATE: LiteralString = session_update(
    f"""owed_closings = {_OWED_AFTER_A_DEATH},
      open_turn = json_set(
        ?7, '$.turn', run_count + 1,
        '$.token', CAST(?8 AS INTEGER),
        '$.startedAt', CAST(?2 AS INTEGER),
        '$.agentId', coalesce(?7 ->> '$.agentId', (?7 ->> '$.agentType') || '-' || (run_count + 1)),
        '$.streamId', coalesce(nullif(stream_id, ''), session_id),
        '$.fenced', json(CASE WHEN coalesce(nullif(stream_id, ''), session_id) = session_id THEN 'true' ELSE 'false' END),
        '$.resumes', {_SUSPENDED_RUN},
        '$.from', coalesce((
          SELECT r.end_sequence
          FROM __agents_runs AS r
          WHERE r.session_no = __agents_states.session_no
            AND r.turn = run_count
        ), 0)
      ),
      turn_since = coalesce(turn_since, ?2),
      run_count = run_count + 1,
      open_run_count = open_run_count + 1 - (open_turn IS NOT NULL),
      message_count = message_count + ?6""",
    version="version + (?6 > 0 OR version = 0)",
    messages="message_count + ?6",
)

# ?1 session id, ?2 turn id, ?3 token. Stands after ENTER_STATE, and takes the facts of its open turn.
INSERT_TURN_RUN: LiteralString = """
    INSERT INTO __agents_runs (session_no, turn, run_id, status, step_count, started_at, token, facts)
    SELECT session_no, run_count, ?2, 'running', step_count, open_turn ->> '$.startedAt', ?3, open_turn
    FROM __agents_states
    WHERE session_id = ?1
"""

# ?1 session id, ?2 scope of a budget or NULL -> (open turn, owed closings, unit of the budget), or no row. Primary keys.
SELECT_TURN: LiteralString = """
    SELECT s.open_turn, s.owed_closings, b.unit
    FROM __agents_states AS s
    LEFT JOIN __agents_budgets AS b ON b.scope = ?2
    WHERE s.session_id = ?1
"""

# ?1 session id, ?2 turn id -> (open turn, status, turn number, start sequence, end sequence, output, error) of the turn, or no row.
SELECT_TURN_RUN: LiteralString = """
    SELECT s.open_turn, r.status, r.turn, r.start_sequence, r.end_sequence, r.output, r.error
    FROM __agents_states AS s
    LEFT JOIN __agents_runs AS r ON r.session_no = s.session_no AND r.run_id = ?2
    WHERE s.session_id = ?1
"""

_SINCE: LiteralString = (
    "turn_since = CASE WHEN {open} IS NULL AND {owed} = '[]' THEN NULL ELSE coalesce(turn_since, ?2) END"
)

# The parameters of UPDATE_STATE, then ?23 the open turn or NULL, ?24 the owed closings, ?25 how many runs end.
COMMIT_STATE: LiteralString = UPDATE_STATE.replace(
    "      details = ?22,\n",
    """      details = ?22,
      open_turn = ?23,
      owed_closings = ?24,
      open_run_count = open_run_count - ?25,
      """
    + _SINCE.replace("{open}", "?23").replace("{owed}", "?24")
    + ",\n",
)

# ?6 the closings that streams must still get. The turn ends, and nothing else of the session changes.
CLOSE_STATE: LiteralString = session_update(
    "open_turn = NULL, owed_closings = ?6, open_run_count = open_run_count - 1, "
    + _SINCE.replace("{open}", "NULL").replace("{owed}", "?6"),
    version="version",
)

# Closes the open turn in the same way as the next turn: it becomes a closing that a stream must still get.
INTERRUPT_STATE: LiteralString = session_update(
    f"""owed_closings = {_OWED_AFTER_A_DEATH},
      open_run_count = open_run_count - (open_turn IS NOT NULL),
      open_turn = NULL""",
    version="version",
)

# ?1 session id, ?2 turn number, ?3 status, ?4 when it ended or NULL, ?5 step count, ?6 start sequence, ?7 end sequence, ?8 output,
# ?9 error. Primary key.
UPDATE_TURN_RUN: LiteralString = """
    UPDATE __agents_runs
    SET
      status = ?3,
      completed_at = ?4,
      step_count = coalesce(?5, step_count),
      start_sequence = coalesce(?6, start_sequence),
      end_sequence = coalesce(?7, end_sequence),
      output = ?8,
      error = ?9
    WHERE session_no = (SELECT session_no FROM __agents_states WHERE session_id = ?1)
      AND turn = ?2
"""

# ?1 time and ?2 session number of the last row of the page before, ?3 most rows
# -> (session id, session number, since, open turn, owed closings), oldest first. Index of turns.
LIST_DUE: LiteralString = """
    SELECT s.session_id, s.session_no, s.turn_since, s.open_turn, s.owed_closings
    FROM __agents_states AS s INDEXED BY idx___agents_states_turns
    WHERE s.turn_since IS NOT NULL
      AND s.turn_since >= ?1
      AND (s.turn_since > ?1 OR s.session_no > ?2)
    ORDER BY s.turn_since, s.session_no
    LIMIT ?3
"""

# ?1 session id, ?2 the owed closings, which their streams have. Changes nothing when the row has other closings by now. Primary
# key.
SETTLE_CLOSINGS: LiteralString = """
    UPDATE __agents_states
    SET
      owed_closings = '[]',
      turn_since = CASE WHEN open_turn IS NULL THEN NULL ELSE turn_since END
    WHERE session_id = ?1
      AND owed_closings = ?2
"""
