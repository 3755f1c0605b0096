"""The contract of a state store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, Literal, Protocol, overload

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, Seconds, Unset
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.contract.state.records import (
    AgentState,
    CasResult,
    Checkpoint,
    CheckpointPage,
    MergeChanges,
    MergeResult,
    Message,
    MessagePage,
    PromoteResult,
    Run,
    SessionPage,
    SessionTree,
    StagedChange,
    SubSessionRef,
)
from agents_store_cloudflare.contract.usage.records import UsageEntry

__all__ = ["ANY_VERSION", "AnyVersion", "StateStore"]


class AnyVersion(Enum):
    """The type of `ANY_VERSION`."""

    ANY = "any"


ANY_VERSION: Final = AnyVersion.ANY
"""As `expected_version`: save whatever version is stored."""


class StateStore(Protocol):
    """Sessions: an agent's state, its messages, its checkpoints. One call is one database batch, which is one transaction.

    Every write that changes the state row or the messages raises `version` by one. What a write stores is fixed when it is called: the
    caller's objects may change while it waits. A `commit_id` names one request, with all that it stores; repeating that request with
    it gives the first result, also after the session was deleted. Another request under it raises `InvalidArgumentError`. A repetition
    whose result is gone with its session raises `StateNotFoundError` (`deleted_since`). Errors common to all writes:
    `StaleFencingTokenError` (a newer lock holder has written), `StateSizeExceededError`, `D1StateError` (the database failed).
    """

    async def create_session(
        self,
        session_id: str,
        *,
        agent_type: str,
        initial_state: Mapping[str, JsonValue] | None = None,
        parent_session_id: str | None = None,
        exist_ok: bool = False,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> AgentState:
        """Make a session whose custom state is `initial_state`; a child's root is its parent's root.

        Args:
            exist_ok: return the stored session, as it is, where there is one.

        Raises:
            SessionExistsError: there is one.
        """
        ...

    async def save_state(
        self,
        session_id: str,
        state: AgentState | Mapping[str, object],
        *,
        expected_version: int | AnyVersion | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
        usage: Sequence[UsageEntry | Mapping[str, object]] = (),
    ) -> int:
        """Store the state and the messages it did not have when loaded; stored messages are never deleted or rewritten.

        Args:
            state: its `session_id` must be `session_id`. On success its `version` is brought up to date.
            expected_version: None is the state's own version (0: the session must not exist yet).
            usage: entries of this session, recorded in the same transaction: exactly when the state is saved.

        Returns:
            The new version.

        Raises:
            StaleStateError: the stored version is another, or the loaded messages and the stored ones do not meet: the session is
                another one of that id, or messages that are stored already were changed in `state`.
        """
        ...

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
        """The stored state, None when there is none.

        Args:
            required: raise `StateNotFoundError` instead of returning None.
            messages: "all", "none", or how many of the last ones. A partly loaded state saves only what is appended to it.
        """
        ...

    async def update_state(
        self,
        session_id: str,
        change: Callable[[AgentState], Awaitable[None] | None],
        *,
        attempts: int = 30,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> AgentState:
        """Load, `change(state)` in place, save; the state as saved. After a pause all of it again when somebody else saved in between.

        Args:
            change: called once an attempt, each time with a freshly loaded state; may be a coroutine function.
            attempts: 1 to 100.

        Raises:
            StateNotFoundError: no such session.
            StaleStateError: somebody else saved in between at every attempt.
        """
        ...

    async def exists(self, session_id: str) -> bool:
        """Whether the session is stored."""
        ...

    async def session_exists(self, session_id: str) -> bool:
        """The same as `exists`."""
        ...

    async def update_status(
        self, session_id: str, status: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> int:
        """Set the status whatever it is now; the new version. `StateNotFoundError` when missing."""
        ...

    async def compare_and_set_status(
        self,
        session_id: str,
        expected: Collection[str],
        new: str,
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> CasResult:
        """Set the status if it is one of `expected` (an empty collection never matches); false, and nothing written, if not.

        Raises:
            TypeError: `expected` is a bare text.
            StateNotFoundError: no such session.
        """
        ...

    async def increment_resume_count(
        self, session_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> int:
        """Add one to `resume_count`, atomically; the new count. `StateNotFoundError` when missing."""
        ...

    async def increment_step_count(
        self, session_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> int:
        """Add one to `step_count`, atomically; the new count. `StateNotFoundError` when missing."""
        ...

    async def list_sessions(
        self,
        *,
        prefix: str | None = None,
        agent_type: str | None = None,
        status: str | None = None,
        parent_session_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> SessionPage:
        """Sessions that fit all that is given, the newest first by creation, without their messages.

        With a prefix or a parent the database reads the sessions of that prefix or parent; otherwise it reads the newest until the
        page is full. Agent type and status have no index.

        Args:
            prefix: of the session id.
            limit: 1 to 1,000.
            cursor: the `next_cursor` of the page before.
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
        """Add messages after all that are stored, whoever else appends at the same time; the sequence of the first.

        Args:
            session: its id, or the state as it was loaded. The state is brought up to date too, unless somebody else wrote since
                it was loaded: then it is as stale as it was.
            create: the agent type of the session that this call makes where there is none. A stored session keeps its own.

        Raises:
            StateNotFoundError: no such session, and no `create`.
            InvalidArgumentError: no messages, a state that holds messages that are not stored yet, or `create` beside a state.
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
        """Remove the last `count` messages and return them, oldest first. No other call gets the same ones, or loses one unseen.

        With fewer stored it returns all of them. A repetition returns the same messages. Messages of over 4,000 bytes together cost one
        more round trip, and a commit does not keep them: a repetition by another call raises `D1StateError`.

        Args:
            count: 1 to 1,000.
            expected_version: the session's version, as a condition; None is no condition.
            drop_checkpoints: delete the checkpoints that count a removed message.

        Raises:
            StaleStateError: the session has another version; or others wrote at each of 30 attempts (over 4,000 bytes).
            CheckpointKeptError: there are such checkpoints.
            StateNotFoundError: no such session.
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
        """Keep the first `count` messages and drop the later ones; the version. With no more than that stored, nothing changes.

        Args:
            expected_version: the session's version, as a condition; None is no condition.
            drop_checkpoints: delete the checkpoints that count more.

        Raises:
            StaleStateError: the session has another version.
            CheckpointKeptError: there are such checkpoints.
            StateNotFoundError: no such session.
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
        """Put `messages` in the place of all that are stored; the new version.

        Args:
            drop_checkpoints: delete the checkpoints that count messages.

        Raises:
            StaleStateError: the stored version is another.
            CheckpointKeptError: there are such checkpoints.
            StateNotFoundError: no such session.
        """
        ...

    async def merge_custom_state(
        self,
        session_id: str,
        changes: MergeChanges | Mapping[str, JsonValue],
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> MergeResult:
        """Merge into the custom state by the rules of `promote_staging`; a read and a guarded write, up to 30 times.

        Raises:
            StateNotFoundError: no such session.
            StaleStateError: somebody else wrote in between at every attempt.
        """
        ...

    async def get_messages(
        self, session_id: str, *, offset: int = 0, limit: int = 50, include_thinking: bool = True
    ) -> MessagePage:
        """Messages from sequence `offset` on (0, 1, 2 … without gaps); an empty page for a missing session.

        Args:
            limit: 1 to 1,000.
            include_thinking: False leaves out each message's `thinking` key.
        """
        ...

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
        """Keep the stored session as it stands; given a state, save that first, in the same transaction."""
        ...

    async def get_latest_checkpoint(self, session_id: str) -> Checkpoint | None:
        """The checkpoint kept last, with its state; None where there is none."""
        ...

    async def get_checkpoint(self, session_id: str, checkpoint_id: str) -> Checkpoint | None:
        """That checkpoint with its state; None where it is not kept, or is another session's."""
        ...

    async def list_checkpoints(
        self, session_id: str, *, limit: int = 20, cursor: str | None = None, include_state: bool = True
    ) -> CheckpointPage:
        """Checkpoints, the newest first.

        Args:
            limit: 1 to 100.
            cursor: the `next_cursor` of the page before.
            include_state: rebuild each one's state, messages included.
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
        """Take the session back to a checkpoint and return it. Later messages and newer checkpoints go; fork first to keep them.

        `expires_at` stays as it is now: an old deadline does not come back.

        Args:
            expected_version: the session's version, as a condition; None is no condition.

        Raises:
            StaleStateError: the session has another version.
            CheckpointNotFoundError: (a StateNotFoundError) the session does not keep it.
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
        """Make a new session of a copy of a checkpoint and return it. They share nothing; the fork has no parent and outlives its source.

        `fencing_token` belongs to the new session. Its `expires_at` is the source's present one, or None where that has passed.

        Raises:
            SessionExistsError: there is a session of the new id.
            CheckpointNotFoundError: (a StateNotFoundError) the source does not keep the checkpoint.
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
        """Delete checkpoints, never the latest; how many.

        Args:
            expected_version: the session's version, as a condition; None is no condition.
            keep_last: all but this many of the newest go (at least 1).
            older_than: only those kept longer ago than this (seconds) go.
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
        """Keep what a tool call wants to change until its step is promoted; in the place of what it staged before. With its timestamp.

        The version stays. `StateNotFoundError` when there is no such session.
        """
        ...

    async def get_staged_changes(self, session_id: str, step_id: str | None = None) -> list[StagedChange]:
        """The staged changes of a step, or of all steps, in the order of their promotion: by timestamp, then as they were staged."""
        ...

    async def promote_staging(
        self, session_id: str, step_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> PromoteResult:
        """Apply the step's staged changes to the custom state, in order, all or none, and delete them.

        A read and a guarded write, with growing random pauses up to 30 times. With nothing staged, nothing changes, the version included.

        Raises:
            StagingError: a change cannot be applied; says which. Nothing was changed.
            StateNotFoundError: no such session.
            StaleStateError: somebody else wrote in between at every attempt.
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
        """Delete the step's staged changes; how many. `StateNotFoundError` when there is no such session.

        `expected_version` is the session's version as a condition; `StaleStateError` when it has another one.
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
        """Save the state with the step's staged changes on top, and a checkpoint of that, in one transaction (and one read before).

        The state object gets the new custom state and version. Errors: those of `save_state` and of `promote_staging`.
        """
        ...

    async def start_run(
        self,
        session_id: str,
        run_id: str,
        *,
        expect_statuses: Collection[str] | None = None,
        expect_current_run_id: str | Unset | None = UNSET,
        status: str = "running",
        step_count: int = 0,
        start_sequence: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> Run:
        """Start a run, if the session is as expected: checked within the write. Its turn is one more than the last run's.

        Args:
            expect_statuses: the session's status must be one of them.
            expect_current_run_id: the current run must be this one; None: there must be none.
            start_sequence: of the stream, where the run begins.

        Raises:
            RunConflictError: a condition does not hold, or the session has a run of this id.
            StateNotFoundError: no such session.
        """
        ...

    async def update_run(
        self,
        session_id: str,
        run_id: str,
        *,
        status: str | None = None,
        step_count: int | None = None,
        completed_at: int | None = None,
        error: str | Unset | None = UNSET,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> Run:
        """Change what is given; the run as it stands then. The statuses completed, failed and aborted end it, any other reopens it.

        Args:
            completed_at: when it ended (milliseconds); without it, now.

        Raises:
            RunNotFoundError: (a StateNotFoundError) the session has no such run.
        """
        ...

    async def get_current_run(self, session_id: str) -> Run | None:
        """The latest run that has not ended."""
        ...

    async def list_runs(self, session_id: str, *, limit: int = 50, before_turn: int | None = None) -> list[Run]:
        """Runs, the newest first, from below `before_turn` on; `limit` is 1 to 1,000."""
        ...

    async def add_sub_session_refs(
        self,
        session_id: str,
        refs: Iterable[SubSessionRef | Mapping[str, object]],
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> None:
        """Add references; one to a sub-session that has one stays as it is. `StateNotFoundError` when there is no such session."""
        ...

    async def update_sub_session_ref(
        self,
        session_id: str,
        sub_session_id: str,
        *,
        status: str | None = None,
        completed_at: int | None = None,
        output: JsonValue | Unset = UNSET,
        error: str | Unset | None = UNSET,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> None:
        """Change what is given. `SubSessionRefNotFoundError` when the session has no such reference."""
        ...

    async def get_sub_session_refs(self, session_id: str) -> list[SubSessionRef]:
        """The session's references, in the order they were added."""
        ...

    async def get_session_tree(self, session_id: str) -> SessionTree:
        """The session with its descendants and their streams: what `delete_session` deletes, and what it leaves alone."""
        ...

    async def reset_fence(self, session_id: str) -> None:
        """Forget the highest fencing token of a session id: any token is good again. For operators whose lock service lost its count."""
        ...

    async def delete_session(
        self,
        session_id: str,
        *,
        delete_usage: bool = False,
        expected_version: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> bool:
        """Delete the session with everything that belongs to it, and its descendants by `parent_session_id`; whether there was one.

        One small row stays under the id: the highest fencing token, so that a stale holder stays refused, and the last commit ids, so
        that a late repetition of a write or of a deletion does not touch a session that is made later. A sub-session to which the
        session refers as remote is left alone, and logged.

        Args:
            delete_usage: delete the entries in the documented usage table too, not in a table of another name.
            expected_version: the session's version, as a condition; None is no condition.
            commit_id: repeating the call with it gives the first result.

        Raises:
            StaleStateError: the session has another version.
        """
        ...

    async def cleanup_expired_sessions(
        self, now: int | None = None, limit: int = 100, *, delete_usage: bool = False
    ) -> list[str]:
        """Delete up to `limit` sessions whose `expires_at` is not after `now` (milliseconds), with their descendants; the ids deleted."""
        ...
