"""Messages: they are read by page, added at the end, removed at the end, and replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from agents_store_cloudflare.contract.arguments import (
    MAX_LABEL_BYTES,
    UNSET,
    FencingToken,
    check_flag,
    check_id,
    check_text,
    check_whole_number,
)
from agents_store_cloudflare.contract.errors import (
    CheckpointKeptError,
    D1StateError,
    InvalidArgumentError,
    StaleStateError,
    StateNotFoundError,
)
from agents_store_cloudflare.contract.state.messages import MessageStore
from agents_store_cloudflare.contract.state.records import AgentState, Message, MessagePage
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.state import checkpoint_sql, codec, message_sql
from agents_store_cloudflare.state.blocks import (
    Block,
    Messages,
    blocks_of,
    message_list,
    messages_of,
    stored_messages,
    without_thinking,
)
from agents_store_cloudflare.state.calls import MAX_PAGE, StateCalls, expected, new_epoch
from agents_store_cloudflare.state.contention import MOST_ATTEMPTS, pause_after_conflict
from agents_store_cloudflare.state.damage import damaged
from agents_store_cloudflare.state.guard import Commit, Condition, Guard
from agents_store_cloudflare.state.history import history_of, new_messages, take_up
from agents_store_cloudflare.state.numbering import MAX_MESSAGES
from agents_store_cloudflare.state.session_sql import SELECT_STATE
from agents_store_cloudflare.state.stored_text import stored_text
from agents_store_cloudflare.state.turn_sql import CREATE_SESSION

__all__ = ["MessageCalls"]

MOST_KEPT_BYTES = 4_000
"""The most bytes of popped messages that a commit keeps for a repetition. With over 60,000 bytes of commits, a state row keeps two."""


class MessageCalls(StateCalls, MessageStore):
    """The calls about messages: `MessageStore` on D1."""

    async def get_messages(
        self, session_id: str, *, offset: int = 0, limit: int = 50, include_thinking: bool = True
    ) -> MessagePage:
        check_id(session_id, "session_id")
        check_whole_number(offset, "offset", high=MAX_MESSAGES)
        check_whole_number(limit, "limit", low=1, high=MAX_PAGE)
        check_flag(include_thinking, "include_thinking")
        counts, blocks = await self._batches.show(
            [
                Statement(message_sql.SELECT_MESSAGE_COUNT, (session_id,)),
                Statement(message_sql.BLOCKS_FROM, (session_id, offset, limit, None)),
            ]
        )
        total = counts[0][0] if counts else 0
        if not isinstance(total, int) or not 0 <= total <= MAX_MESSAGES:
            raise damaged(f"session {session_id!r}", ValueError("its number of messages"))
        messages = stored_messages(session_id, blocks, offset, min(offset + limit, total))
        if not include_thinking:
            messages = [without_thinking(message) for message in messages]
        return MessagePage(messages=messages, total=total, has_more=offset + len(messages) < total)

    async def append_messages(
        self,
        session: str | AgentState,
        messages: Iterable[Message | Mapping[str, object]],
        *,
        create: str | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> int:
        state = session if isinstance(session, AgentState) else None
        session_id = state.session_id if state else cast("str", session)
        added = message_list(messages)
        if state is not None and new_messages(state):
            raise InvalidArgumentError(
                f"the state of session {state.session_id!r} holds messages that are not stored yet; save it instead"
            )
        if state is not None and create is not None:
            raise InvalidArgumentError("create goes with a session id; a loaded state belongs to a session already")
        if not added:
            raise InvalidArgumentError("append_messages needs at least one message")
        blocks = self._blocks(added, session_id, "append_messages")
        guard = self._append_guard(session_id, blocks, create, fencing_token, commit_id)
        commit = await self._append(guard, blocks, create)
        if state is not None:
            # These are the messages that were sent. The caller's objects may have changed since.
            sent = messages_of([[block.first_sequence, block.body] for block in blocks], 0, len(added))
            take_up(state, sent, commit)
        return commit.message_count_before

    async def append_after(
        self,
        session_id: str,
        messages: Sequence[Mapping[str, object]],
        *,
        history_epoch: int | None,
        create: str,
        fencing_token: FencingToken,
        commit_id: str,
    ) -> int:
        """Append messages for an adapter whose decision depends on the history that it read. Return the epoch of the history.

        Args:
            history_epoch: the epoch of that history, 0 for a session that does not exist; None appends to any history.

        Raises:
            StaleStateError: messages of that history were removed since (`reason` is "history").
        """
        blocks = self._blocks(messages, session_id, "append_messages")
        guard = self._append_guard(session_id, blocks, create, fencing_token, commit_id)
        if history_epoch is not None:
            guard = replace(guard, conditions=(_same_history(session_id, history_epoch),))
        return (await self._append(guard, blocks, create)).history_epoch

    def _append_guard(
        self,
        session_id: str,
        blocks: Sequence[Block],
        create: str | None,
        fencing_token: FencingToken,
        commit_id: str | None,
    ) -> Guard:
        bodies = [block.body for block in blocks]
        guard = self._guard("append_messages", session_id, fencing_token, commit_id, bodies, create)
        return replace(guard, new_messages=sum(block.count for block in blocks), must_exist=create is None)

    async def _append(self, guard: Guard, blocks: Sequence[Block], create: str | None) -> Commit:
        session_id, count = guard.session_id, guard.new_messages
        creates = [] if create is None else [self._creating(session_id, create)]
        update = Statement(message_sql.APPEND_MESSAGES, (*self._commit(guard), count))
        appends = [
            Statement(
                message_sql.APPEND_BLOCK,
                (session_id, count - block.first_sequence, block.count, block.body),
            )
            for block in blocks
        ]
        first, results = await self._batches.guarded(guard, [*creates, update, *appends])
        return first or Commit.from_text(cast("str", results[len(creates)][0][0]))

    async def pop_messages(
        self,
        session_id: str,
        count: int = 1,
        *,
        expected_version: int | None = None,
        drop_checkpoints: bool = False,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> list[Message]:
        check_whole_number(count, "count", low=1, high=MAX_PAGE)
        request = (count, check_flag(drop_checkpoints, "drop_checkpoints"))
        guard = self._guard("pop_messages", session_id, fencing_token, commit_id, *request)
        guard = replace(guard, version=expected(expected_version))
        try:
            commit = await self._pop(_keeping_tail(guard, count), count, drop=drop_checkpoints)
        except _LongTailError:
            return await self._pop_what_was_read(guard, count, drop=drop_checkpoints)
        return _popped(guard, commit)

    async def _pop(self, guard: Guard, count: int, *, drop: bool, result: str | None = None) -> Commit:
        """Remove the last messages in one batch. Without a `result`, the commit keeps their texts."""
        guard, drops = _popping_no_checkpoint(guard, count, drop=drop)
        statements = [
            Statement(message_sql.POP_MESSAGES, (*self._commit(guard, result), count, new_epoch())),
            Statement(message_sql.DELETE_LATER_BLOCKS, (guard.session_id, None)),
            Statement(message_sql.CUT_LAST_BLOCK, (guard.session_id,)),
        ]
        commit, _ = await self._batches.write(guard, [*statements, *drops])
        return commit

    async def _pop_what_was_read(self, guard: Guard, count: int, *, drop: bool) -> list[Message]:
        """Pop messages that are too long for the commit: read them, then remove them if nobody else wrote in between."""
        for attempt in range(1, MOST_ATTEMPTS + 1):
            rows, blocks = await self._batches.read(
                [
                    Statement(SELECT_STATE, (guard.session_id,)),
                    Statement(message_sql.BLOCKS_FROM, (guard.session_id, 0, count, count)),
                ]
            )
            if not rows:
                raise StateNotFoundError(guard.session_id)
            history = history_of(codec.state_of(rows[0]))
            messages = stored_messages(guard.session_id, blocks, max(history.count - count, 0), history.count)
            try:
                await self._pop(replace(guard, history=history), count, drop=drop, result=str(len(messages)))
            except StaleStateError as error:
                if attempt == MOST_ATTEMPTS or error.reason == "version":
                    raise
                await pause_after_conflict(attempt)
            else:
                return messages
        raise AssertionError("the last attempt returns or raises")

    async def truncate_messages(
        self,
        session_id: str,
        count: int,
        *,
        expected_version: int | None = None,
        drop_checkpoints: bool = False,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> int:
        check_whole_number(count, "count", high=MAX_MESSAGES)
        request = (count, check_flag(drop_checkpoints, "drop_checkpoints"))
        guard = self._guard("truncate_messages", session_id, fencing_token, commit_id, *request)
        guard = replace(guard, version=expected(expected_version))
        guard, drops = _keeping_checkpoints(guard, count, drop=drop_checkpoints)
        statements = [
            Statement(message_sql.TRUNCATE_MESSAGES, (*self._commit(guard), count, new_epoch())),
            Statement(message_sql.DELETE_LATER_BLOCKS, (session_id, None)),
            Statement(message_sql.CUT_LAST_BLOCK, (session_id,)),
        ]
        commit, _ = await self._batches.write(guard, [*statements, *drops])
        return commit.version

    async def replace_messages(
        self,
        session_id: str,
        messages: Iterable[Message | Mapping[str, object]],
        *,
        expected_version: int,
        drop_checkpoints: bool = False,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> int:
        check_whole_number(expected_version, "expected_version")
        all_messages = message_list(messages)
        check_whole_number(len(all_messages), "the number of messages", high=MAX_MESSAGES)
        blocks = self._blocks(all_messages, session_id, "replace_messages")
        request = ([block.body for block in blocks], check_flag(drop_checkpoints, "drop_checkpoints"))
        guard = self._guard("replace_messages", session_id, fencing_token, commit_id, *request)
        guard = replace(guard, version=expected_version)
        guard, drops = _keeping_checkpoints(guard, 0, drop=drop_checkpoints)
        statements = [
            Statement(message_sql.REPLACE_MESSAGES, (*self._commit(guard), len(all_messages), new_epoch())),
            Statement(message_sql.DELETE_LATER_BLOCKS, (session_id, 0)),
            *(
                Statement(message_sql.INSERT_BLOCK, (session_id, block.first_sequence, block.count, block.body))
                for block in blocks
            ),
        ]
        commit, _ = await self._batches.write(guard, [*statements, *drops])
        return commit.version

    def _creating(self, session_id: str, agent_type: str) -> Statement:
        """Return the statement that makes the session if there is none. The write after it makes it version 1."""
        label = stored_text(check_text(agent_type, "create", max_bytes=MAX_LABEL_BYTES))
        return Statement(CREATE_SESSION, (session_id, self._now_ms(), label, None, new_epoch()))

    def _blocks(self, messages: Messages, session_id: str, operation: str) -> list[Block]:
        check_id(session_id, "session_id")
        return list(blocks_of(messages, 0, self._limits.max_message_bytes, session_id, operation))


class _LongTailError(Exception):
    """The messages that a pop removes are too long for its commit. Callers do not get this error."""


def _same_history(session_id: str, epoch: int) -> Condition:
    """Return the condition that no message was removed since the history of this epoch was read."""
    return Condition(
        statement=Statement(message_sql.SAME_HISTORY, (session_id, epoch)),
        errors={
            "removed": lambda facts: StaleStateError(
                session_id, reason="history", expected=None, actual=facts.get("message_count")
            )
        },
    )


def _keeping_tail(guard: Guard, count: int) -> Guard:
    """Return the condition that the last `count` messages have room in the commit."""
    fits = Statement(message_sql.TAIL_FITS, (guard.session_id, MOST_KEPT_BYTES, count))
    condition = Condition(statement=fits, errors={"long": lambda _: _LongTailError()})
    return replace(guard, conditions=(*guard.conditions, condition))


def _popped(guard: Guard, commit: Commit) -> list[Message]:
    """Return the messages that a commit of `pop_messages` removed.

    Raises:
        D1StateError: the call is a repetition, and the messages were too long to be kept.
        StateNotFoundError: the call is a repetition, and the session was deleted since.
    """
    result = guard.living(commit).result
    if isinstance(result, int):
        raise D1StateError(
            f"pop_messages of session {guard.session_id!r} took place and removed {result} messages, "
            f"but a commit keeps at most {MOST_KEPT_BYTES:,} bytes of them",
            commit_id=guard.commit_id,
        )
    return messages_of([[0, cast("str", result)]] if result else [], 0, MAX_PAGE)


def _keeping_checkpoints(guard: Guard, count: int, *, drop: bool) -> tuple[Guard, list[Statement]]:
    """Return the condition that no checkpoint counts more than `count` messages, or the statement that drops such checkpoints."""
    if drop:
        return guard, [Statement(checkpoint_sql.DELETE_COUNTING_MORE, (guard.session_id, count))]
    return _without_checkpoints(guard, (guard.session_id, count, 0)), []


def _popping_no_checkpoint(guard: Guard, count: int, *, drop: bool) -> tuple[Guard, list[Statement]]:
    """Return the condition that no checkpoint counts one of the last `count` messages, or the statement that drops such checkpoints."""
    if drop:
        return guard, [Statement(checkpoint_sql.DELETE_COUNTING_MORE, (guard.session_id, None))]
    return _without_checkpoints(guard, (guard.session_id, count, 1)), []


def _without_checkpoints(guard: Guard, parameters: tuple[str, int, int]) -> Guard:
    condition = Condition(
        statement=Statement(message_sql.NO_CHECKPOINT_ABOVE, parameters),
        errors={
            "kept": lambda facts: CheckpointKeptError(
                guard.session_id, count=facts.get("staying", 0), kept=facts.get("message_count", 0)
            )
        },
    )
    return replace(guard, conditions=(*guard.conditions, condition))
