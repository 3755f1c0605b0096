"""`D1StateStore`: sessions, messages and checkpoints in D1, one batch a call."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, cast, overload

from agents_store_cloudflare.arguments import (
    MAX_SAFE_INTEGER,
    check_fencing_token,
    check_id,
    check_text,
    check_whole_number,
    system_now_ms,
)
from agents_store_cloudflare.bindings import as_database
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.errors import D1StateError, InvalidArgumentError, StateNotFoundError
from agents_store_cloudflare.protocols import AnyVersion, Lock
from agents_store_cloudflare.records import AgentState, Checkpoint, MessagePage
from agents_store_cloudflare.state import codec, sql
from agents_store_cloudflare.state.batches import StateBatches
from agents_store_cloudflare.state.deletion import deletion
from agents_store_cloudflare.state.guard import Guard
from agents_store_cloudflare.state.options import StoreLimits

__all__ = ["D1StateStore"]

MAX_PAGE = 1_000


class D1StateStore:
    """`StateStore` on D1: what each call promises stands there.

    Args:
        database: a D1 binding or session, raw or as the Workers SDK wraps it, or a `Database` (`testing.SqliteDatabase`).
        limits: sizes above which a write is refused.
        require_fencing: refuse every write that brings no fencing token.
        now_ms: the clock, in milliseconds since 1970.
    """

    def __init__(
        self,
        database: object,
        *,
        logger: logging.Logger | None = None,
        limits: StoreLimits | None = None,
        require_fencing: bool = False,
        now_ms: Callable[[], int] = system_now_ms,
    ) -> None:
        self._batches = StateBatches(
            as_database(database), logger or logging.getLogger("agents_store_cloudflare.state")
        )
        self._limits = limits or StoreLimits()
        self._require_fencing = require_fencing
        self._now_ms = now_ms

    async def save_state(
        self,
        session_id: str,
        state: AgentState | Mapping[str, object],
        *,
        expected_version: int | AnyVersion | None = None,
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> int:
        """`StateStore.save_state`."""
        saved = _state_for(session_id, state)
        guard = self._save_guard("save_state", saved, expected_version, fencing_token, commit_id)
        commit, _ = await self._batches.write(guard, self._save_statements(saved, guard))
        codec.bring_up_to_date(saved, commit)
        return commit.version

    async def save(
        self,
        state: AgentState | Mapping[str, object],
        *,
        expected_version: int | AnyVersion | None = None,
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> int:
        """`save_state` under the state's own session id."""
        saved = state if isinstance(state, AgentState) else AgentState.from_dict(state)
        return await self.save_state(
            saved.session_id,
            saved,
            expected_version=expected_version,
            fencing_token=fencing_token,
            commit_id=commit_id,
        )

    @overload
    async def load_state(
        self, session_id: str, *, required: Literal[True], messages: Literal["all", "none"] | int = "all"
    ) -> AgentState: ...

    @overload
    async def load_state(
        self, session_id: str, *, required: bool = False, messages: Literal["all", "none"] | int = "all"
    ) -> AgentState | None: ...

    async def load_state(
        self, session_id: str, *, required: bool = False, messages: Literal["all", "none"] | int = "all"
    ) -> AgentState | None:
        """`StateStore.load_state`."""
        check_id(session_id, "session_id")
        wanted = _wanted_messages(messages)
        statements = [Statement(sql.SELECT_STATE, (session_id,))]
        if wanted:
            statements.append(Statement(sql.BLOCKS_FROM, (session_id, 0, wanted, wanted)))
        rows, *blocks = await self._batches.read(statements)
        if not rows:
            if required:
                raise StateNotFoundError(session_id)
            return None
        state = codec.state_of(rows[0])
        if blocks:
            codec.fill_messages(state, blocks[0], wanted)
        return state

    async def exists(self, session_id: str) -> bool:
        """`StateStore.exists`."""
        check_id(session_id, "session_id")
        [rows] = await self._batches.read([Statement(sql.SELECT_EXISTS, (session_id,))])
        return bool(rows)

    async def session_exists(self, session_id: str) -> bool:
        """The same as `exists`."""
        return await self.exists(session_id)

    async def update_status(
        self, session_id: str, status: str, *, fencing_token: int | Lock | None = None, commit_id: str | None = None
    ) -> int:
        """`StateStore.update_status`."""
        check_text(status, "status")
        guard = self._guard("update_status", session_id, fencing_token, commit_id)
        update = Statement(sql.UPDATE_STATUS, (session_id, self._now_ms(), guard.commit_id, status))
        commit, _ = await self._batches.write(guard, [update])
        return commit.version

    async def get_messages(
        self, session_id: str, *, offset: int = 0, limit: int = 50, include_thinking: bool = True
    ) -> MessagePage:
        """`StateStore.get_messages`."""
        check_id(session_id, "session_id")
        check_whole_number(offset, "offset", high=codec.MAX_MESSAGES)
        check_whole_number(limit, "limit", low=1, high=MAX_PAGE)
        counts, blocks = await self._batches.read(
            [
                Statement(sql.SELECT_MESSAGE_COUNT, (session_id,)),
                Statement(sql.BLOCKS_FROM, (session_id, offset, limit, None)),
            ]
        )
        total = cast("int", counts[0][0]) if counts else 0
        messages = codec.messages_of(blocks, offset, min(offset + limit, total))
        if not include_thinking:
            messages = [codec.without_thinking(message) for message in messages]
        return MessagePage(messages=messages, total=total, has_more=offset + len(messages) < total)

    async def save_checkpoint(
        self,
        session_id: str,
        state: AgentState | Mapping[str, object] | None = None,
        *,
        run_id: str | None = None,
        stream_sequence: int | None = None,
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> Checkpoint:
        """`StateStore.save_checkpoint`. The result's `state` is None: the caller has it, `get_latest_checkpoint` gives it back."""
        if run_id is not None:
            check_id(run_id, "run_id")
        if stream_sequence is not None:
            check_whole_number(stream_sequence, "stream_sequence")
        saved = None if state is None else _state_for(session_id, state)
        if saved is None:
            guard = replace(self._guard("save_checkpoint", session_id, fencing_token, commit_id), new_checkpoints=1)
            before = [Statement(sql.TOUCH_CHECKPOINTS, (session_id, self._now_ms(), guard.commit_id))]
        else:
            save_guard = self._save_guard("save_checkpoint", saved, None, fencing_token, commit_id)
            guard = replace(save_guard, new_checkpoints=1)
            before = self._save_statements(saved, guard)
        insert = Statement(sql.INSERT_CHECKPOINT, (session_id, self._now_ms(), run_id, stream_sequence))
        commit, results = await self._batches.write(
            guard, [*before, insert, Statement(sql.NEWEST_CHECKPOINT, (session_id,))]
        )
        if saved is not None:
            codec.bring_up_to_date(saved, commit)
        if not results:  # answered from an earlier attempt
            numbered = Statement(sql.NUMBERED_CHECKPOINT, (session_id, commit.checkpoint_number))
            results = await self._batches.read([numbered])
            if not results[-1]:
                raise D1StateError(
                    f"checkpoint {commit.checkpoint_number} of session {session_id!r} is not there any more"
                )
        return codec.bare_checkpoint_of(session_id, results[-1][0])

    async def get_latest_checkpoint(self, session_id: str) -> Checkpoint | None:
        """`StateStore.get_latest_checkpoint`."""
        check_id(session_id, "session_id")
        rows, blocks = await self._batches.read(
            [
                Statement(sql.LATEST_CHECKPOINT, (session_id,)),
                Statement(sql.LATEST_CHECKPOINT_BLOCKS, (session_id,)),
            ]
        )
        return codec.checkpoint_of(rows[0], blocks) if rows else None

    async def delete_session(
        self, session_id: str, *, delete_usage: bool = False, fencing_token: int | Lock | None = None
    ) -> bool:
        """`StateStore.delete_session`."""
        guard = replace(self._guard("delete_session", session_id, fencing_token, None), must_exist=False)
        deleted = await self._batches.delete(
            session_id, [*guard.statements(), *deletion(session_id, usage=delete_usage)], guard
        )
        return bool(deleted)

    async def cleanup_expired_sessions(
        self, now: int | None = None, limit: int = 100, *, delete_usage: bool = False
    ) -> list[str]:
        """`StateStore.cleanup_expired_sessions`."""
        at_ms = self._now_ms() if now is None else check_whole_number(now, "now")
        check_whole_number(limit, "limit", low=1, high=MAX_PAGE)
        return await self._batches.delete("*", deletion(None, expired_at=at_ms, limit=limit, usage=delete_usage))

    def _guard(self, operation: str, session_id: str, fencing_token: int | Lock | None, commit_id: str | None) -> Guard:
        """The guard of a write to a session that must exist."""
        return Guard(
            session_id=check_id(session_id, "session_id"),
            commit_id=uuid.uuid4().hex if commit_id is None else check_id(commit_id, "commit_id"),
            operation=operation,
            token=self._token(fencing_token),
            must_exist=True,
        )

    def _save_guard(
        self,
        operation: str,
        state: AgentState,
        expected_version: int | AnyVersion | None,
        fencing_token: int | Lock | None,
        commit_id: str | None,
    ) -> Guard:
        """The guard of a save: the version, where the histories meet, a parent that stays."""
        if expected_version is None:
            version: int | None = state.version
        elif isinstance(expected_version, AnyVersion):
            version = None
        else:
            version = check_whole_number(expected_version, "expected_version")
        codec.check_state(state)
        return replace(
            self._guard(operation, state.session_id, fencing_token, commit_id),
            must_exist=False,
            version=version,
            history=codec.history_of(state),
            parent=state.parent_session_id,
            compare_parent=True,
            new_messages=len(codec.new_messages(state)),
        )

    def _token(self, fencing_token: int | Lock | None) -> int | None:
        token = check_fencing_token(fencing_token)
        if token is None and self._require_fencing:
            raise InvalidArgumentError("this store requires a fencing_token with every write; pass the lock")
        return token

    def _save_statements(self, state: AgentState, guard: Guard) -> list[Statement]:
        """The state row and the blocks of its new messages."""
        # The guard has checked and counted them: reading the whole history once more would cost every save.
        tail = state.messages[len(state.messages) - guard.new_messages :]
        columns = codec.columns_of(state, self._limits.max_state_bytes, guard.operation)
        blocks = codec.blocks_of(
            tail, codec.history_of(state).count, self._limits.max_message_bytes, state.session_id, guard.operation
        )
        first = (
            state.session_id,
            self._now_ms(),
            guard.commit_id,
            guard.operation,
            guard.new_messages,
            guard.new_checkpoints,
        )
        epoch = random.randrange(1, MAX_SAFE_INTEGER)  # noqa: S311 - an identity, no secret
        return [
            Statement(sql.UPSERT_STATE, (*first, *columns, epoch)),
            *(
                Statement(sql.INSERT_BLOCK, (state.session_id, block.first_sequence, block.count, block.body))
                for block in blocks
            ),
        ]


def _state_for(session_id: str, state: AgentState | Mapping[str, object]) -> AgentState:
    check_id(session_id, "session_id")
    record = state if isinstance(state, AgentState) else AgentState.from_dict(state)
    if record.session_id != session_id:
        raise InvalidArgumentError(f"the state is of session {record.session_id!r}, not {session_id!r}")
    return record


def _wanted_messages(messages: Literal["all", "none"] | int) -> int:
    if messages == "all":
        return codec.MAX_MESSAGES
    if messages == "none":
        return 0
    return check_whole_number(messages, "messages", high=codec.MAX_MESSAGES)
