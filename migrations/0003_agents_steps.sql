-- Version 3: staged changes, runs, references to sub-sessions; checkpoints that share an unchanged custom state.

INSERT INTO __agents_schema (version, name) VALUES (3, '0003_agents_steps.sql');

INSERT OR IGNORE INTO d1_migrations (name) VALUES ('0003_agents_steps.sql');

-- How many changes were ever staged: gives each its place, never the same twice. In the state row, which staging writes anyway.
ALTER TABLE __agents_states ADD COLUMN staged_count INTEGER NOT NULL DEFAULT 0;

-- The turn of the latest run, and how many have not ended: with none open, nobody looks for one.
ALTER TABLE __agents_states ADD COLUMN run_count INTEGER NOT NULL DEFAULT 0;

ALTER TABLE __agents_states ADD COLUMN open_run_count INTEGER NOT NULL DEFAULT 0;

-- A checkpoint whose custom state is that of an earlier one names that row here, and its own custom_state is ''.
ALTER TABLE __agents_checkpoints ADD COLUMN base_id INTEGER;

-- 1: pruned, and kept only because later checkpoints name it as their base.
ALTER TABLE __agents_checkpoints ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;

-- Changes that wait for their step to be promoted. WITHOUT ROWID: one row written for each, and short-lived, so that the pages
-- which large rows spill to do not stay. The key serves the step's promotion, and the session's deletion.
CREATE TABLE __agents_staged_changes (
  session_no INTEGER NOT NULL REFERENCES __agents_states (session_no) ON DELETE CASCADE,
  step_id TEXT NOT NULL,
  tool_call_id TEXT NOT NULL,
  position INTEGER NOT NULL,
  timestamp INTEGER NOT NULL,
  change TEXT NOT NULL,
  PRIMARY KEY (session_no, step_id, tool_call_id)
) WITHOUT ROWID;

-- The key lists the newest first.
CREATE TABLE __agents_runs (
  session_no INTEGER NOT NULL REFERENCES __agents_states (session_no) ON DELETE CASCADE,
  turn INTEGER NOT NULL,
  run_id TEXT NOT NULL,
  status TEXT NOT NULL,
  step_count INTEGER NOT NULL,
  start_sequence INTEGER,
  started_at INTEGER NOT NULL,
  completed_at INTEGER,
  error TEXT,
  PRIMARY KEY (session_no, turn)
) WITHOUT ROWID;

-- update_run, and the refusal of a run id that is in use: WHERE session_no = ? AND run_id = ?. Written once, by start_run.
CREATE UNIQUE INDEX idx___agents_runs_run_id ON __agents_runs (session_no, run_id);

CREATE TABLE __agents_sub_sessions (
  session_no INTEGER NOT NULL REFERENCES __agents_states (session_no) ON DELETE CASCADE,
  sub_session_id TEXT NOT NULL,
  position INTEGER NOT NULL,
  agent_type TEXT NOT NULL,
  parent_tool_call_id TEXT,
  status TEXT NOT NULL,
  location TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  completed_at INTEGER,
  output TEXT,
  error TEXT,
  PRIMARY KEY (session_no, sub_session_id)
) WITHOUT ROWID;
