-- Version 2: versions, messages, checkpoints, fencing.
--
-- Begins by claiming its version: whoever comes second (another isolate, a repeated `wrangler d1 execute --file`) fails at the
-- claim, and the transaction leaves nothing. Statements end with a semicolon at the end of a line before an empty line.

CREATE TABLE IF NOT EXISTS __agents_schema (
  version INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_at INTEGER NOT NULL DEFAULT (unixepoch() * 1000)
);

INSERT INTO __agents_schema (version, name) VALUES (2, '0002_agents_sessions.sql');

-- wrangler keeps the names of applied files here; the definition is wrangler's own.
CREATE TABLE IF NOT EXISTS d1_migrations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT UNIQUE,
  applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
);

-- Each of these files records its own name, so that `wrangler d1 migrations apply` after `wrangler d1 execute --file` has nothing
-- to do. Under `apply`, wrangler records the name once more at the end: for these files alone, that second time is ignored.
CREATE TRIGGER IF NOT EXISTS __agents_recorded_once
BEFORE INSERT ON d1_migrations
WHEN NEW.name GLOB '[0-9][0-9][0-9][0-9]_agents_*.sql'
  AND EXISTS (SELECT 1 FROM d1_migrations WHERE name = NEW.name)
BEGIN
  SELECT RAISE(IGNORE);
END;

INSERT OR IGNORE INTO d1_migrations (name) VALUES ('0001_init.sql'), ('0002_agents_sessions.sql');

-- Sessions of version 1 count as saved once.
ALTER TABLE __agents_states ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

-- The session's number: the upper part of the integer keys below. A save never changes it.
ALTER TABLE __agents_states ADD COLUMN session_no INTEGER;

ALTER TABLE __agents_states ADD COLUMN message_count INTEGER NOT NULL DEFAULT 0;

-- A random number, drawn when the session is created and whenever stored messages are dropped: a list of messages that was loaded
-- before, or from a session of this id that was deleted, does not meet what is stored now. 0: never saved by this package.
ALTER TABLE __agents_states ADD COLUMN history_epoch INTEGER NOT NULL DEFAULT 0;

ALTER TABLE __agents_states ADD COLUMN checkpoint_count INTEGER NOT NULL DEFAULT 0;

ALTER TABLE __agents_states ADD COLUMN root_session_id TEXT;

ALTER TABLE __agents_states ADD COLUMN resume_count INTEGER NOT NULL DEFAULT 0;

ALTER TABLE __agents_states ADD COLUMN expires_at INTEGER;

-- The rarer fields of a state and those this version does not know, as one JSON object.
ALTER TABLE __agents_states ADD COLUMN details TEXT NOT NULL DEFAULT '{}';

-- The last 32 writes with their results: [commit id, request, version, messages before, messages after, checkpoints, time,
-- history epoch, result]. A request is the operation's name, '#' and a digest of its arguments.
-- A write that is repeated after a lost reply is answered from here. In the state row, which a write touches anyway.
ALTER TABLE __agents_states ADD COLUMN commits TEXT NOT NULL DEFAULT '[]';

UPDATE __agents_states SET session_no = rowid;

-- Creating a session: SELECT max(session_no). A save never changes it.
CREATE UNIQUE INDEX idx___agents_states_session_no ON __agents_states (session_no);

-- The tree of a session: WHERE parent_session_id = ?. Partial: sessions without a parent cost nothing.
CREATE INDEX idx___agents_states_parent ON __agents_states (parent_session_id) WHERE parent_session_id IS NOT NULL;

-- cleanup_expired_sessions: WHERE expires_at <= ?. The one index on a column that a save writes: a session with an expiry costs
-- one more row a save, one without costs nothing.
CREATE INDEX idx___agents_states_expires_at ON __agents_states (expires_at) WHERE expires_at IS NOT NULL;

-- Deleting a session: does another session use its stream? Partial: a session that uses the stream of its own name costs nothing.
CREATE INDEX idx___agents_states_stream ON __agents_states (stream_id) WHERE stream_id <> session_id;

-- Messages in blocks, one row per save: their JSON texts joined by newlines (JSON text holds none).
-- id = session_no * 2^24 + the sequence of the first message. An integer key needs no index beside the table.
CREATE TABLE __agents_message_blocks (
  id INTEGER PRIMARY KEY,
  count INTEGER NOT NULL,
  body TEXT NOT NULL
);

-- One row per message, for people and for other services; reads all of a session.
CREATE VIEW __agents_messages AS
SELECT
  s.session_id AS session_id,
  b.id - s.session_no * 16777216 + m.key AS sequence,
  m.value AS message
FROM __agents_states AS s
JOIN __agents_message_blocks AS b
  ON b.id BETWEEN s.session_no * 16777216 AND s.session_no * 16777216 + 16777215
JOIN json_each('[' || replace(b.body, char(10), ',') || ']') AS m;

-- id = session_no * 2^24 + the checkpoint's number (1, 2, 3 …): the newest is the highest, without an index.
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
  details TEXT NOT NULL
);

-- The number of the next session: above all that sessions, blocks and checkpoints have, so that none adopts what another left behind.
CREATE VIEW __agents_next_session_no AS
SELECT 1 + max(
  (SELECT coalesce(max(session_no), 0) FROM __agents_states),
  (SELECT coalesce(max(id), 0) / 16777216 FROM __agents_message_blocks),
  (SELECT coalesce(max(id), 0) / 16777216 FROM __agents_checkpoints)
) AS next_no;

-- Rows that others insert get a number too.
CREATE TRIGGER __agents_numbered
AFTER INSERT ON __agents_states
WHEN NEW.session_no IS NULL
BEGIN
  UPDATE __agents_states
  SET session_no = (SELECT next_no FROM __agents_next_session_no)
  WHERE session_id = NEW.session_id;
END;

-- What outlives a session under its id.
-- token: the highest fencing token seen; 0 where none was.
-- lives: how many sessions of this id were deleted.
-- past: their deletions and their last writes, at most 32 of each, in the form of __agents_states.commits. A write or a deletion that
-- is repeated after the session was deleted, and perhaps made again, is answered from here. Results that hold text are left out.
-- stream_id: the stream of the session deleted last, where it was not the stream of its own name.
CREATE TABLE __agents_fences (
  session_id TEXT PRIMARY KEY,
  token INTEGER NOT NULL,
  lives INTEGER NOT NULL DEFAULT 0,
  past TEXT NOT NULL DEFAULT '[]',
  stream_id TEXT
) WITHOUT ROWID;
