"""The contract of a state store, part five: changes of the custom state are staged, promoted, discarded or merged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.contract.state.marks import AnyVersion
from agents_store_cloudflare.contract.state.records import (
    AgentState,
    MergeChanges,
    MergeResult,
    PromoteResult,
    StagedChange,
)

__all__ = ["StagingStore"]


class StagingStore(Protocol):
    """The part of a `StateStore` that changes the custom state piece by piece."""

    async def merge_custom_state(
        self,
        session_id: str,
        changes: MergeChanges | Mapping[str, JsonValue],
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> MergeResult:
        """Merge values into the custom state. All merges that run at once end up in it.

        A list is appended to a stored list. Any other value replaces the stored one under its key, and so does a list whose key is in
        `array_replacements`. The call reads, then writes if nobody else wrote; it tries up to 30 times, with growing random pauses.

        Args:
            session_id: the session.
            changes: a `MergeChanges`, or a mapping of values by top-level key.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.

        Returns:
            The new version, and warnings for a person to read.

        Raises:
            StateNotFoundError: there is no such session.
            StaleStateError: somebody else wrote in between at every attempt.
            StateSizeExceededError: the merged state is larger than the store's limit.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 2 D1 batches (9 rows read, 1 written).
        """
        ...

    async def stage_changes(
        self,
        session_id: str,
        step_id: str,
        change: StagedChange | Mapping[str, object],
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> StagedChange:
        """Keep the change that a tool call wants to make, until its step is promoted. The session's version stays.

        Args:
            session_id: the session.
            step_id: the step that the tool call belongs to.
            change: the change. It replaces the change that the same tool call staged in this step before.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.

        Returns:
            The staged change with its timestamp in milliseconds.

        Raises:
            StateNotFoundError: there is no such session.
            StateSizeExceededError: the change is larger than the store's limit.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (4 rows read, 2 written).
        """
        ...

    async def get_staged_changes(self, session_id: str, step_id: str | None = None) -> list[StagedChange]:
        """Return the staged changes of a step in the order of their promotion: by timestamp, then as they were staged.

        Args:
            session_id: the session.
            step_id: the step; None gives the changes of all steps.

        Cost: 1 D1 batch (11 rows read).
        """
        ...

    async def promote_staging(
        self, session_id: str, step_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> PromoteResult:
        """Apply the step's staged changes to the custom state, in order, all or none, and delete them.

        The call reads, then writes if nobody else wrote; it tries up to 30 times, with growing random pauses. When nothing is staged,
        nothing changes, and the version stays.

        Args:
            session_id: the session.
            step_id: the step.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.

        Returns:
            The version, the ids of the applied tool calls in order, and warnings for a person to read.

        Raises:
            StagingError: a change cannot be applied; `tool_call_id` names it. Nothing was changed.
            StateNotFoundError: there is no such session.
            StaleStateError: somebody else wrote in between at every attempt.
            StateSizeExceededError: the new custom state is larger than the store's limit.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 2 D1 batches (14-51 rows read, 0-6 written).
        """
        ...

    async def discard_staging(
        self,
        session_id: str,
        step_id: str,
        *,
        expected_version: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> int:
        """Delete the step's staged changes without applying them.

        Args:
            session_id: the session.
            step_id: the step.
            expected_version: discard only at this version; None discards at any.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.

        Returns:
            How many changes were deleted.

        Raises:
            StateNotFoundError: there is no such session.
            StaleStateError: the session has another version than `expected_version`.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (7 rows read, 2 written).
        """
        ...

    async def save_state_and_promote_staging(
        self,
        session_id: str,
        state: AgentState | Mapping[str, object],
        *,
        step_id: str,
        checkpoint: bool = True,
        run_id: str | None = None,
        stream_sequence: int | None = None,
        expected_version: int | AnyVersion | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> PromoteResult:
        """Save a state, apply the step's staged changes to it, and keep a checkpoint of the result, in one transaction after one
        read.

        The state that was passed gets the new custom state and the new version.

        Args:
            session_id: the session; the same id as `state.session_id`.
            state: a loaded state that was changed, or a new one.
            step_id: the step whose changes are promoted.
            checkpoint: keep a checkpoint.
            run_id: the run that the checkpoint belongs to.
            stream_sequence: the place in the session's stream that the checkpoint belongs to.
            expected_version: as for `save_state`.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.

        Returns:
            The new version, the ids of the applied tool calls in order, warnings, and the id of the checkpoint.

        Raises:
            StaleStateError: as `save_state` raises it.
            StagingError: a change cannot be applied; `tool_call_id` names it. Nothing was changed.
            StateSizeExceededError: the state, a message or the new custom state is larger than the store's limits.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 2 D1 batches (69 rows read, 8 written).
        """
        ...
