-- Version 5: a checkpoint keeps the agent and the stream of its session as they stood: both may change in a session's life.

INSERT INTO __agents_schema (version, name) VALUES (5, '0005_agents_checkpoint_owners.sql');

INSERT OR IGNORE INTO d1_migrations (name) VALUES ('0005_agents_checkpoint_owners.sql');

-- NULL: those of the checkpoint that this one shares with (base_id); in checkpoints of earlier versions, those that the session has now.
ALTER TABLE __agents_checkpoints ADD COLUMN agent_type TEXT;

-- '' where the session had none.
ALTER TABLE __agents_checkpoints ADD COLUMN stream_id TEXT;
