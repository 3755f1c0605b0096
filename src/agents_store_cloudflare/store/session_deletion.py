"""`SessionDeletion` deletes sessions with everything that belongs to them: streams, usage and state."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken
from agents_store_cloudflare.contract.errors import StreamNotFoundError
from agents_store_cloudflare.contract.streams.records import StreamMark
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.state.deletions import ANY_SESSION, MOST_LEFT
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.usage import D1UsageStore

if TYPE_CHECKING:
    from agents_store_cloudflare.homes.database import ObjectHomes

__all__ = ["SessionDeletion"]

MANY_STREAMS = 8
"""The number of deleted streams that the deleted session's row may keep. To forget them costs a row."""

STREAM_ATTEMPTS = 3
"""The most attempts to delete a stream while somebody writes to it."""


class SessionDeletion:
    """The deletions of a store. The state is deleted first, in one transaction with the usage, and the streams are deleted after it.

    Args:
        state: decides whether a session is deleted, and remembers streams that are left.
        streams: the streams of the sessions.
        usage: the usage store, for ids without a session.
        homes: the homes of the sessions; None when the sessions are in the database.
    """

    def __init__(
        self,
        state: D1StateStore,
        streams: DurableObjectStreamManager,
        usage: D1UsageStore,
        homes: ObjectHomes | None,
    ) -> None:
        self._state = state
        self._streams = streams
        self._usage = usage
        self._homes = homes

    async def delete(
        self, session_id: str, *, expected_version: int | None, fencing_token: FencingToken, commit_id: str | None
    ) -> bool:
        """Delete a session and its descendants, as `CloudflareStore.delete_session` promises."""
        plan = await self._state.plan_deletion(
            session_id, expected_version=expected_version, fencing_token=fencing_token, commit_id=commit_id
        )
        if plan.done is not None:
            for stream_id, known in plan.streams.items():
                await self._delete_left(session_id, stream_id, known)
            await self._delete_homeless_usage(session_id, commit_id, is_deleted=plan.done)
            return plan.done
        marks = await self._marks(plan.streams, fencing_token)
        is_deleted, left = await self._state.carry_out(plan, marks)
        unmarked = [stream_id for stream_id, mark in left.items() if mark is None]
        for stream_id, mark in left.items():
            if mark is not None:
                await self._delete_stream(session_id, stream_id, mark)
        for stream_id in (*unmarked, *list(marks)[MOST_LEFT:]):
            await self._delete_left(session_id, stream_id, None)
        if len(left) > MANY_STREAMS:
            await self._state.forget_streams(session_id)
        await self._delete_homeless_usage(session_id, commit_id, is_deleted=is_deleted)
        return is_deleted

    async def delete_expired(self, now: int | None, limit: int) -> list[str]:
        """Delete expired sessions, as `CloudflareStore.cleanup_expired_sessions` promises. Return the ids that are deleted."""
        known = await self._state.find_expired_streams(now, limit)
        marks = await self._marks(dict.fromkeys(known), UNSET)
        trees = await self._state.cleanup_expired_trees(now, limit, delete_usage=True)
        for stream_id, lives in trees.streams.items():
            # A session that was made after the marks has a life of its own.
            if not lives <= known.get(stream_id, frozenset()):
                await self._delete_left(ANY_SESSION, stream_id, None)
            elif stream_id in marks:
                await self._delete_stream(ANY_SESSION, stream_id, marks[stream_id])
        return list(trees.session_ids)

    async def _delete_homeless_usage(self, session_id: str, commit_id: str | None, *, is_deleted: bool) -> None:
        """With homes: tell D1 about the deletion now, and delete the usage of an id that has no session.

        The home itself tells D1 to delete the usage of its session, before it tells D1 the usage of a later session of the same id.
        So this method deletes usage by id only when there was no session and there is none now.
        """
        if self._homes is None:
            return
        if is_deleted:
            await self._homes.drain(session_id)
        elif not await self._state.exists(session_id):
            name = None if commit_id is None else uuid.uuid5(uuid.NAMESPACE_OID, f"delete_session {commit_id}").hex
            await self._usage.delete(session_id, commit_id=name)

    async def _marks(
        self, streams: Mapping[str, StreamMark | None], fencing_token: FencingToken
    ) -> dict[str, StreamMark]:
        """Return the marks of the existing streams: the known mark, or a mark of the present state. The streams keep the token."""
        found: dict[str, StreamMark] = {}
        for stream_id, known in streams.items():
            mark = known or await self._streams.mark_stream(stream_id, fencing_token=fencing_token)
            if mark is not None:
                found[stream_id] = mark
        return found

    async def _delete_left(self, session_id: str, stream_id: str, known: StreamMark | None) -> None:
        """Delete a stream that an earlier deletion has left. If another session uses it by now, only the older chunks are deleted."""
        mark = known or await self._streams.mark_stream(stream_id)
        if mark is None:
            return
        if not await self._state.is_stream_used(session_id, stream_id):
            await self._delete_stream(session_id, stream_id, mark)
        elif known is not None:
            await self._drop_chunks(stream_id, known)

    async def _delete_stream(self, session_id: str, stream_id: str, mark: StreamMark) -> None:
        """Delete a marked stream. If a new session uses it by now, delete only the chunks up to the mark."""
        seen = mark
        for _ in range(STREAM_ATTEMPTS):
            now = await self._streams.delete_marked_stream(stream_id, seen)
            if now is None or now.life != mark.life:
                return
            if await self._state.is_stream_used(session_id, stream_id):
                break
            seen = now  # the deleted session's own writer is still at work
        await self._drop_chunks(stream_id, mark)

    async def _drop_chunks(self, stream_id: str, mark: StreamMark) -> None:
        with suppress(StreamNotFoundError):
            await self._streams.truncate_stream(stream_id, mark.last_sequence + 1)
