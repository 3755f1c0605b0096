"""Deletes one session or the expired sessions, with everything that belongs to them, in one batch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, LiteralString, cast

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, check_flag, check_id, check_whole_number
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.state.deletion import DeletionStore
from agents_store_cloudflare.contract.state.records import SessionTree
from agents_store_cloudflare.contract.streams.records import StreamMark
from agents_store_cloudflare.database import Row, SqlValue, Statement
from agents_store_cloudflare.state import deletion_sql, session_sql
from agents_store_cloudflare.state.calls import MAX_PAGE, StateCalls, expected
from agents_store_cloudflare.state.guard import Condition, DeletedMeanwhileError, Guard

__all__ = ["ANY_SESSION", "MOST_LEFT", "DeletionCalls", "DeletionPlan", "ExpiredTrees"]

ANY_SESSION: Final = "*"
"""Stands for any session, in place of a session id."""

MOST_LEFT: Final = 800
"""The most streams, and the most children of a session, that are kept for a later deletion. Both lists always fit in one row.

The row has at most 2,000,000 bytes. A name has at most 1,024 bytes as JSON, 512 quotes, and its mark fewer than 100.
"""

_DELETES: tuple[LiteralString, ...] = (
    deletion_sql.DELETE_BLOCKS,
    deletion_sql.DELETE_CHECKPOINTS,
    *deletion_sql.DELETE_SESSION_TABLES,
    deletion_sql.DELETE_STATES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionPlan:
    """A deletion that is allowed and not decided yet.

    Attributes:
        tree: the sessions to delete, and the streams that only they use.
        lives: the lives of the sessions that use these streams. A session that is deleted and made again has another life.
        streams: the streams to delete, each with the mark that an earlier deletion found, if one did.
        guard: the conditions of the deletion. One is that nobody else deletes the session meanwhile.
        remember: keep a note of the deletion even if there is no session.
        was_there: whether the deletion met a session.
        is_gone: others have deleted that session since, and there is none now. What they left is still to delete.
        done: the result of this deletion when it was decided before, otherwise None. When it was decided before, only streams may
            be left to delete.
    """

    tree: SessionTree
    lives: Sequence[str] = ()
    streams: Mapping[str, StreamMark | None]
    guard: Guard
    remember: bool
    was_there: bool
    is_gone: bool = False
    done: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiredTrees:
    """Expired sessions and their descendants, as they were when they were deleted.

    Attributes:
        session_ids: the deleted sessions.
        streams: the streams that only they used, each with the lives of its sessions.
    """

    session_ids: tuple[str, ...]
    streams: Mapping[str, frozenset[str]]


class DeletionCalls(StateCalls, DeletionStore):
    """`DeletionStore` on D1, and a deletion in two steps for callers that delete streams in between."""

    async def delete_session(
        self,
        session_id: str,
        *,
        delete_usage: bool = False,
        expected_version: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> bool:
        guard = self._deletion_guard(session_id, expected_version, fencing_token, commit_id, usage=delete_usage)
        first, _ = await self._delete(guard, usage=delete_usage, remember=commit_id is not None, left_streams=None)
        return first

    async def plan_deletion(
        self,
        session_id: str,
        *,
        expected_version: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> DeletionPlan:
        """Ask whether a session may be deleted. The call keeps the token and, with a commit id, the plan. It changes nothing else.

        A deletion that covers other stores has four steps: call `plan_deletion`, ask the other stores, call `carry_out`, which
        decides, then delete in the other stores.

        Args:
            session_id: the session.
            expected_version: delete only at this version; None deletes at any.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for the deletion.

        Raises:
            StaleFencingTokenError: a newer holder of the lock has written.
            StaleStateError: the session has another version than `expected_version`.
        """
        guard = self._deletion_guard(session_id, expected_version, fencing_token, commit_id, usage=True)
        parameters: tuple[SqlValue, ...] = (session_id, None, 0)
        named = Statement(deletion_sql.REMEMBER_PLAN, (session_id, guard.commit_id, guard.request))
        first, results = await self._batches.guarded(
            guard,
            [
                Statement(deletion_sql.SELECT_PLAN, (session_id, guard.commit_id)),
                Statement(deletion_sql.SELECT_TREE, parameters),
                Statement(deletion_sql.SELECT_STREAMS, parameters),
                Statement(deletion_sql.REMOTE_SUB_SESSIONS, parameters),
                *([] if commit_id is None else [named]),
            ],
        )
        if first is not None:
            return await self._decided(guard, is_deleted=bool(first.result))
        [lives, plan] = results[0][0] if results[0] else (0, None)
        tree, streams = _tree(results[1], results[2], results[3]), _marked(results[2])
        was_there, is_gone = bool(tree.session_ids), False
        if plan is not None:
            _, request, lives_then, was_there = json.loads(cast("str", plan))
            guard.check_request(request)
            is_gone = lives_then != lives  # others have deleted the session that this deletion met
            if is_gone and tree.session_ids:  # this session is a new one
                return await self._decided(guard, is_deleted=bool(was_there))
        return DeletionPlan(
            tree=tree,
            lives=[each for lives in _lives(results[2]).values() for each in lives],
            streams=streams,
            guard=replace(guard, lives=cast("int", lives)),
            # Without a session, the deletion is still remembered when its caller named it, or when it deletes a stream of another name.
            remember=commit_id is not None or any(stream_id != session_id for stream_id in streams),
            was_there=bool(was_there) and not is_gone,  # as if the others had come first
            is_gone=is_gone,
        )

    async def carry_out(
        self, plan: DeletionPlan, streams: Mapping[str, StreamMark]
    ) -> tuple[bool, Mapping[str, StreamMark | None]]:
        """Delete the sessions of a plan with their usage.

        If others have deleted them since, and left usage, this usage is deleted. A session that is made since keeps its own.

        Args:
            plan: the plan of `plan_deletion`.
            streams: the streams that are deleted next, with their marks.

        Returns:
            Whether there was a session, and the streams that the caller must delete. Streams that others use by now are left out.
            If the id has a new session, there are none. These streams are kept under the session's id, so that a repetition can
            complete the deletion.

        Raises:
            StaleFencingTokenError: a newer holder of the lock has written since the plan.
            StaleStateError: the session has got another version since the plan.
        """
        left = json.dumps({"streams": [*streams.items()][:MOST_LEFT], "lives": plan.lives}, ensure_ascii=False)
        remember = plan.remember or bool(streams)
        if not plan.is_gone:
            with suppress(DeletedMeanwhileError):
                return await self._delete(plan.guard, usage=True, remember=remember, left_streams=left)
        guard = replace(plan.guard, lives=None, version=None, conditions=(_no_session(plan.guard.session_id),))
        gone = list(dict.fromkeys([guard.session_id, *plan.tree.session_ids])) if plan.was_there else []
        with suppress(DeletedMeanwhileError):
            return await self._delete(guard, usage=True, remember=True, left_streams=left, gone=gone)
        return plan.was_there, {}

    async def is_stream_used(self, session_id: str, stream_id: str) -> bool:
        """Return whether a session in the database of `session_id` uses the stream."""
        [rows] = await self._batches.read([Statement(deletion_sql.SELECT_STREAM_USE, (session_id, stream_id))])
        return bool(rows)

    async def forget_streams(self, session_id: str) -> None:
        """Note that the streams that the session's deletion has left are gone."""
        await self._batches.repeatable(
            "delete_session", session_id, [Statement(deletion_sql.FORGET_STREAMS, (session_id,))]
        )

    async def _decided(self, guard: Guard, *, is_deleted: bool) -> DeletionPlan:
        """Return the plan of a deletion that was decided before, with the streams that it has left."""
        streams = await self._left_streams(guard.session_id)
        return DeletionPlan(
            tree=SessionTree(), streams=streams, guard=guard, remember=False, was_there=is_deleted, done=is_deleted
        )

    async def _left_streams(self, session_id: str) -> dict[str, StreamMark | None]:
        [rows] = await self._batches.read([Statement(deletion_sql.SELECT_LEFT_STREAMS, (session_id,))])
        return _marked(rows)

    async def get_session_tree(self, session_id: str) -> SessionTree:
        parameters: tuple[SqlValue, ...] = (check_id(session_id, "session_id"), None, 0)
        sessions, streams, remote = await self._batches.read(
            [
                Statement(deletion_sql.SELECT_TREE, parameters),
                Statement(deletion_sql.SELECT_STREAMS, parameters),
                Statement(deletion_sql.REMOTE_SUB_SESSIONS, parameters),
            ]
        )
        return _tree(sessions, streams, remote) if sessions else SessionTree()

    async def cleanup_expired_sessions(
        self, now: int | None = None, limit: int = 100, *, delete_usage: bool = False
    ) -> list[str]:
        return list((await self.cleanup_expired_trees(now, limit, delete_usage=delete_usage)).session_ids)

    async def cleanup_expired_trees(
        self, now: int | None = None, limit: int = 100, *, delete_usage: bool = False
    ) -> ExpiredTrees:
        """Delete expired sessions as `cleanup_expired_sessions` does, and return the streams that only they used.

        Args:
            now: a session is expired when its `expires_at` is not after this time (milliseconds since 1970). The default is the
                present by the database's clock.
            limit: the most expired sessions, 1 to 1,000. Their descendants come on top.
            delete_usage: also delete the sessions' usage.
        """
        at_ms = None if now is None else check_whole_number(now, "now")
        check_whole_number(limit, "limit", low=1, high=MAX_PAGE)
        return await self._clean_up(ANY_SESSION, at_ms, limit, usage=check_flag(delete_usage, "delete_usage"))

    async def _clean_up(self, place: str, at_ms: int | None, limit: int, *, usage: bool) -> ExpiredTrees:
        """Delete expired sessions of the database at `place`, a session id or `ANY_SESSION`."""
        parameters = (None, at_ms, limit)
        kept = (*parameters, None, None, self._now_ms(), 0, None, 1, 0, MOST_LEFT)
        results = await self._batches.once(
            "cleanup_expired_sessions",
            place,
            [
                Statement(deletion_sql.SELECT_STREAMS, parameters),
                Statement(deletion_sql.REMOTE_SUB_SESSIONS, parameters),
                *self._deletion(parameters, Statement(deletion_sql.REMEMBER_DELETION, kept), usage=usage),
            ],
        )
        tree = _tree(results[-1], results[0], results[1])
        self._report(place, tree)
        return ExpiredTrees(session_ids=tree.session_ids, streams=_lives(results[0]))

    async def find_expired_streams(self, now: int | None, limit: int = 100) -> Mapping[str, frozenset[str]]:
        """Return the streams that `cleanup_expired_trees` would return, each with the lives of its sessions."""
        check_whole_number(limit, "limit", low=1, high=MAX_PAGE)
        at_ms = None if now is None else check_whole_number(now, "now")
        return await self._expired_streams(ANY_SESSION, at_ms, limit)

    async def _expired_streams(self, place: str, at_ms: int | None, limit: int) -> dict[str, frozenset[str]]:
        """Return the streams of expired sessions in the database at `place`, a session id or `ANY_SESSION`."""
        select = Statement(deletion_sql.SELECT_STREAMS, (None, at_ms, limit))
        [rows] = await self._batches.decide("cleanup_expired_sessions", place, [select])
        return _lives(rows)

    async def reset_fence(self, session_id: str) -> None:
        check_id(session_id, "session_id")
        await self._batches.repeatable("reset_fence", session_id, [Statement(session_sql.RESET_FENCE, (session_id,))])

    def _deletion_guard(
        self,
        session_id: str,
        expected_version: int | None,
        fencing_token: FencingToken,
        commit_id: str | None,
        *,
        usage: bool,
    ) -> Guard:
        check_flag(usage, "delete_usage")
        guard = self._guard("delete_session", session_id, fencing_token, commit_id, usage)
        return replace(guard, must_exist=False, version=expected(expected_version))

    async def _delete(
        self, guard: Guard, *, usage: bool, remember: bool, left_streams: str | None, gone: Sequence[str] = ()
    ) -> tuple[bool, Mapping[str, StreamMark | None]]:
        """Delete in one batch. Without `left_streams` each session leaves its own stream.

        Args:
            guard: the conditions.
            usage: also delete the usage of the sessions.
            remember: keep a note of the deletion even if there is no session.
            left_streams: the streams that are deleted next, with their marks, and the lives of their sessions, as JSON. The streams of
                other sessions are deleted too.
            gone: the sessions that the deletion met and that others have deleted since. Those that are not there again lose their usage.

        Returns:
            Whether there was a session, and the streams that it leaves. A deletion that is not remembered leaves none.
        """
        parameters: tuple[SqlValue, ...] = (guard.session_id, None, 0)
        kept = (
            guard.commit_id,
            guard.request,
            self._now_ms(),
            int(remember),
            left_streams,
            int(left_streams is None),
            int(bool(gone)),
            MOST_LEFT,
        )
        remembering = Statement(deletion_sql.REMEMBER_DELETION, (*parameters, *kept))
        first, results = await self._batches.guarded(
            guard,
            [
                Statement(deletion_sql.REMOTE_SUB_SESSIONS, parameters),
                *(self._accounts.delete_of_gone(json.dumps(gone, ensure_ascii=False)) if gone else []),
                *self._deletion(parameters, remembering, usage=usage),
            ],
        )
        if first is not None:
            return bool(first.result), {} if left_streams is None else await self._left_streams(guard.session_id)
        self._report(guard.session_id, _tree([], [], results[0]))
        remembered = results[-1 - len(_DELETES)]
        left = [text for session_id, text in remembered if session_id == guard.session_id and text is not None]
        rows = [[*each, None][:2] for text in left for each in json.loads(cast("str", text))]
        return bool(results[-1] or gone), _marked(rows)

    def _deletion(self, parameters: tuple[SqlValue, ...], remembering: Statement, *, usage: bool) -> list[Statement]:
        """Return the statements that delete a session's tree, or the expired sessions. The last one returns the deleted ids.

        The usage goes first: it finds lost descendants by the names that `remembering` replaces.
        """
        first = self._accounts.delete(parameters) if usage else []
        return [*first, remembering, *(Statement(sql, parameters) for sql in _DELETES)]

    def _report(self, session_id: str, tree: SessionTree) -> None:
        if tree.remote_sub_session_ids:
            remote = list(tree.remote_sub_session_ids)
            self._logger.info("delete_session of %r left remote sub-sessions alone: %r", session_id, remote)


def _no_session(session_id: str) -> Condition:
    """Return the condition that the id has no session."""
    return Condition(
        statement=Statement(deletion_sql.NO_SESSION, (session_id,)), errors={"life": lambda _: DeletedMeanwhileError()}
    )


def _tree(sessions: list[Row], streams: list[Row], remote: list[Row]) -> SessionTree:
    return SessionTree(
        session_ids=tuple(cast("str", row[0]) for row in sessions),
        stream_ids=tuple(_marked(streams)),
        remote_sub_session_ids=tuple(cast("str", row[0]) for row in remote),
    )


def _marked(rows: Iterable[Sequence[Any]]) -> dict[str, StreamMark | None]:
    """Return the streams of rows (stream id, mark or None, …).

    The first row of a stream counts. A name that no stream can have is left out.
    """
    streams: dict[str, StreamMark | None] = {}
    for stream_id, mark, *_ in rows:
        with suppress(TypeError, InvalidArgumentError):
            name = check_id(stream_id, "stream_id")
            facts = json.loads(mark) if isinstance(mark, str) else mark
            streams.setdefault(name, None if facts is None else StreamMark(*facts))
    return streams


def _lives(rows: Sequence[Row]) -> dict[str, frozenset[str]]:
    """Return the streams of rows (stream id, mark or None, life or None), each with the lives of its sessions."""
    return {
        stream_id: frozenset(cast("str", row[2]) for row in rows if row[0] == stream_id and row[2] is not None)
        for stream_id in _marked(rows)
    }
