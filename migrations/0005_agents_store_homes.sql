-- Version 5: the directory of sessions that live in Durable Objects (homes). Empty if all sessions live in this database.

INSERT INTO __agents_schema (version, name) VALUES (5, '0005_agents_store_homes.sql');

INSERT OR IGNORE INTO d1_migrations (name) VALUES ('0005_agents_store_homes.sql');

-- A session at some moment. Its home writes the row, and of two writes the one with the higher edition stays.
-- place: 1024 times the time of creation, and a number among the sessions of that millisecond: the newest first.
-- deleted: 1 for a deleted session; such a row is deleted after a day.
CREATE TABLE __agents_directory (
  session_id TEXT PRIMARY KEY,
  home TEXT NOT NULL,
  edition INTEGER NOT NULL,
  deleted INTEGER NOT NULL,
  version INTEGER NOT NULL,
  agent_type TEXT NOT NULL,
  status TEXT NOT NULL,
  step_count INTEGER NOT NULL,
  message_count INTEGER NOT NULL,
  parent_session_id TEXT,
  root_session_id TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER,
  turn_since INTEGER,
  place INTEGER NOT NULL
) WITHOUT ROWID;

-- list_sessions: WHERE place < ? ORDER BY place DESC. Written once in a session's life.
CREATE INDEX idx___agents_directory_place ON __agents_directory (place);

-- The children of a session: WHERE parent_session_id = ?. Partial: sessions without a parent cost nothing.
CREATE INDEX idx___agents_directory_parent ON __agents_directory (parent_session_id) WHERE parent_session_id IS NOT NULL;

-- cleanup_expired_sessions: WHERE expires_at <= ?. Partial: sessions without an expiry cost nothing.
CREATE INDEX idx___agents_directory_expires_at ON __agents_directory (expires_at) WHERE expires_at IS NOT NULL;

-- sweep_turns: WHERE turn_since IS NOT NULL. Partial: sessions without an open turn and without unconfirmed closing chunks cost nothing.
CREATE INDEX idx___agents_directory_turns ON __agents_directory (turn_since) WHERE turn_since IS NOT NULL;

-- The deletion of rows of deleted sessions: WHERE deleted = 1 AND updated_at < ?.
CREATE INDEX idx___agents_directory_deleted ON __agents_directory (updated_at) WHERE deleted = 1;
