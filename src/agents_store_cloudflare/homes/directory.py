"""The directory of sessions in D1, for lists and clean-ups."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, cast

from agents_store_cloudflare.contract.errors import D1StateError, InvalidArgumentError
from agents_store_cloudflare.contract.state.records import AgentState, SessionPage
from agents_store_cloudflare.database import Database, Row, SqlError, Statement, batch_with_retry, primary_of
from agents_store_cloudflare.homes import directory_sql
from agents_store_cloudflare.state.cursors import cursor_after
from agents_store_cloudflare.state.session_lists import ListedSessions
from agents_store_cloudflare.state.stored_text import text_of

__all__ = ["LISTED", "Directory"]

LISTED: Final = "listed"
"""The key in `extra` that marks a state from a list. Such a state has only the fields that the directory knows."""


class Directory:
    """The directory: the facts about sessions in homes that D1 keeps.

    Args:
        is_kept: True when homes send their sessions to D1.
    """

    def __init__(self, database: Database, *, is_kept: bool) -> None:
        self._database = database
        self._is_kept = is_kept

    async def page(self, wanted: ListedSessions) -> SessionPage:
        """Return a page of sessions.

        Raises:
            InvalidArgumentError: no directory is kept.
        """
        self._check("list_sessions")
        [rows] = await self._read("list_sessions", [_listing(wanted)])
        more = len(rows) > wanted.limit
        return SessionPage(
            items=[_listed(row) for row in rows[: wanted.limit]],
            next_cursor=cursor_after("sessions", cast("int", rows[wanted.limit - 1][0])) if more else None,
            has_more=more,
        )

    async def expired(self, now_ms: int | None, limit: int) -> list[tuple[str, int]]:
        """Return homes of sessions that seem to have expired, the earliest first, and their number.

        Raises:
            InvalidArgumentError: no directory is kept.
        """
        self._check("cleanup_expired_sessions")
        [rows] = await self._read("cleanup_expired_sessions", [Statement(directory_sql.EXPIRED, (now_ms, limit))])
        return [(cast("str", home), cast("int", count)) for home, count in rows]

    async def due_turns(self, limit: int, after: tuple[int, int]) -> list[tuple[str, int, int]]:
        """Return the sessions that, in the directory, have an open turn or closing chunks to publish: id, place and time.

        Raises:
            InvalidArgumentError: no directory is kept.
        """
        self._check("sweep_turns")
        [rows] = await self._read("sweep_turns", [Statement(directory_sql.DUE_TURNS, (*after, limit))])
        return [cast("tuple[str, int, int]", tuple(row)) for row in rows]

    async def in_db(self, session_ids: Sequence[str]) -> list[str]:
        """Return the sessions, of those given, that D1 holds itself."""
        given = json.dumps(list(session_ids), ensure_ascii=False)
        [rows] = await self._read(
            "the look into D1", [Statement(directory_sql.SESSION_IN_DB, (given,))], primary_of(self._database)
        )
        return [cast("str", row[0]) for row in rows]

    def _check(self, operation: str) -> None:
        if not self._is_kept:
            raise InvalidArgumentError(
                f"{operation} needs the directory, and this store was made with SessionOptions(directory=False)"
            )

    async def _read(
        self, operation: str, statements: list[Statement], database: Database | None = None
    ) -> list[list[Row]]:
        try:
            return await batch_with_retry(database or self._database, statements)
        except SqlError as error:
            hint = (
                "; `await store.migrate()` or `run_migration(db)` makes the tables" if error.is_missing_table() else ""
            )
            raise D1StateError(f"{operation} failed: {error}{hint}") from error


def _listing(wanted: ListedSessions) -> Statement:
    page = (wanted.below, wanted.agent_type, wanted.status, wanted.limit + 1)
    if wanted.prefix:
        return Statement(
            directory_sql.LIST_PREFIXED, (*page, wanted.parent_session_id, wanted.prefix, wanted.after_prefix)
        )
    if wanted.parent_session_id is not None:
        return Statement(directory_sql.LIST_CHILDREN, (*page, wanted.parent_session_id))
    return Statement(directory_sql.LIST_SESSIONS, page)


def _listed(row: Row) -> AgentState:
    _, session_id, agent_type, status, step_count, version, parent, root, created, updated, expires = cast(
        "list[Any]", row
    )
    return AgentState(
        session_id=session_id,
        agent_type=cast("str", text_of(agent_type)),
        status=cast("str", text_of(status)),
        step_count=step_count,
        version=version,
        parent_session_id=parent,
        root_session_id=root,
        created_at=created,
        updated_at=updated,
        expires_at=expires,
        extra={LISTED: True},
    )
