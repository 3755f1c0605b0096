-- Version 6: the checkpoints and items of LangGraph's graphs. Empty, and without cost, until a D1Saver or a D1Store writes.

INSERT INTO __agents_schema (version, name) VALUES (6, '0006_agents_store_langgraph.sql');

INSERT OR IGNORE INTO d1_migrations (name) VALUES ('0006_agents_store_langgraph.sql');

-- One row per checkpoint. session_id is LangGraph's thread id, ns its checkpoint_ns. WITHOUT ROWID: one row written for each, and the
-- newest of a thread is the last of its keys.
-- body: the checkpoint as JSON; NULL while only writes have come for it. Version 1 of its form begins with 1.
-- refs: which lines of which logs the body needs, as [[log, first, end], …].
-- metadata: as JSON.
-- writes: what the tasks of this checkpoint have written, as a JSON object by task; NULL for none.
-- write_refs: which lines they need.
CREATE TABLE __agents_graph_checkpoints (
  session_id TEXT NOT NULL,
  ns TEXT NOT NULL,
  checkpoint_id TEXT NOT NULL,
  parent_id TEXT,
  body TEXT,
  refs TEXT NOT NULL DEFAULT '[]',
  metadata TEXT NOT NULL DEFAULT '{}',
  writes TEXT,
  write_refs TEXT NOT NULL DEFAULT '[]',
  PRIMARY KEY (session_id, ns, checkpoint_id)
) WITHOUT ROWID;

-- Logs: lines that are only ever added, joined by tabs. A growing list is a log; longer values are lines of another one. Small appends
-- go into the log's last row.
CREATE TABLE __agents_graph_lines (
  session_id TEXT NOT NULL,
  ns TEXT NOT NULL,
  log TEXT NOT NULL,
  start INTEGER NOT NULL,
  count INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (session_id, ns, log, start)
) WITHOUT ROWID;

-- LangGraph's long-term memory. namespace: its parts, joined by the unit separator, with one at the end, so that a prefix is a range.
-- expires_at: when an item is gone (milliseconds), NULL for never; ttl_ms: how long each refresh keeps it.
CREATE TABLE __agents_graph_items (
  namespace TEXT NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER,
  ttl_ms INTEGER,
  PRIMARY KEY (namespace, key)
) WITHOUT ROWID;
