-- Version 2: versions, messages, checkpoints, staged changes, runs, references to sub-sessions, fencing.
--
-- The file begins with a claim of its version. The second caller (another isolate, a repeated `wrangler d1 execute --file`) fails at
-- the claim, and the transaction changes nothing. A statement ends with a semicolon at the end of a line before an empty line.
--
-- `wrangler d1 export` writes tables with their rows first, then indexes, triggers and views. No table has a foreign key, because the unique
-- index that it needs would not exist yet. A trigger deletes the rows of a session. No column holds a raw line break or a NUL,
-- because the export changes them: tabs join messages, and state/stored_text.py encodes free texts.

CREATE TABLE IF NOT EXISTS __agents_schema (
  version INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_at INTEGER NOT NULL DEFAULT (unixepoch() * 1000)
);

INSERT INTO __agents_schema (version, name) VALUES (2, '0002_agents_store_sessions.sql');

-- wrangler keeps the names of applied files here; the definition is wrangler's own.
CREATE TABLE IF NOT EXISTS d1_migrations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT UNIQUE,
  applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
);

-- Each file from version 2 on records its own name, so that `wrangler d1 migrations apply` after `wrangler d1 execute --file` has
-- nothing to do. Under `apply`, wrangler records the name again at the end. A trigger ignores the second record of these names.
-- 0001_init.sql does not record its name, because your own first migration may have the same name. It can be run again at any time.
CREATE TRIGGER IF NOT EXISTS __agents_recorded_once
BEFORE INSERT ON d1_migrations
WHEN NEW.name GLOB '[0-9][0-9][0-9][0-9]_agents_store_*.sql'
  AND EXISTS (SELECT 1 FROM d1_migrations WHERE name = NEW.name)
BEGIN
  SELECT RAISE(IGNORE);
END;

INSERT OR IGNORE INTO d1_migrations (name) VALUES ('0002_agents_store_sessions.sql');

-- Rises with every write of the state or of its messages. Sessions of version 1 count as saved once.
ALTER TABLE __agents_states ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

-- The session's number: the upper part of the integer keys below. A save never changes it.
ALTER TABLE __agents_states ADD COLUMN session_no INTEGER;

ALTER TABLE __agents_states ADD COLUMN message_count INTEGER NOT NULL DEFAULT 0;

-- A random number, drawn when the session is created and whenever stored messages are dropped. It shows whether a list of messages that
-- was loaded earlier still fits the stored messages. 0: this package never saved the session.
ALTER TABLE __agents_states ADD COLUMN history_epoch INTEGER NOT NULL DEFAULT 0;

ALTER TABLE __agents_states ADD COLUMN checkpoint_count INTEGER NOT NULL DEFAULT 0;

ALTER TABLE __agents_states ADD COLUMN root_session_id TEXT;

ALTER TABLE __agents_states ADD COLUMN resume_count INTEGER NOT NULL DEFAULT 0;

ALTER TABLE __agents_states ADD COLUMN expires_at INTEGER;

-- The rarer fields of a state and the fields that this version does not know, as one JSON object.
ALTER TABLE __agents_states ADD COLUMN details TEXT NOT NULL DEFAULT '{}';

-- The last 32 writes with their results: [commit id, request, version, messages before, messages after, checkpoints, time,
-- history epoch, result]. A request is the operation's name, '#' and a digest of its arguments.
-- A write that is repeated after a lost reply is answered from here. The column is in the state row, because every write changes that row.
ALTER TABLE __agents_states ADD COLUMN commits TEXT NOT NULL DEFAULT '[]';

-- How many changes were ever staged. Each change gets a new number as its place.
ALTER TABLE __agents_states ADD COLUMN staged_count INTEGER NOT NULL DEFAULT 0;

-- The turn of the latest run, and the number of open runs. Statements look for an open run only if there is one.
ALTER TABLE __agents_states ADD COLUMN run_count INTEGER NOT NULL DEFAULT 0;

ALTER TABLE __agents_states ADD COLUMN open_run_count INTEGER NOT NULL DEFAULT 0;

UPDATE __agents_states SET session_no = rowid;

-- Creating a session: SELECT max(session_no). A save never changes it.
CREATE UNIQUE INDEX idx___agents_states_session_no ON __agents_states (session_no);

-- The tree of a session: WHERE parent_session_id = ?. Partial: sessions without a parent cost nothing.
CREATE INDEX idx___agents_states_parent ON __agents_states (parent_session_id) WHERE parent_session_id IS NOT NULL;

-- cleanup_expired_sessions: WHERE expires_at <= ?. It is the only index on a column that a save writes. A session with an expiry costs
-- one more row for each save, a session without an expiry costs nothing.
CREATE INDEX idx___agents_states_expires_at ON __agents_states (expires_at) WHERE expires_at IS NOT NULL;

-- Deleting a session: does another session use its stream? Partial: a session that uses the stream of its own name costs nothing.
CREATE INDEX idx___agents_states_stream ON __agents_states (stream_id) WHERE stream_id <> session_id;

-- Messages in blocks, one row per save: their JSON texts joined by tabs (JSON text of this package holds none).
-- id = session_no * 2^24 + the sequence of the first message. An integer key needs no index beside the table.
CREATE TABLE __agents_message_blocks (
  id INTEGER PRIMARY KEY,
  count INTEGER NOT NULL,
  body TEXT NOT NULL
);

-- One row per message, for people and for other services; reads all of a session. A block that is no JSON, from another program, is
-- shown as one message.
CREATE VIEW __agents_messages AS
SELECT
  s.session_id AS session_id,
  b.id - s.session_no * 16777216 + m.key AS sequence,
  m.value AS message
FROM __agents_states AS s
JOIN __agents_message_blocks AS b
  ON b.id BETWEEN s.session_no * 16777216 AND s.session_no * 16777216 + 16777215
JOIN json_each(
  CASE
    WHEN json_valid('[' || replace(b.body, char(9), ',') || ']') THEN '[' || replace(b.body, char(9), ',') || ']'
    ELSE json_array(b.body)
  END
) AS m;

-- id = session_no * 2^24 + the checkpoint's number (1, 2, 3 …): the newest is the highest, without an index.
-- agent_type, stream_id: the agent and the stream of the session at that time; stream_id is '' if the session had none. NULL:
--   the same value as in the checkpoint of base_id.
-- base_id: the earlier checkpoint with the same custom state. This one's own custom_state is then ''.
-- pruned: 1 for a checkpoint that was pruned and is kept only because later checkpoints name it as their base.
CREATE TABLE __agents_checkpoints (
  id INTEGER PRIMARY KEY,
  timestamp INTEGER NOT NULL,
  run_id TEXT,
  stream_sequence INTEGER,
  version INTEGER NOT NULL,
  message_count INTEGER NOT NULL,
  history_epoch INTEGER NOT NULL,
  status TEXT NOT NULL,
  step_count INTEGER NOT NULL,
  custom_state TEXT NOT NULL,
  output TEXT,
  error TEXT,
  aborted INTEGER NOT NULL,
  abort_reason TEXT,
  resume_count INTEGER NOT NULL,
  expires_at INTEGER,
  details TEXT NOT NULL,
  base_id INTEGER,
  pruned INTEGER NOT NULL DEFAULT 0,
  agent_type TEXT,
  stream_id TEXT
);

-- The number of the next session. It is above the numbers of all sessions, blocks and checkpoints, so that no session gets rows that another
-- left behind.
CREATE VIEW __agents_next_session_no AS
SELECT 1 + max(
  (SELECT coalesce(max(session_no), 0) FROM __agents_states),
  (SELECT coalesce(max(id), 0) / 16777216 FROM __agents_message_blocks),
  (SELECT coalesce(max(id), 0) / 16777216 FROM __agents_checkpoints)
) AS next_no;

-- Rows that other programs insert get a number too.
CREATE TRIGGER __agents_numbered
AFTER INSERT ON __agents_states
WHEN NEW.session_no IS NULL
BEGIN
  UPDATE __agents_states
  SET session_no = (SELECT next_no FROM __agents_next_session_no)
  WHERE session_id = NEW.session_id;
END;

-- The facts that stay under the id of a deleted session.
-- token: the highest fencing token seen; 0 if none was seen.
-- lives: how many sessions of this id were deleted.
-- past: their deletions and their last writes, the newest, at most 32 and 5,000 bytes of each kind, in the form of
--   __agents_states.commits. A write or a deletion that is repeated after the session was deleted, and perhaps made again, is answered
--   from here. Results that hold text are left out.
-- plans: deletions across stores that have begun and are not decided, at most eight: [commit id, request, lives at that time, whether
--   there was a session]. A plan belongs to the session that existed at that time.
-- streams: the streams of the last deleted session that may still exist, as a JSON list: [stream id, and if known the stream's
--   life, last sequence and fencing token at that time]. NULL for none, or for only the stream with the session's own name.
-- children: the children that went with the last session whose state was deleted alone, as a JSON list: [session id, its lives since].
--   A later deletion of everything finds by them the usage and the streams that they left. NULL for none.
CREATE TABLE __agents_fences (
  session_id TEXT PRIMARY KEY,
  token INTEGER NOT NULL,
  lives INTEGER NOT NULL DEFAULT 0,
  past TEXT NOT NULL DEFAULT '[]',
  plans TEXT NOT NULL DEFAULT '[]',
  streams TEXT,
  children TEXT
) WITHOUT ROWID;

-- Changes that wait for their step to be promoted. WITHOUT ROWID: each change writes one row. The rows live shortly, so the overflow pages
-- of large rows do not stay. The key serves the step's promotion, and the session's deletion.
CREATE TABLE __agents_staged_changes (
  session_no INTEGER NOT NULL,
  step_id TEXT NOT NULL,
  tool_call_id TEXT NOT NULL,
  position INTEGER NOT NULL,
  timestamp INTEGER NOT NULL,
  change TEXT NOT NULL,
  PRIMARY KEY (session_no, step_id, tool_call_id)
) WITHOUT ROWID;

-- The key lists the newest first.
CREATE TABLE __agents_runs (
  session_no INTEGER NOT NULL,
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
  session_no INTEGER NOT NULL,
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

-- These rows are deleted with the session's row, also by other programs. delete_session deletes messages and checkpoints itself.
CREATE TRIGGER __agents_session_deleted
AFTER DELETE ON __agents_states
BEGIN
  DELETE FROM __agents_staged_changes WHERE session_no = OLD.session_no;
  DELETE FROM __agents_runs WHERE session_no = OLD.session_no;
  DELETE FROM __agents_sub_sessions WHERE session_no = OLD.session_no;
END;
