-- Version 8: the tasks of A2A servers. Empty, and without cost, until a D1TaskStore writes.

INSERT INTO __agents_schema (version, name) VALUES (8, '0008_agents_store_a2a.sql');

INSERT OR IGNORE INTO d1_migrations (name) VALUES ('0008_agents_store_a2a.sql');

-- One row per task. session_id is its context id, or its own id if it has no context.
-- version: how many writes there were, in twelve digits, a full stop, and the name of the last write.
-- writes: the names of the 16 last writes, the newest first, so that a repeated one is recognised.
-- state: the number of the task's state in the protocol.
-- updated_at: the time of its status since the year 1, in nanoseconds, as digits that sort as text; '' for none.
-- body: the task as JSON.
CREATE TABLE __agents_a2a_tasks (
  session_id TEXT NOT NULL,
  owner TEXT NOT NULL,
  task_id TEXT NOT NULL,
  version TEXT NOT NULL,
  writes TEXT NOT NULL,
  state INTEGER NOT NULL,
  updated_at TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (session_id, owner, task_id)
) WITHOUT ROWID;

-- A task is asked for without its context.
CREATE UNIQUE INDEX idx___agents_a2a_tasks_owner ON __agents_a2a_tasks (owner, task_id);

-- Lists of an owner's tasks, the newest first.
CREATE INDEX idx___agents_a2a_tasks_updated ON __agents_a2a_tasks (owner, updated_at, task_id, state);
