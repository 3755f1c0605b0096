-- Version 1: the two documented tables. Running this file again changes nothing.

CREATE TABLE IF NOT EXISTS __agents_states (
  session_id TEXT PRIMARY KEY,
  agent_type TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'active',
  step_count INTEGER NOT NULL DEFAULT 0,
  custom_state TEXT NOT NULL DEFAULT '{}',
  output TEXT,
  error TEXT,
  stream_id TEXT,
  parent_session_id TEXT,
  aborted INTEGER DEFAULT 0,
  abort_reason TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS __agents_usage (
  id TEXT PRIMARY KEY,
  session_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  step_count INTEGER NOT NULL,
  timestamp INTEGER NOT NULL,
  source_type TEXT NOT NULL,
  source_name TEXT NOT NULL,
  data TEXT NOT NULL,
  created_at INTEGER NOT NULL
);

-- get_entries, get_rollup, delete: WHERE session_id = ?
CREATE INDEX IF NOT EXISTS idx___agents_usage_session_id ON __agents_usage (session_id);

-- people who ask the table by kind
CREATE INDEX IF NOT EXISTS idx___agents_usage_kind ON __agents_usage (kind);

-- delete_old_entries: WHERE timestamp < ?
CREATE INDEX IF NOT EXISTS idx___agents_usage_timestamp ON __agents_usage (timestamp);
