-- Version 7: pydantic-ai's conversations. Empty, and without cost, until a D1ConversationStore writes.

INSERT INTO __agents_schema (version, name) VALUES (7, '0007_agents_store_pydantic_ai.sql');

INSERT OR IGNORE INTO d1_migrations (name) VALUES ('0007_agents_store_pydantic_ai.sql');

-- One row per conversation. session_id is its conversation_id.
-- tree: the first conversation of its tree: a fork has the tree of its origin, any other conversation has its own id.
-- writes: names of the 16 newest writes of this row, as a JSON list, so that a repetition of one is recognised. A name begins with eight
-- digits of its revision, so that a repeated deletion knows a conversation that was made anew.
-- branches: the last entries of the branches that it has left, as a JSON list; left_tips: former ones that it no longer names.
-- updated_at: microseconds since 1970. body: the rest of the record, as JSON.
CREATE TABLE __agents_conversations (
  session_id TEXT NOT NULL,
  tree TEXT NOT NULL,
  revision TEXT NOT NULL,
  writes TEXT NOT NULL,
  head_id TEXT,
  branches TEXT NOT NULL DEFAULT '[]',
  left_tips TEXT NOT NULL DEFAULT '[]',
  scope TEXT,
  updated_at INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (session_id)
) WITHOUT ROWID;

-- Only forks pay for it: a deletion looks for the conversations of a tree.
CREATE INDEX idx___agents_conversations_forks ON __agents_conversations (tree)
WHERE tree <> session_id;

-- Only conversations with a scope pay for it: lists of a scope, the newest first.
CREATE INDEX idx___agents_conversations_scope ON __agents_conversations (scope, updated_at)
WHERE scope IS NOT NULL;

-- One row per entry, which is one message. A message that is too long for a row has one row per part. Forks share entries.
CREATE TABLE __agents_conversation_entries (
  entry_id TEXT NOT NULL,
  part INTEGER NOT NULL,
  parts INTEGER NOT NULL,
  parent_id TEXT,
  tree TEXT NOT NULL,
  kind TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (entry_id, part)
) WITHOUT ROWID;

-- Deletes the entries that only the deleted conversation of its tree used.
CREATE TRIGGER __agents_conversations_deleted
AFTER DELETE ON __agents_conversations
BEGIN
  DELETE FROM __agents_conversation_entries
  WHERE entry_id IN (
    WITH RECURSIVE
      kept (entry_id) AS (
        SELECT tip.value
        FROM (
          SELECT head_id, branches FROM __agents_conversations WHERE session_id = OLD.tree AND tree = OLD.tree
          UNION ALL
          SELECT head_id, branches FROM __agents_conversations WHERE tree = OLD.tree AND tree <> session_id
        ) AS other
        JOIN json_each(json_insert(other.branches, '$[#]', other.head_id)) AS tip
        UNION
        SELECT above.parent_id
        FROM kept
        JOIN __agents_conversation_entries AS above ON above.entry_id = kept.entry_id AND above.part = 0
      ),
      gone (entry_id) AS (
        SELECT OLD.head_id
        UNION
        SELECT tip.value FROM json_each(OLD.branches) AS tip
        UNION
        SELECT tip.value FROM json_each(OLD.left_tips) AS tip
        UNION
        SELECT above.parent_id
        FROM gone
        JOIN __agents_conversation_entries AS above ON above.entry_id = gone.entry_id AND above.part = 0
      )
    SELECT entry_id FROM gone WHERE entry_id IS NOT NULL AND entry_id NOT IN (SELECT entry_id FROM kept WHERE entry_id IS NOT NULL)
  );
END;
