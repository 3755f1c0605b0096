-- Version 4: turns.

INSERT INTO __agents_schema (version, name) VALUES (4, '0004_agents_store_turns.sql');

INSERT OR IGNORE INTO d1_migrations (name) VALUES ('0004_agents_store_turns.sql');

-- The turn that holds the session, as a JSON object; NULL between turns. The column is in the state row, because every turn writes that row.
ALTER TABLE __agents_states ADD COLUMN open_turn TEXT;

-- The closing chunks that streams may still miss, oldest first, as a JSON list.
ALTER TABLE __agents_states ADD COLUMN owed_closings TEXT NOT NULL DEFAULT '[]';

-- The time since which a turn is open or a closing chunk is not confirmed; NULL if neither is so.
ALTER TABLE __agents_states ADD COLUMN turn_since INTEGER;

-- sweep_turns: WHERE turn_since IS NOT NULL. The first turn after a sweep writes the index, and later turns do not.
CREATE INDEX idx___agents_states_turns ON __agents_states (turn_since) WHERE turn_since IS NOT NULL;

-- The fencing token of the run's turn; NULL for a run that start_run began.
ALTER TABLE __agents_runs ADD COLUMN token INTEGER;

ALTER TABLE __agents_runs ADD COLUMN end_sequence INTEGER;

ALTER TABLE __agents_runs ADD COLUMN output TEXT;

-- The other facts of a turn's run, as one JSON object: the agent, the run that it resumes, its reservation.
ALTER TABLE __agents_runs ADD COLUMN facts TEXT;
