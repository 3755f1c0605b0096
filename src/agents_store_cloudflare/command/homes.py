"""What the command says about sessions in homes: it reads D1, and only a Worker reaches Durable Objects."""

from __future__ import annotations

import sys
from typing import Final, LiteralString, cast

from agents_store_cloudflare.command.failure import CommandError
from agents_store_cloudflare.command.opening import OpenDatabase
from agents_store_cloudflare.database import Statement, batch_with_retry

__all__ = ["REMEDY", "in_homes", "no_session", "note_homes"]

REMEDY: Final = "the store in a Worker, or its console, reaches them (docs/homes.md)"

# -> (the number of sessions in homes). An operator's call: reads the whole directory.
_IN_HOMES: LiteralString = "SELECT count(*) AS sessions FROM __agents_directory WHERE deleted = 0"

# ?1 session id -> (its home), or no row. Primary key.
_HOME: LiteralString = "SELECT home FROM __agents_directory WHERE session_id = ?1 AND deleted = 0"


async def no_session(opened: OpenDatabase, session_id: str) -> CommandError:
    """Return the error for a session that this database does not hold."""
    [rows] = await batch_with_retry(opened.database, [Statement(_HOME, (session_id,))])
    if rows:
        return CommandError(
            f"session {session_id!r} lives in the Durable Object of home {rows[0][0]!r}, which this command cannot reach; {REMEDY}"
        )
    return CommandError(f"there is no session {session_id!r}; `sessions` lists all sessions")


async def in_homes(opened: OpenDatabase) -> int:
    """Return the number of sessions that live in homes, by the directory."""
    [[[count]]] = await batch_with_retry(opened.database, [Statement(_IN_HOMES)])
    return cast("int", count)


async def note_homes(opened: OpenDatabase) -> None:
    """Say on the standard error how many sessions live in homes, if any do."""
    if count := await in_homes(opened):
        print(f"not listed: {count} sessions that live in homes; {REMEDY}", file=sys.stderr)
