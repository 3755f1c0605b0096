"""The contract of a state store, part three: messages are read by page, added at the end, dropped or replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken
from agents_store_cloudflare.contract.state.records import AgentState, Message, MessagePage

__all__ = ["MessageStore"]


class MessageStore(Protocol):
    """The part of a `StateStore` that reads and changes a session's messages."""

    async def get_messages(
        self, session_id: str, *, offset: int = 0, limit: int = 50, include_thinking: bool = True
    ) -> MessagePage:
        """Return a page of messages in their order; an empty page when there is no such session.

        Args:
            session_id: the session.
            offset: the sequence of the first message. Sequences are 0, 1, 2 … without gaps.
            limit: the most messages, 1 to 1,000.
            include_thinking: False leaves out the `thinking` key of each message.

        Returns:
            The messages, how many are stored in all, and whether more follow.

        Raises:
            InvalidArgumentError: `offset` or `limit` is out of range.

        Cost: 1 D1 batch (0-5 rows read).
        """
        ...

    async def append_messages(
        self,
        session: str | AgentState,
        messages: Iterable[Message | Mapping[str, object]],
        *,
        create: str | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> int:
        """Add messages after all stored ones. Nothing is lost when several callers append at once.

        Args:
            session: the session's id, or the state as it was loaded. A state gets the messages and the new version, unless somebody
                else wrote since it was loaded: then it stays as stale as it was.
            messages: at least one.
            create: the agent type of the session that this call makes when there is none. A stored session keeps its own.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again adds nothing.

        Returns:
            The sequence of the first added message.

        Raises:
            StateNotFoundError: there is no such session, and `create` is None.
            InvalidArgumentError: there are no messages, the state holds messages that are not stored yet, or `create` stands
                beside a state.
            StateSizeExceededError: a message is larger than the store's limits.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (9-11 rows read, 2-5 written).
        """
        ...

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
        """Remove the last messages and return them, the oldest first. No other call gets the same messages.

        Messages of over 4,000 bytes together cost one more round trip, and a commit does not keep them: a repetition by another call
        raises `D1StateError`.

        Args:
            session_id: the session.
            count: how many messages to remove, 1 to 1,000. All are removed when fewer are stored.
            expected_version: change the session only at this version; None changes it at any.
            drop_checkpoints: delete the checkpoints that count a removed message.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again returns the same messages.

        Returns:
            The removed messages.

        Raises:
            StaleStateError: the session has another version than `expected_version`; or the messages have over 4,000 bytes, and
                others wrote at each of 30 attempts.
            CheckpointKeptError: a checkpoint counts a removed message, and `drop_checkpoints` is False.
            StateNotFoundError: there is no such session.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (145-180 rows read, 2 written).
        """
        ...

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
        """Keep the first messages of a session and drop the later ones.

        Args:
            session_id: the session.
            count: how many messages stay. Nothing changes when no more are stored.
            expected_version: change the session only at this version; None changes it at any.
            drop_checkpoints: delete the checkpoints that count dropped messages.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.

        Returns:
            The version: a new one when messages were dropped.

        Raises:
            StaleStateError: the session has another version than `expected_version`.
            CheckpointKeptError: a checkpoint counts dropped messages, and `drop_checkpoints` is False.
            StateNotFoundError: there is no such session.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (176 rows read, 3 written).
        """
        ...

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
        """Put other messages in the place of all stored ones.

        Args:
            session_id: the session.
            messages: the new messages; there may be none.
            expected_version: replace the messages only at this version.
            drop_checkpoints: delete the checkpoints that count messages.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.

        Returns:
            The new version.

        Raises:
            StaleStateError: the session has another version.
            CheckpointKeptError: a checkpoint counts messages, and `drop_checkpoints` is False.
            StateNotFoundError: there is no such session.
            StateSizeExceededError: a message is larger than the store's limits.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (15 rows read, 3 written).
        """
        ...
