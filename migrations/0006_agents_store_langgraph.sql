-- Version 6: the checkpoints and items of LangGraph's graphs. Empty, and without cost, until a D1Saver or a D1Store writes.

INSERT INTO __agents_schema (version, name) VALUES (6, '0006_agents_store_langgraph.sql');

INSERT OR IGNORE INTO d1_migrations (name) VALUES ('0006_agents_store_langgraph.sql');

-- One row per checkpoint. session_id is LangGraph's thread id, ns its checkpoint_ns. WITHOUT ROWID: each checkpoint writes one row, and the
-- newest checkpoint of a thread has the last key.
-- body: the checkpoint as JSON; NULL while only writes have come for it. Version 1 of its form begins with 1.
-- refs: the lines of logs that the body needs, as [[log, first, end], …].
-- metadata: as JSON.
-- writes: the writes of this checkpoint's tasks, as a JSON object by task; NULL for none.
-- write_refs: the lines that the writes need.
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

-- Logs: lines joined by tabs, to which lines are only added. A growing list is a log; longer values are lines of another log. Small appends
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

-- LangGraph's long-term memory. namespace: its labels, each with a unit separator behind it, so that a prefix is a range.
-- value: a JSON object; NULL for a deleted item, whose row stays for a while. expires_at: when the row is of no use any more
-- (milliseconds since 1970), NULL for never; ttl_ms: how long each read keeps it. writes: the names of the last writes of this item, the newest
-- first, so that a repeated one is recognised.
CREATE TABLE __agents_graph_items (
  namespace TEXT NOT NULL,
  key TEXT NOT NULL,
  value TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER,
  ttl_ms INTEGER,
  writes TEXT NOT NULL,
  PRIMARY KEY (namespace, key)
) WITHOUT ROWID;

-- Only items with a time to live, and deleted ones, pay for it.
CREATE INDEX idx___agents_graph_items_expiry ON __agents_graph_items (expires_at)
WHERE expires_at IS NOT NULL;
