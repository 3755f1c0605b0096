"""The SQL of imports: two free session numbers, and the transaction that makes the rows under the first number visible."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.state.damage import list_or_empty
from agents_store_cloudflare.state.numbering import KEYS_PER_SESSION, first_key, last_key
from agents_store_cloudflare.state.session_tables import SESSION_TABLES

__all__ = [
    "CLAIM",
    "CLAIMED",
    "DELETE_SESSION_TABLES",
    "DELETIONS",
    "GUARD",
    "INSERT_BLOCK",
    "IN_HOMES",
    "NEXT",
    "RAISE_FENCE",
    "SELECT_HOMES",
    "VERSIONS",
    "ids_without_session",
]

# -> (number of the next session)
NEXT: LiteralString = "SELECT next_no FROM __agents_next_session_no"

# ?1 the claim's name, ?2 a number that was free before: claims the next two numbers with one row under the second. A repetition
# claims no more numbers. Primary key, from ?2 on.
CLAIM: LiteralString = f"""
    INSERT INTO __agents_message_blocks (id, count, body)
    SELECT {first_key("(next_no + 1)")}, 0, ?1
    FROM __agents_next_session_no
    WHERE NOT EXISTS (SELECT 1 FROM __agents_message_blocks WHERE id >= {first_key("?2")} AND body = ?1)
"""

# ?1, ?2 as above -> (the first number claimed)
CLAIMED: LiteralString = f"""
    SELECT id / {KEYS_PER_SESSION} - 1
    FROM __agents_message_blocks
    WHERE id >= {first_key("?2")}
      AND body = ?1
"""

INSERT_BLOCK: LiteralString = """
    INSERT INTO __agents_message_blocks (id, count, body)
    VALUES (?1, ?2, ?3)
    ON CONFLICT DO NOTHING
"""

# ?1 session id -> (version of the stored session, the highest known version of deleted sessions of this id). Entries of `past` that
# another program has damaged count as none.
VERSIONS: LiteralString = f"""
    SELECT
      coalesce((SELECT version FROM __agents_states WHERE session_id = ?1), 0),
      coalesce((
        SELECT max(CASE WHEN c.type = 'array' THEN CASE json_type(c.value, '$[2]') WHEN 'integer' THEN c.value ->> 2 END END)
        FROM __agents_fences AS f
        JOIN json_each({list_or_empty("f.past")}) AS c
        WHERE f.session_id = ?1
      ), 0)
"""

# Aborts the batch unless the session can become visible now. Writes nothing. ?1 session id, ?2 the session's number, ?3 the version
# that is replaced (0: none), ?4 messages, ?5 rows under the number -> one row (NULL). Primary keys.
GUARD: LiteralString = f"""
    SELECT CASE WHEN fault IS NOT NULL THEN json_extract('{{}}', 'agents-store ' || json_object('fault', fault)) END AS verdict
    FROM (
      SELECT CASE
        WHEN (SELECT session_no FROM __agents_states WHERE session_id = ?1) = ?2 THEN 'shown'
        WHEN coalesce((SELECT version FROM __agents_states WHERE session_id = ?1), 0) <> ?3 THEN 'version'
        WHEN ?4 <> (
          SELECT coalesce(sum(count), 0) FROM __agents_message_blocks WHERE id BETWEEN {first_key("?2")} AND {last_key("?2")}
        ) THEN 'gone'
        WHEN ?5 <> (
          SELECT count(*) FROM __agents_checkpoints WHERE id BETWEEN {first_key("?2")} AND {last_key("?2")}
        ) + (SELECT count(*) FROM __agents_staged_changes WHERE session_no = ?2)
          + (SELECT count(*) FROM __agents_runs WHERE session_no = ?2)
          + (SELECT count(*) FROM __agents_sub_sessions WHERE session_no = ?2)
        THEN 'gone'
      END AS fault
    )
"""

_NUMBER: LiteralString = "(SELECT session_no FROM __agents_states WHERE session_id = ?1)"
_ITS_KEYS: LiteralString = f"""{first_key(_NUMBER)}
      AND {last_key(_NUMBER)}"""

# ?1 session id. Adapters' rows. Primary keys.
DELETE_SESSION_TABLES: tuple[LiteralString, ...] = tuple(
    f"DELETE FROM {table} WHERE session_id = ?1" for table in SESSION_TABLES
)

# ?1 session id. Deletes the rows of a replaced session. The trigger __agents_session_deleted deletes its other rows. Primary keys.
DELETIONS: tuple[LiteralString, ...] = (
    f"""
    DELETE FROM __agents_message_blocks
    WHERE id BETWEEN {_ITS_KEYS}
    """,
    f"""
    DELETE FROM __agents_checkpoints
    WHERE id BETWEEN {_ITS_KEYS}
    """,
    *DELETE_SESSION_TABLES,
    "DELETE FROM __agents_states WHERE session_id = ?1",
)

# ?1 session id, ?2 token. A stored fence never falls. Primary key.
RAISE_FENCE: LiteralString = """
    UPDATE __agents_fences
    SET token = max(token, ?2)
    WHERE session_id = ?1
"""


# ?1 the last home of the page before, ?2 most rows -> (home), in order, with the homes of sessions that were deleted within a day. Reads
# the whole table: an operator's call.
SELECT_HOMES: LiteralString = """
    SELECT DISTINCT home
    FROM __agents_directory
    WHERE home > ?1
    ORDER BY home
    LIMIT ?2
"""


def ids_without_session(table: LiteralString) -> LiteralString:
    """Return the SQL of ids that have rows in `table` and no session in the same database.

    ?1 the last id of the page before, ?2 most rows -> (session id). Its key, or its index.
    """
    return f"""
    SELECT DISTINCT t.session_id
    FROM {table} AS t
    WHERE t.session_id > ?1
      AND NOT EXISTS (SELECT 1 FROM __agents_states AS s WHERE s.session_id = t.session_id)
    ORDER BY t.session_id
    LIMIT ?2
    """


# ?1 JSON list of ids -> (id) of those whose session lives in a home. Primary key.
IN_HOMES: LiteralString = """
    SELECT d.session_id
    FROM json_each(?1) AS given
    JOIN __agents_directory AS d ON d.session_id = given.value
    WHERE d.deleted = 0
"""
