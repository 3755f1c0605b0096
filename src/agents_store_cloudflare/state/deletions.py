"""Deleting sessions, one or those that expired, with everything of theirs, as one batch."""

from __future__ import annotations

from dataclasses import replace
from typing import LiteralString, cast

from agents_store_cloudflare.contract.arguments import check_flag, check_id, check_whole_number
from agents_store_cloudflare.contract.locks import Lock
from agents_store_cloudflare.contract.state.records import SessionTree
from agents_store_cloudflare.database import SqlValue, Statement
from agents_store_cloudflare.state import deletion_sql
from agents_store_cloudflare.state.calls import MAX_PAGE, StateCalls
from agents_store_cloudflare.state.guard import Condition, Facts

__all__ = ["DeletionCalls"]

_DELETES: tuple[LiteralString, ...] = (
    deletion_sql.DELETE_BLOCKS,
    deletion_sql.DELETE_CHECKPOINTS,
    deletion_sql.DELETE_STATES,
)


class _DeletedBefore(Exception):  # noqa: N818 - a result on its way out of the batch, no error
    def __init__(self, facts: Facts) -> None:
        super().__init__()
        self.deleted = bool(facts["deleted"])


class DeletionCalls(StateCalls):
    """The calls of `StateStore` that delete sessions."""

    async def delete_session(
        self,
        session_id: str,
        *,
        delete_usage: bool = False,
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> bool:
        """`StateStore.delete_session`."""
        guard = replace(self._guard("delete_session", session_id, fencing_token, commit_id), must_exist=False)
        statements = _deletion(session_id, usage=delete_usage)
        if commit_id is None:
            deleted, remote = await self._batches.delete(session_id, [*guard.statements(), *statements], guard)
        else:
            condition = Condition(
                statement=Statement(deletion_sql.DELETION_IS_NEW, (session_id, guard.commit_id)),
                errors={"deleted": _DeletedBefore},
            )
            remember = Statement(deletion_sql.REMEMBER_DELETION, (session_id, guard.commit_id))
            guard = replace(guard, earlier=condition)
            try:
                _, results = await self._batches.guarded(guard, [remember, *statements])
            except _DeletedBefore as before:
                return before.deleted
            deleted, remote = results[-1], results[1]
        self._report(session_id, [cast("str", row[0]) for row in remote])
        return bool(deleted)

    async def get_session_tree(self, session_id: str) -> SessionTree:
        """`StateStore.get_session_tree`."""
        check_id(session_id, "session_id")
        rows, remote = await self._batches.read(
            [
                Statement(deletion_sql.SELECT_TREE, (session_id, None, 0)),
                Statement(deletion_sql.REMOTE_SUB_SESSIONS, (session_id, None, 0)),
            ]
        )
        return SessionTree(
            session_ids=tuple(cast("str", row[0]) for row in rows),
            stream_ids=tuple(dict.fromkeys(cast("str", row[1]) for row in rows)),
            remote_sub_session_ids=tuple(cast("str", row[0]) for row in remote),
        )

    async def cleanup_expired_sessions(
        self, now: int | None = None, limit: int = 100, *, delete_usage: bool = False
    ) -> list[str]:
        """`StateStore.cleanup_expired_sessions`."""
        at_ms = self._now_ms() if now is None else check_whole_number(now, "now")
        check_whole_number(limit, "limit", low=1, high=MAX_PAGE)
        statements = _deletion(None, expired_at=at_ms, limit=limit, usage=delete_usage)
        deleted, remote = await self._batches.delete("*", statements)
        self._report("*", [cast("str", row[0]) for row in remote])
        return [cast("str", row[0]) for row in deleted]

    def _report(self, session_id: str, remote: list[str]) -> None:
        if remote:
            self._logger.info("delete_session of %r left remote sub-sessions alone: %r", session_id, remote)


def _deletion(session_id: str | None, *, expired_at: int | None = None, limit: int = 0, usage: bool) -> list[Statement]:
    """The statements that delete one session's tree, or those of up to `limit` sessions that expired by `expired_at`.

    The first returns the remote sub-sessions, the last the ids that are deleted.
    """
    parameters: tuple[SqlValue, ...] = (session_id, expired_at, limit)
    first = deletion_sql.DELETE_USAGE if check_flag(usage, "delete_usage") else ()
    return [Statement(sql, parameters) for sql in (deletion_sql.REMOTE_SUB_SESSIONS, *first, *_DELETES)]
