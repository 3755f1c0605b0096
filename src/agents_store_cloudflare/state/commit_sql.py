"""The SQL that all writes of the state store share: the guard, the fence, and the entry of the write in the state row."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.state.numbering import KEYS_PER_SESSION

__all__ = ["FIRST_COMMIT", "GUARD", "RAISE_FENCE", "remembered", "session_update"]

# Aborts the batch unless every condition holds, and writes nothing. The error's text holds the live facts. Numbers come first and texts
# last, so that a database that shortens long error texts keeps the numbers whole. A remembered commit of over 4,000 characters is left
# out; FIRST_COMMIT reads it.
# ?1 session id, ?2 commit id, ?3 fencing token or NULL, ?4 expected version or NULL, ?5 expected message count or NULL,
# ?6 expected history epoch (0: none), ?7 1 when the session must exist, ?8 parent that the state names, ?9 1 to compare it,
# ?10 new messages, ?11 new checkpoints, ?12 expected number of sessions of this id that were deleted, or NULL
# -> one row (NULL). Primary keys of __agents_states and __agents_fences.
GUARD: LiteralString = f"""
    WITH stored AS (
      SELECT
        s.version,
        s.message_count,
        s.history_epoch,
        s.checkpoint_count,
        s.parent_session_id,
        f.token,
        f.lives,
        CASE WHEN instr(s.commits, json_quote(?2)) > 0 THEN (
          SELECT c.value
          FROM json_each(s.commits) AS c
          WHERE c.value ->> 0 = ?2
        ) END AS living_commit,
        CASE WHEN instr(f.past, json_quote(?2)) > 0 THEN (
          SELECT c.value
          FROM json_each(f.past) AS c
          WHERE c.value ->> 0 = ?2
        ) END AS past_commit
      FROM (SELECT ?1 AS id) AS wanted
      LEFT JOIN __agents_states AS s ON s.session_id = wanted.id
      LEFT JOIN __agents_fences AS f ON f.session_id = wanted.id
    ),
    judged AS (
      SELECT
        *,
        coalesce(living_commit, past_commit) AS first_commit,
        CASE
          WHEN coalesce(living_commit, past_commit) IS NOT NULL THEN 'replay'
          WHEN ?3 < token THEN 'fence'
          WHEN ?12 <> coalesce(lives, 0) THEN 'life'
          WHEN ?7 = 1 AND version IS NULL THEN 'missing'
          WHEN ?4 IS NOT NULL AND ?4 <> coalesce(version, 0) THEN 'version'
          WHEN ?5 <> coalesce(message_count, 0) THEN 'history'
          WHEN ?5 IS NOT NULL AND ?6 <> 0 AND ?6 <> coalesce(history_epoch, 0) THEN 'history'
          WHEN ?9 = 1 AND version IS NOT NULL AND ?8 IS NOT parent_session_id THEN 'parent'
          WHEN message_count + ?10 > {KEYS_PER_SESSION} OR checkpoint_count + ?11 > {KEYS_PER_SESSION} - 1 THEN 'full'
        END AS fault
      FROM stored
    )
    SELECT
      CASE WHEN fault IS NOT NULL THEN json_extract('{{}}', 'agents-store ' || json_object(
        'fault', fault,
        'token', token,
        'version', coalesce(version, 0),
        'message_count', coalesce(message_count, 0),
        'past', living_commit IS NULL,
        'first_commit', CASE WHEN length(first_commit) <= 4000 THEN first_commit || '' END
      )) END AS verdict
    FROM judged
"""

# ?1 session id, ?2 commit id -> (the remembered commit, 1 when its session was deleted since) or no row. Primary keys.
FIRST_COMMIT: LiteralString = """
    SELECT c.value || '' AS first_commit, 0 AS past
    FROM __agents_states AS s
    JOIN json_each(s.commits) AS c ON c.value ->> 0 = ?2
    WHERE s.session_id = ?1
    UNION ALL
    SELECT c.value || '' AS first_commit, 1 AS past
    FROM __agents_fences AS f
    JOIN json_each(f.past) AS c ON c.value ->> 0 = ?2
    WHERE f.session_id = ?1
"""

# ?1 session id, ?2 fencing token. Writes a row only when the token rises.
RAISE_FENCE: LiteralString = """
    INSERT INTO __agents_fences (session_id, token)
    VALUES (?1, ?2)
    ON CONFLICT (session_id) DO UPDATE SET token = excluded.token
    WHERE excluded.token > token
"""


def remembered(
    *,
    version: LiteralString = "version + 1",
    messages: LiteralString = "message_count",
    checkpoints: LiteralString = "checkpoint_count",
    epoch: LiteralString = "history_epoch",
    result: LiteralString = "json(?5)",
) -> LiteralString:
    """Return the assignment that adds this write to the commits of the state row, in the form that `guard.Commit` reads.

    The row keeps at most 32 commits. When they have over 60,000 bytes together, it keeps the newest two: the row must have room for the
    largest state. In the statement ?2 is now, ?3 the commit id, ?4 the request, ?5 the result as JSON text.
    """
    return f"""
      commits = json_insert(
        CASE
          WHEN length(CAST(commits AS BLOB)) > 60000 THEN json_array(json_extract(commits, '$[#-1]'))
          WHEN json_array_length(commits) >= 32 THEN json_remove(commits, '$[0]')
          ELSE commits
        END,
        '$[#]',
        json_array(
          ?3, ?4, {version}, message_count, CAST({messages} AS INTEGER), CAST({checkpoints} AS INTEGER),
          CAST(?2 AS INTEGER), CAST({epoch} AS INTEGER), {result}
        )
      )"""


def session_update(
    assignments: LiteralString = "",
    *,
    version: LiteralString = "version + 1",
    messages: LiteralString = "message_count",
    checkpoints: LiteralString = "checkpoint_count",
    epoch: LiteralString = "history_epoch",
    result: LiteralString = "json(?5)",
    condition: LiteralString = "",
) -> LiteralString:
    """Return the SQL that updates the state row by its primary key and returns this commit.

    Its parameters are ?1 session id, ?2 now, ?3 commit id, ?4 request, ?5 the result as JSON text, or NULL. The assignments use more
    parameters, from ?6 on. A write that leaves the version leaves `updated_at` too.
    """
    commit = remembered(version=version, messages=messages, checkpoints=checkpoints, epoch=epoch, result=result)
    more: LiteralString = f",\n      {assignments}" if assignments else ""
    also: LiteralString = f"\n      AND {condition}" if condition else ""
    return f"""
    UPDATE __agents_states
    SET
      updated_at = CASE WHEN {version} > version THEN ?2 ELSE updated_at END,
      version = {version},{commit}{more}
    WHERE session_id = ?1{also}
    RETURNING json_extract(commits, '$[#-1]') AS newest_commit
    """
