"""Messages: read by page, added at the end, removed from the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, check_flag, check_id, check_whole_number
from agents_store_cloudflare.contract.errors import CheckpointKeptError, InvalidArgumentError
from agents_store_cloudflare.contract.state.records import AgentState, Message, MessagePage
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.state import checkpoint_sql, codec, message_sql
from agents_store_cloudflare.state.calls import MAX_PAGE, StateCalls, expected, new_epoch
from agents_store_cloudflare.state.guard import Condition, Guard
from agents_store_cloudflare.state.numbering import MAX_MESSAGES

__all__ = ["MessageCalls"]


class MessageCalls(StateCalls):
    """The calls of `StateStore` on messages."""

    async def get_messages(
        self, session_id: str, *, offset: int = 0, limit: int = 50, include_thinking: bool = True
    ) -> MessagePage:
        """`StateStore.get_messages`."""
        check_id(session_id, "session_id")
        check_whole_number(offset, "offset", high=MAX_MESSAGES)
        check_whole_number(limit, "limit", low=1, high=MAX_PAGE)
        check_flag(include_thinking, "include_thinking")
        counts, blocks = await self._batches.read(
            [
                Statement(message_sql.SELECT_MESSAGE_COUNT, (session_id,)),
                Statement(message_sql.BLOCKS_FROM, (session_id, offset, limit, None)),
            ]
        )
        total = cast("int", counts[0][0]) if counts else 0
        messages = codec.messages_of(blocks, offset, min(offset + limit, total))
        if not include_thinking:
            messages = [codec.without_thinking(message) for message in messages]
        return MessagePage(messages=messages, total=total, has_more=offset + len(messages) < total)

    async def append_messages(
        self,
        session: str | AgentState,
        messages: Iterable[Message | Mapping[str, object]],
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> int:
        """`StateStore.append_messages`."""
        state = session if isinstance(session, AgentState) else None
        session_id = state.session_id if state else cast("str", session)
        added = codec.message_list(messages)
        if state is not None and codec.new_messages(state):
            raise InvalidArgumentError(
                f"the state of session {state.session_id!r} holds messages that are not stored yet; save it instead"
            )
        if not added:
            raise InvalidArgumentError("append_messages needs at least one message")
        blocks = self._blocks(added, session_id, "append_messages")
        bodies = [block.body for block in blocks]
        guard = self._guard("append_messages", session_id, fencing_token, commit_id, bodies)
        guard = replace(guard, new_messages=len(added))
        update = Statement(message_sql.APPEND_MESSAGES, (*self._commit(guard), len(added)))
        appends = [
            Statement(
                message_sql.APPEND_BLOCK,
                (session_id, len(added) - block.first_sequence, block.count, block.body),
            )
            for block in blocks
        ]
        commit, _ = await self._batches.write(guard, [update, *appends])
        if state is not None:
            # What was sent, whatever the caller's messages have become since.
            sent = codec.messages_of([[block.first_sequence, block.body] for block in blocks], 0, len(added))
            codec.take_up(state, sent, commit)
        return commit.message_count_before

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
        """`StateStore.truncate_messages`."""
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
        """`StateStore.replace_messages`."""
        check_whole_number(expected_version, "expected_version")
        all_messages = codec.message_list(messages)
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

    def _blocks(self, messages: codec.Messages, session_id: str, operation: str) -> list[codec.Block]:
        check_id(session_id, "session_id")
        return list(codec.blocks_of(messages, 0, self._limits.max_message_bytes, session_id, operation))


def _keeping_checkpoints(guard: Guard, count: int, *, drop: bool) -> tuple[Guard, list[Statement]]:
    """The condition that no checkpoint counts more than `count` messages, or the statement that drops such checkpoints."""
    if drop:
        return guard, [Statement(checkpoint_sql.DELETE_COUNTING_MORE, (guard.session_id, count))]
    condition = Condition(
        statement=Statement(message_sql.NO_CHECKPOINT_ABOVE, (guard.session_id, count)),
        errors={
            "kept": lambda facts: CheckpointKeptError(
                guard.session_id, count=count, kept=facts.get("message_count", count + 1)
            )
        },
    )
    return replace(guard, conditions=(condition,)), []
