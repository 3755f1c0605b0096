"""The SQL of conversations and their entries."""

from __future__ import annotations

from typing import LiteralString

__all__ = [
    "DELETE",
    "GUARD_DELETE",
    "GUARD_WRITE",
    "INSERT_ENTRIES",
    "INSERT_LONG_ENTRY",
    "SELECT_ALL",
    "SELECT_ENTRY",
    "SELECT_HISTORY",
    "SELECT_RECORD",
    "SELECT_SCOPE",
    "UPSERT",
]

_FAULT: LiteralString = (
    "CASE WHEN fault IS NOT NULL THEN json_extract('{}', 'agents-store ' || json_object('fault', fault)) END"
)

# Aborts the batch unless the conversation may be written. ?1 conversation, ?2 the revision that must be stored (NULL: none),
# ?3 the write's name, ?4 JSON list of the entries that must be stored, ?5 JSON list of the new entries. Primary keys.
GUARD_WRITE: LiteralString = f"""
    SELECT {_FAULT} AS verdict
    FROM (
      SELECT CASE
        WHEN EXISTS (
          SELECT 1
          FROM __agents_conversations AS c
          JOIN json_each(c.writes) AS write
          WHERE c.session_id = ?1
            AND write.value = ?3
        ) THEN 'done'
        WHEN (SELECT revision FROM __agents_conversations WHERE session_id = ?1) IS NOT ?2 THEN 'conflict'
        WHEN EXISTS (
          SELECT 1
          FROM json_each(?4) AS need
          WHERE NOT EXISTS (
            SELECT 1 FROM __agents_conversation_entries AS e WHERE e.entry_id = need.value AND e.part = 0
          )
        ) THEN 'conflict'
        WHEN (
          SELECT count(*)
          FROM (
            SELECT tree FROM __agents_conversations WHERE session_id = ?1
            UNION
            SELECT e.tree
            FROM json_each(?4) AS need
            CROSS JOIN __agents_conversation_entries AS e ON e.entry_id = need.value AND e.part = 0
          )
        ) > 1 THEN 'tree'
        WHEN EXISTS (
          SELECT 1
          FROM json_each(?5) AS new
          CROSS JOIN __agents_conversation_entries AS e ON e.entry_id = new.value AND e.part = 0
        ) THEN 'entry'
      END AS fault
    )
"""

# Replaces the row of the stored record. Its 16 newest writes stay known. Entries that the old record named and the new record does not
# name are remembered until they are deleted. ?1 conversation, ?2 an entry whose tree a new conversation joins (NULL: a tree of its own),
# ?3 revision, ?4 the write's name, ?5 head, ?6 branches, ?7 scope, ?8 updated_at, ?9 body, ?10 the entry before the new entries (NULL:
# none, or unknown). Primary keys.
UPSERT: LiteralString = """
    INSERT INTO __agents_conversations
      (session_id, tree, revision, writes, head_id, branches, scope, updated_at, body)
    SELECT
      ?1,
      coalesce((SELECT tree FROM __agents_conversation_entries WHERE entry_id = ?2 AND part = 0), ?1),
      ?3, json_array(?4), ?5, ?6, ?7, ?8, ?9
    WHERE true
    ON CONFLICT (session_id) DO UPDATE SET
      revision = excluded.revision,
      writes = json_insert(
        CASE
          WHEN json_array_length(__agents_conversations.writes) >= 16 THEN json_remove(__agents_conversations.writes, '$[0]')
          ELSE __agents_conversations.writes
        END,
        '$[#]',
        ?4
      ),
      head_id = excluded.head_id,
      branches = excluded.branches,
      scope = excluded.scope,
      updated_at = excluded.updated_at,
      body = excluded.body,
      left_tips = (
        SELECT json_group_array(tip)
        FROM (
          SELECT value AS tip FROM json_each(__agents_conversations.left_tips)
          UNION
          SELECT tip
          FROM (
            SELECT __agents_conversations.head_id AS tip
            UNION
            SELECT value FROM json_each(__agents_conversations.branches)
          )
          WHERE tip IS NOT NULL
            AND tip IS NOT ?10
            AND tip IS NOT excluded.head_id
            AND tip NOT IN (SELECT value FROM json_each(excluded.branches))
        )
      )
"""

_TREE: LiteralString = "(SELECT tree FROM __agents_conversations WHERE session_id = ?1)"

# ?1 conversation, ?2 JSON list of [entry, parent or null, kind, body]
INSERT_ENTRIES: LiteralString = f"""
    INSERT INTO __agents_conversation_entries (entry_id, part, parts, parent_id, tree, kind, body)
    SELECT value ->> 0, 0, 1, value ->> 1, {_TREE}, value ->> 2, value ->> 3
    FROM json_each(?2)
"""

# ?1 conversation, ?2 entry, ?3 part, ?4 parts, ?5 parent, ?6 kind, ?7 body
INSERT_LONG_ENTRY: LiteralString = f"""
    INSERT INTO __agents_conversation_entries (entry_id, part, parts, parent_id, tree, kind, body)
    SELECT ?2, ?3, ?4, ?5, {_TREE}, ?6, ?7
"""

_RECORD: LiteralString = "session_id, head_id, branches, scope, revision, body"

# ?1 conversation -> (conversation, head, branches, scope, revision, body)
SELECT_RECORD: LiteralString = f"SELECT {_RECORD} FROM __agents_conversations WHERE session_id = ?1"

# ?1 scope, ?2 most rows -> the same columns, the newest first. idx___agents_conversations_scope.
SELECT_SCOPE: LiteralString = f"""
    SELECT {_RECORD}
    FROM __agents_conversations
    WHERE scope = ?1
    ORDER BY updated_at DESC
    LIMIT ?2
"""

# ?1 most rows -> the same columns, for all scopes. Reads every conversation.
SELECT_ALL: LiteralString = f"""
    SELECT {_RECORD}
    FROM __agents_conversations
    ORDER BY updated_at DESC
    LIMIT ?1
"""

# ?1 entry -> (entry, parent, kind, part, parts, body) of its parts
SELECT_ENTRY: LiteralString = """
    SELECT entry_id, parent_id, kind, part, parts, body
    FROM __agents_conversation_entries
    WHERE entry_id = ?1
    ORDER BY part
"""

# ?1 the newest entry, ?2 most entries -> the same columns of this entry and the entries before it, the oldest first. Primary keys.
SELECT_HISTORY: LiteralString = """
    WITH RECURSIVE chain (entry_id, parent_id, place) AS (
      SELECT entry_id, parent_id, 1
      FROM __agents_conversation_entries
      WHERE entry_id = ?1
        AND part = 0
      UNION ALL
      SELECT e.entry_id, e.parent_id, chain.place + 1
      FROM chain
      CROSS JOIN __agents_conversation_entries AS e ON e.entry_id = chain.parent_id AND e.part = 0
      LIMIT ?2
    )
    SELECT chain.entry_id, chain.parent_id, e.kind, e.part, e.parts, e.body
    FROM chain
    CROSS JOIN __agents_conversation_entries AS e ON e.entry_id = chain.entry_id
    ORDER BY chain.place DESC, e.part
"""

# Aborts the batch when another revision is stored: with `conflict` if the expected one was stored in the same life of the conversation,
# with `new` if it was not, with `unknown` if the row no longer tells. When none is stored, the deletion deletes nothing. ?1
# conversation, ?2 revision, ?3 the beginning of the names of its writes. Primary key.
GUARD_DELETE: LiteralString = f"""
    SELECT {_FAULT} AS verdict
    FROM (
      SELECT CASE
        WHEN EXISTS (SELECT 1 FROM json_each(c.writes) AS write WHERE substr(write.value, 1, 8) = ?3) THEN 'conflict'
        WHEN json_array_length(c.writes) < 16 THEN 'new'
        ELSE 'unknown'
      END AS fault
      FROM __agents_conversations AS c
      WHERE c.session_id = ?1
        AND c.revision <> ?2
    )
"""

# ?1 conversation -> one row if it was stored. A trigger deletes the entries that only this conversation used.
DELETE: LiteralString = """
    DELETE FROM __agents_conversations
    WHERE session_id = ?1
    RETURNING 1
"""
