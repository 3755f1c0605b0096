"""The contract of a state store, part four: checkpoints are kept, read, restored, forked and pruned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, Seconds
from agents_store_cloudflare.contract.state.records import AgentState, Checkpoint, CheckpointPage

__all__ = ["CheckpointStore"]


class CheckpointStore(Protocol):
    """The part of a `StateStore` that keeps moments of a session."""

    async def save_checkpoint(
        self,
        session_id: str,
        state: AgentState | Mapping[str, object] | None = None,
        *,
        run_id: str | None = None,
        stream_sequence: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> Checkpoint:
        """Keep the session as it is stored now; with a state, save that state first, in the same transaction.

        Args:
            session_id: the session.
            state: a state to save as `save_state` does. Without it the session's version stays.
            run_id: the run that the checkpoint belongs to.
            stream_sequence: the place in the session's stream that the checkpoint belongs to.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.

        Returns:
            The checkpoint without its state; `get_checkpoint` gives it with its state.

        Raises:
            StateNotFoundError: there is no such session, and no state was given.
            StaleStateError: as `save_state` raises it.
            StateSizeExceededError: the state or a message is larger than the store's limits.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (9-17 rows read, 2-3 written).
        """
        ...

    async def get_latest_checkpoint(self, session_id: str) -> Checkpoint | None:
        """Return the newest checkpoint of the session with its state, or None when it has none.

        Args:
            session_id: the session.

        Cost: 1 D1 batch (8 rows read).
        """
        ...

    async def get_checkpoint(self, session_id: str, checkpoint_id: str) -> Checkpoint | None:
        """Return the checkpoint with its state, or None when this session does not keep it.

        Args:
            session_id: the session.
            checkpoint_id: the `id` of a checkpoint.

        Cost: 1 D1 batch (5 rows read).
        """
        ...

    async def list_checkpoints(
        self, session_id: str, *, limit: int = 20, cursor: str | None = None, include_state: bool = True
    ) -> CheckpointPage:
        """Return a page of the session's checkpoints, the newest first.

        Args:
            session_id: the session.
            limit: the most checkpoints, 1 to 100.
            cursor: the `next_cursor` of the page before.
            include_state: rebuild the state of each checkpoint, with its messages.

        Returns:
            The checkpoints, and the cursor of the next page.

        Raises:
            InvalidArgumentError: `limit` is out of range, `cursor` is not one of `list_checkpoints`, or its session is deleted.

        Cost: 1 D1 batch (7-16 rows read).
        """
        ...

    async def restore_checkpoint(
        self,
        session_id: str,
        checkpoint_id: str,
        *,
        expected_version: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> AgentState:
        """Take the session back to a checkpoint. Later messages and newer checkpoints are deleted; fork first to keep them.

        `expires_at` stays as it is now: an old deadline does not come back.

        Args:
            session_id: the session.
            checkpoint_id: the `id` of one of its checkpoints.
            expected_version: restore only at this version; None restores at any.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again changes nothing.

        Returns:
            The restored state with its messages.

        Raises:
            CheckpointNotFoundError: the session does not keep this checkpoint. It is a `StateNotFoundError`.
            StaleStateError: the session has another version than `expected_version`.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (63 rows read, 4 written).
        """
        ...

    async def fork_session(
        self,
        session_id: str,
        checkpoint_id: str,
        new_session_id: str,
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> AgentState:
        """Make a new session from a copy of a checkpoint. The two sessions share nothing, and the fork outlives its source.

        The fork has no parent. It gets the present `expires_at` of its source, or None when that time has passed.

        Args:
            session_id: the source.
            checkpoint_id: the `id` of one of its checkpoints.
            new_session_id: the id of the fork.
            fencing_token: the lock of the new session, or its token.
            commit_id: a name for this request. The same request under it again gives the fork as it is stored.

        Returns:
            The state of the fork with its messages.

        Raises:
            SessionExistsError: there is a session with the new id.
            CheckpointNotFoundError: the source does not keep this checkpoint. It is a `StateNotFoundError`.
            StaleFencingTokenError: a newer holder of the new session's lock has written.

        Cost: 1 D1 batch (58 rows read, 5 written).
        """
        ...

    async def prune_checkpoints(
        self,
        session_id: str,
        *,
        keep_last: int | None = None,
        older_than: Seconds | None = None,
        older_than_ms: float | None = None,
        expected_version: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> int:
        """Delete old checkpoints, never the newest one. At least one of `keep_last` and `older_than` is needed.

        Args:
            session_id: the session.
            keep_last: how many of the newest stay, 1 or more.
            older_than: delete only checkpoints that were kept longer ago than this (seconds or a timedelta), by the
                database's clock.
            older_than_ms: the same in milliseconds.
            expected_version: prune only at this version; None prunes at any.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.

        Returns:
            How many checkpoints were deleted.

        Raises:
            StateNotFoundError: there is no such session.
            StaleStateError: the session has another version than `expected_version`.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (110 rows read, 3 written).
        """
        ...
