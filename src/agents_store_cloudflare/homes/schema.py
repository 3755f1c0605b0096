"""The schema of a home: the same tables as in D1. Each table is made with its first row.

Every table has the columns of the table with the same name in D1, so the same SQL runs on both. A test compares them. Indexes for
lists over all sessions, and tables for people and for other services, are only in D1. Small columns come first, so that the reads
for the directory do not touch the pages of large values.

A new table costs written rows and pages in every home, so add no table to the base.
"""

from __future__ import annotations

from typing import Final, LiteralString

from agents_store_cloudflare.state.numbering import KEYS_PER_SESSION

__all__ = [
    "BASE",
    "BASE_TABLES",
    "CHILDREN",
    "CHILDREN_INDEX",
    "ELSEWHERE",
    "LATER",
    "OWN_TABLES",
    "READABLE_FROM",
    "SCHEMA",
    "STEPS",
    "TABLES",
]

SCHEMA: Final = 1
"""The version of the schema that this code needs."""

READABLE_FROM: Final = 1
"""The oldest schema version whose code understands this schema.

A change that only adds leaves this number unchanged for two minor versions.
"""

STEPS: Final[dict[int, tuple[LiteralString, ...]]] = {}
"""Version -> the statements that bring a home of the version before to it.

A table that is made with its first row may exist or not when they run.
"""

BASE: Final[tuple[LiteralString, ...]] = (
    """
    CREATE TABLE __agents_states (
      session_id TEXT PRIMARY KEY,
      session_no INTEGER NOT NULL,
      version INTEGER NOT NULL DEFAULT 1,
      history_epoch INTEGER NOT NULL DEFAULT 0,
      agent_type TEXT NOT NULL,
      status TEXT NOT NULL DEFAULT 'active',
      step_count INTEGER NOT NULL DEFAULT 0,
      message_count INTEGER NOT NULL DEFAULT 0,
      checkpoint_count INTEGER NOT NULL DEFAULT 0,
      resume_count INTEGER NOT NULL DEFAULT 0,
      staged_count INTEGER NOT NULL DEFAULT 0,
      run_count INTEGER NOT NULL DEFAULT 0,
      open_run_count INTEGER NOT NULL DEFAULT 0,
      stream_id TEXT,
      parent_session_id TEXT,
      root_session_id TEXT,
      expires_at INTEGER,
      turn_since INTEGER,
      aborted INTEGER DEFAULT 0,
      created_at INTEGER NOT NULL,
      updated_at INTEGER NOT NULL,
      owed_closings TEXT NOT NULL DEFAULT '[]',
      open_turn TEXT,
      abort_reason TEXT,
      commits TEXT NOT NULL DEFAULT '[]',
      details TEXT NOT NULL DEFAULT '{}',
      output TEXT,
      error TEXT,
      custom_state TEXT NOT NULL DEFAULT '{}'
    )
    """,
    # Two sessions with the same number would share their messages.
    "CREATE UNIQUE INDEX idx___agents_states_session_no ON __agents_states (session_no)",
    """
    CREATE TABLE __agents_message_blocks (
      id INTEGER PRIMARY KEY,
      count INTEGER NOT NULL,
      body TEXT NOT NULL
    )
    """,
    """
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
    )
    """,
    """
    CREATE TABLE __agents_fences (
      session_id TEXT PRIMARY KEY,
      token INTEGER NOT NULL,
      lives INTEGER NOT NULL DEFAULT 0,
      past TEXT NOT NULL DEFAULT '[]',
      plans TEXT NOT NULL DEFAULT '[]',
      streams TEXT,
      children TEXT
    ) WITHOUT ROWID
    """,
    f"""
    CREATE VIEW __agents_next_session_no AS
    SELECT 1 + max(
      (SELECT coalesce(max(session_no), 0) FROM __agents_states),
      (SELECT coalesce(max(id), 0) / {KEYS_PER_SESSION} FROM __agents_message_blocks),
      (SELECT coalesce(max(id), 0) / {KEYS_PER_SESSION} FROM __agents_checkpoints)
    ) AS next_no
    """,  # noqa: S608 - constants alone
)

CHILDREN_INDEX: Final = "idx___agents_states_parent"

CHILDREN: Final[LiteralString] = """
    CREATE INDEX IF NOT EXISTS idx___agents_states_parent ON __agents_states (parent_session_id)
    WHERE parent_session_id IS NOT NULL
"""
"""The index of children, made with the first child in the home. The deletion of a tree looks for the children of each session."""

_ENTRIES: Final[LiteralString] = """__agents_conversation_entries (
      entry_id TEXT NOT NULL,
      part INTEGER NOT NULL,
      parts INTEGER NOT NULL,
      parent_id TEXT,
      tree TEXT NOT NULL,
      kind TEXT NOT NULL,
      body TEXT NOT NULL,
      PRIMARY KEY (entry_id, part)
    ) WITHOUT ROWID
"""


LATER: Final[dict[str, tuple[LiteralString, ...]]] = {
    "__agents_staged_changes": (
        """
        CREATE TABLE __agents_staged_changes (
          session_no INTEGER NOT NULL,
          step_id TEXT NOT NULL,
          tool_call_id TEXT NOT NULL,
          position INTEGER NOT NULL,
          timestamp INTEGER NOT NULL,
          change TEXT NOT NULL,
          PRIMARY KEY (session_no, step_id, tool_call_id)
        ) WITHOUT ROWID
        """,
        """
        CREATE TRIGGER __agents_staged_changes_deleted
        AFTER DELETE ON __agents_states
        BEGIN
          DELETE FROM __agents_staged_changes WHERE session_no = OLD.session_no;
        END
        """,
    ),
    "__agents_runs": (
        """
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
          token INTEGER,
          end_sequence INTEGER,
          output TEXT,
          facts TEXT,
          PRIMARY KEY (session_no, turn)
        ) WITHOUT ROWID
        """,
        "CREATE UNIQUE INDEX idx___agents_runs_run_id ON __agents_runs (session_no, run_id)",
        """
        CREATE TRIGGER __agents_runs_deleted
        AFTER DELETE ON __agents_states
        BEGIN
          DELETE FROM __agents_runs WHERE session_no = OLD.session_no;
        END
        """,
    ),
    "__agents_sub_sessions": (
        """
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
        ) WITHOUT ROWID
        """,
        """
        CREATE TRIGGER __agents_sub_sessions_deleted
        AFTER DELETE ON __agents_states
        BEGIN
          DELETE FROM __agents_sub_sessions WHERE session_no = OLD.session_no;
        END
        """,
    ),
    # The checkpoints of LangGraph's graphs (adapters/langgraph), and their lines.
    "__agents_graph_checkpoints": (
        """
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
        ) WITHOUT ROWID
        """,
    ),
    "__agents_graph_lines": (
        """
        CREATE TABLE __agents_graph_lines (
          session_id TEXT NOT NULL,
          ns TEXT NOT NULL,
          log TEXT NOT NULL,
          start INTEGER NOT NULL,
          count INTEGER NOT NULL,
          body TEXT NOT NULL,
          PRIMARY KEY (session_id, ns, log, start)
        ) WITHOUT ROWID
        """,
    ),
    # pydantic-ai's conversations (adapters/pydantic_ai), and their entries.
    "__agents_conversation_entries": (f"CREATE TABLE {_ENTRIES}",),
    "__agents_conversations": (
        """
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
        ) WITHOUT ROWID
        """,
        # The trigger needs this table, also when no conversation has a message.
        f"CREATE TABLE IF NOT EXISTS {_ENTRIES}",
        """
        CREATE INDEX idx___agents_conversations_forks ON __agents_conversations (tree)
        WHERE tree <> session_id
        """,
        """
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
            SELECT entry_id
            FROM gone
            WHERE entry_id IS NOT NULL
              AND entry_id NOT IN (SELECT entry_id FROM kept WHERE entry_id IS NOT NULL)
          );
        END
        """,
    ),
    # The facts about each session that were sent to the directory last.
    "__agents_projected": (
        """
        CREATE TABLE __agents_projected (
          session_id TEXT PRIMARY KEY,
          version INTEGER NOT NULL,
          history_epoch INTEGER NOT NULL,
          created_at INTEGER NOT NULL,
          turn_since INTEGER
        ) WITHOUT ROWID
        """,
    ),
    # The usage to send to D1, in order. refused: the reason why D1 refused an entry, which then stays here.
    "__agents_outbox": (
        """
        CREATE TABLE __agents_outbox (
          position INTEGER PRIMARY KEY,
          session_id TEXT NOT NULL,
          kind TEXT NOT NULL,
          body TEXT NOT NULL,
          refused TEXT
        )
        """,
    ),
}
"""Table -> the statements that make it, with the first row that is put into it."""

BASE_TABLES: Final = frozenset(
    {
        "__agents_states",
        "__agents_message_blocks",
        "__agents_checkpoints",
        "__agents_fences",
        "__agents_next_session_no",
    }
)
"""The tables, and the view, that are made together."""

OWN_TABLES: Final = frozenset({"__agents_projected", "__agents_outbox"})
"""Tables that exist only in homes."""

ELSEWHERE: Final[dict[str, str]] = {
    "__agents_budgets": "SELECT NULL AS scope, NULL AS root, NULL AS unit WHERE false",
    "__agents_a2a_tasks": "SELECT NULL AS session_id WHERE false",
}
"""Tables of D1 that statements of a session mention and homes do not have, each with a query that replaces it."""

TABLES: Final = frozenset({*BASE_TABLES, *LATER, *ELSEWHERE})
"""Every table and view that a home may have."""
