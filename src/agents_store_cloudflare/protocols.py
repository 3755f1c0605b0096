"""The contract, written once: what a store of each role promises. The implementations say only what is theirs.

Everywhere: ids are 1 to 512 UTF-8 bytes without control characters, not beginning with `__`; user JSON comes back exactly;
bad input raises `InvalidArgumentError` or `TypeError` before anything is sent; a write that did not happen raises.
`fencing_token` takes a number or the `Lock` itself. `commit_id` names one write, so that repeating it after a lost reply gives
the first result instead of a second write; without one the store makes its own for its own retries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from types import TracebackType
from typing import Final, Literal, Protocol, Self, TypeAlias, overload

from agents_store_cloudflare.json_values import JsonObject, JsonValue
from agents_store_cloudflare.records import (
    AgentState,
    Budget,
    BufferOverflowEvent,
    CasResult,
    Checkpoint,
    CheckpointPage,
    MergeChanges,
    MergeResult,
    Message,
    MessagePage,
    PromoteResult,
    Reservation,
    Run,
    SessionPage,
    SessionTree,
    Settlement,
    StagedChange,
    StreamInfo,
    SubSessionRef,
    UsageEntry,
    UsageRollup,
    UsageTotals,
)

__all__ = [
    "ANY_VERSION",
    "UNSET",
    "AnyVersion",
    "Lock",
    "LockAcquireOptions",
    "LockManager",
    "LockSet",
    "ResumableReaderOptions",
    "ResumableStreamReader",
    "ResumableStreamStatus",
    "StateStore",
    "StreamManager",
    "StreamReader",
    "StreamWriter",
    "Unset",
    "UsageStore",
]


class AnyVersion(Enum):
    """The type of `ANY_VERSION`."""

    ANY = "any"


ANY_VERSION: Final = AnyVersion.ANY
"""As `expected_version`: save whatever version is stored."""


class Unset(Enum):
    """The type of `UNSET`."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
"""An argument that was not given, where None is a value."""

Seconds: TypeAlias = "float | timedelta"
ResumableStreamStatus: TypeAlias = Literal["active", "paused", "ended", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumableReaderOptions:
    """Where a resumable reader begins (`from_sequence` is exclusive: "I have n") and how many seconds it waits for the stream to exist."""

    from_sequence: int = 0
    wait: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockAcquireOptions:
    """The keyword arguments of `LockManager.acquire`, as a record to hand around."""

    ttl: Seconds | None = None
    owner: str | None = None
    wait: Seconds | None = None
    auto_refresh: bool = False
    lock_delay: Seconds | None = None


class StateStore(Protocol):
    """Sessions: an agent's state, its messages, its checkpoints. One call is one database batch, which is one transaction.

    Every write that changes the state row or the messages raises `version` by one. Errors common to all writes:
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
        fencing_token: int | Lock | None = None,
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
        fencing_token: int | Lock | None = None,
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
        attempts: int = 5,
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> AgentState:
        """Load, `change(state)` in place, save; all of it again when somebody else saved in between. The state as saved.

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
        self, session_id: str, status: str, *, fencing_token: int | Lock | None = None, commit_id: str | None = None
    ) -> int:
        """Set the status whatever it is now; the new version. `StateNotFoundError` when missing."""
        ...

    async def compare_and_set_status(
        self,
        session_id: str,
        expected: Collection[str],
        new: str,
        *,
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> CasResult:
        """Set the status if it is one of `expected` (an empty collection never matches); false, and nothing written, if not.

        Raises:
            TypeError: `expected` is a bare text.
            StateNotFoundError: no such session.
        """
        ...

    async def increment_resume_count(
        self, session_id: str, *, fencing_token: int | Lock | None = None, commit_id: str | None = None
    ) -> int:
        """Add one to `resume_count`, atomically; the new count. `StateNotFoundError` when missing."""
        ...

    async def increment_step_count(
        self, session_id: str, *, fencing_token: int | Lock | None = None, commit_id: str | None = None
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
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> int:
        """Add messages after all that are stored, whoever else appends at the same time; the sequence of the first.

        Args:
            session: its id, or the state as it was loaded. The state is brought up to date too, unless somebody else wrote since
                it was loaded: then it is as stale as it was.

        Raises:
            StateNotFoundError: no such session.
            InvalidArgumentError: no messages, or a state that holds messages that are not stored yet.
        """
        ...

    async def truncate_messages(
        self,
        session_id: str,
        count: int,
        *,
        drop_checkpoints: bool = False,
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> int:
        """Keep the first `count` messages and drop the later ones; the version. With no more than that stored, nothing changes.

        Args:
            drop_checkpoints: delete the checkpoints that count more.

        Raises:
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
        fencing_token: int | Lock | None = None,
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
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> MergeResult:
        """Merge into the custom state by the rules of `promote_staging`; a read and a guarded write, up to 5 times.

        Raises:
            StateNotFoundError: no such session.
            StaleStateError: somebody else wrote in between, five times.
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
        fencing_token: int | Lock | None = None,
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
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> AgentState:
        """Take the session back to a checkpoint and return it; drops later messages and every newer checkpoint (fork first to keep them).

        Raises:
            CheckpointNotFoundError: (a StateNotFoundError) the session does not keep it.
        """
        ...

    async def fork_session(
        self,
        session_id: str,
        checkpoint_id: str,
        new_session_id: str,
        *,
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> AgentState:
        """Make a new session of a copy of a checkpoint and return it. They share nothing; the fork has no parent and outlives its source.

        `fencing_token` is one of the new session's.

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
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> int:
        """Delete checkpoints, never the latest; how many.

        Args:
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
        fencing_token: int | Lock | None = None,
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
        self, session_id: str, step_id: str, *, fencing_token: int | Lock | None = None, commit_id: str | None = None
    ) -> PromoteResult:
        """Apply the step's staged changes to the custom state, in order, all or none, and delete them.

        A read and a guarded write, up to 5 times. With nothing staged, nothing changes, the version included.

        Raises:
            StagingError: a change cannot be applied; says which. Nothing was changed.
            StateNotFoundError: no such session.
            StaleStateError: somebody else wrote in between, five times.
        """
        ...

    async def discard_staging(
        self, session_id: str, step_id: str, *, fencing_token: int | Lock | None = None, commit_id: str | None = None
    ) -> int:
        """Delete the step's staged changes; how many. `StateNotFoundError` when there is no such session."""
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
        fencing_token: int | Lock | None = None,
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
        fencing_token: int | Lock | None = None,
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
        fencing_token: int | Lock | None = None,
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
        fencing_token: int | Lock | None = None,
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
        fencing_token: int | Lock | None = None,
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
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> bool:
        """Delete the session with all that is its own, and its descendants by `parent_session_id`; whether there was one.

        The highest fencing token stays, so that a stale holder stays refused. A sub-session to which it refers as remote is left
        alone, and logged. `delete_usage` means the documented usage table, not one of a name of your own.

        Args:
            commit_id: repeating the call with it is safe, and gives the first result; kept in a row that outlives the session. Without
                one the call is not retried by itself: after a lost reply (`outcome_unknown`) look before calling it again.
        """
        ...

    async def cleanup_expired_sessions(
        self, now: int | None = None, limit: int = 100, *, delete_usage: bool = False
    ) -> list[str]:
        """Delete up to `limit` sessions whose `expires_at` is not after `now` (milliseconds), with their descendants; the ids deleted."""
        ...


class StreamWriter(Protocol):
    """Writes chunks to one stream in order. A retry never stores a chunk twice; several writers may share a stream."""

    @property
    def pending(self) -> Sequence[JsonObject]:
        """Chunks taken by `write` and not stored yet, in order."""
        ...

    async def write(self, chunk: Mapping[str, object], *, expected_sequence: int | None = None) -> None:
        """Take one chunk: buffered, stored by the next flush (`await flush()` = stored).

        A write that raises or is cancelled has not taken its chunk: write it again. Unless the chunk is in `pending`: then it may
        have left already, and the next write, flush or close stores it, once, or raises.

        Args:
            chunk: a JSON object with a text `type`.
            expected_sequence: the sequence it must get; then everything buffered and this chunk are stored at once.

        Raises:
            StreamClosedError, StreamChunkTooLargeError, SequenceConflictError, StaleFencingTokenError, StreamConnectionError.
        """
        ...

    async def flush(self) -> int:
        """Store everything taken so far; the last stored sequence."""
        ...

    async def close(self) -> int:
        """Flush and take no more chunks; the last stored sequence. The stream stays open."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class StreamReader(Protocol):
    """Yields a stream's chunks: stored ones, then live ones, to the end. A dropped connection resumes by itself.

    Iteration stops when the stream is ended or paused; a failed one yields everything and raises `StreamFailedError`; one that
    has lost the position to retention raises `StreamTruncatedError`.
    """

    @property
    def sequence(self) -> int:
        """The sequence of the chunk yielded last (or where reading began)."""
        ...

    @property
    def status(self) -> ResumableStreamStatus:
        """The stream's status as this reader last heard it."""
        ...

    def __aiter__(self) -> AsyncIterator[JsonObject]: ...

    async def close(self) -> None:
        """Stop reading."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


ResumableStreamReader: TypeAlias = StreamReader


class OpensWriter(Awaitable[StreamWriter], AbstractAsyncContextManager[StreamWriter], Protocol):
    """What `create_writer` returns: `await` it, or use it in `async with`."""


class OpensReader(Awaitable[StreamReader], AbstractAsyncContextManager[StreamReader], Protocol):
    """What `create_reader` returns: `await` it, or use it in `async with`."""


class StreamManager(Protocol):
    """Streams of chunks, numbered 1, 2, 3 …; a number is never used again. Reads of unknown ids create nothing."""

    def create_writer(
        self, stream_id: str, agent_id: str, agent_type: str, *, fencing_token: int | Lock | None = None
    ) -> OpensWriter:
        """A writer; the stream is created with it. `agent_id` and `agent_type` are added to chunks that do not name theirs."""
        ...

    def create_reader(self, stream_id: str, *, wait: Seconds | None = None) -> OpensReader:
        """A reader from the first chunk kept. Waits up to `wait` seconds for the stream to exist, then `StreamNotFoundError`."""
        ...

    def create_resumable_reader(
        self, stream_id: str, from_sequence: int = 0, *, wait: Seconds | None = None
    ) -> OpensReader:
        """A reader of what follows `from_sequence` ("I have n").

        Above the last: `SequenceConflictError`. Where chunks after it are no longer kept: `StreamTruncatedError`.
        """
        ...

    async def end_stream(
        self,
        stream_id: str,
        output: JsonValue = None,
        *,
        status: str = "completed",
        fencing_token: int | Lock | None = None,
    ) -> None:
        """End the stream. Ending it twice alike is a no-op; differently raises `StreamClosedError` with the first outcome."""
        ...

    async def fail_stream(self, stream_id: str, error: str, *, fencing_token: int | Lock | None = None) -> None:
        """Fail the stream: readers get everything, then `StreamFailedError` with this text."""
        ...

    async def pause_stream(self, stream_id: str, *, fencing_token: int | Lock | None = None) -> None:
        """Take no chunks for a while: writing raises `StreamClosedError`, readers get everything and stop. Twice is once.

        Raises:
            StreamClosedError: it has ended or failed.
            StreamNotFoundError, StaleFencingTokenError.
        """
        ...

    async def resume_stream(self, stream_id: str, *, fencing_token: int | Lock | None = None) -> None:
        """Take chunks again; an active stream stays as it is. Raises as `pause_stream` does."""
        ...

    async def reset_stream(self, stream_id: str, *, fencing_token: int | Lock | None = None) -> None:
        """Make the stream active and empty, whatever it was; its numbers go on.

        Readers that were open are told once, by `StreamTruncatedError`; iterating again, those who had everything go on.

        Raises:
            StreamNotFoundError, StaleFencingTokenError.
        """
        ...

    async def delete_stream(self, stream_id: str, *, fencing_token: int | Lock | None = None) -> None:
        """Delete the stream: from now on it is unknown. Created again, its numbers go on, and its fence still holds.

        Raises:
            StreamNotFoundError: there is none.
            StaleFencingTokenError.
        """
        ...

    async def truncate_stream(
        self, stream_id: str, first_sequence: int, *, fencing_token: int | Lock | None = None
    ) -> None:
        """Drop the chunks before `first_sequence`; readers below it get `StreamTruncatedError`. The floor never sinks.

        Raises:
            StreamNotFoundError, StaleFencingTokenError.
        """
        ...

    async def get_info(self, stream_id: str) -> StreamInfo | None:
        """The stream as it stands; None when unknown."""
        ...

    def on(
        self, event: Literal["buffer_overflow"], callback: Callable[[BufferOverflowEvent], None]
    ) -> Callable[[], None]:
        """Call `callback` at each event; the result unsubscribes."""
        ...


class Lock(Protocol):
    """A lease on a key, with its fencing token: pass the lock to every write it protects."""

    @property
    def key(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def fencing_token(self) -> int:
        """Rises with every grant of the key, for ever."""
        ...

    @property
    def expires_at(self) -> int:
        """When the lease ends, by the lock object's clock, in milliseconds since 1970."""
        ...

    @property
    def lost(self) -> bool:
        """Whether this holder must stop: a refresh was refused, or nothing remains. False after `release()`."""
        ...

    def remaining(self) -> float:
        """Seconds for which this holder may rely on the lease: counted from before the request was sent, less a margin."""
        ...

    async def refresh(self, ttl: Seconds | None = None, *, ttl_ms: float | None = None) -> bool:
        """Extend the lease to `ttl` from now; False when it is lost (expired or taken over): stop working."""
        ...

    async def release(self) -> bool:
        """Give the lease back; False when it was not held any more."""
        ...

    def on(self, event: Literal["lost"], callback: Callable[[Lock], object]) -> Callable[[], None]:
        """Call `callback` with the lock, once, when it is lost: before another can hold the key. The result unsubscribes.

        Before, unless this holder itself stands still: then nothing can tell it, and its fencing token is what protects the data.
        """
        ...


class LockSet(Protocol):
    """The locks of several keys, held together: a mapping of each key to its `Lock`, with its own fencing token."""

    def __getitem__(self, key: str) -> Lock: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    @property
    def lost(self) -> bool:
        """Whether one of them is lost: stop."""
        ...

    def remaining(self) -> float:
        """Seconds for which this holder may rely on all of them."""
        ...

    async def release(self) -> bool:
        """Give all of them back; whether all were still held."""
        ...


class LockManager(Protocol):
    """Leases on keys. At most one is live for a key; an expired one is never revived; tokens rise with every grant."""

    async def acquire(
        self,
        key: str,
        *,
        ttl: Seconds | None = None,
        ttl_ms: float | None = None,
        owner: str | None = None,
        wait: Seconds | None = None,
        auto_refresh: bool = False,
        lock_delay: Seconds | None = None,
    ) -> Lock | None:
        """A lock, or None when somebody holds it (also oneself: it is not re-entrant) and the wait, if any, ran out.

        Args:
            ttl: how long the lease lasts unless it is refreshed; at most 86,400 seconds.
            owner: a name for people who look at the lease; it gives no rights. One is made when absent.
            wait: how long to queue for the key; those who wait are served in order.
            auto_refresh: refresh at a third of the ttl, in the background, until it is released or its `max_hold` has passed.
            lock_delay: for how long nobody gets the key after this lease has expired without a release; the manager's where absent.

        Raises:
            LockError: the object could not be reached; `outcome_unknown` says whether a grant may stand until its ttl ends.
        """
        ...

    async def acquire_all(
        self,
        keys: Iterable[str],
        *,
        ttl: Seconds | None = None,
        ttl_ms: float | None = None,
        owner: str | None = None,
        wait: Seconds | None = None,
        auto_refresh: bool = False,
        lock_delay: Seconds | None = None,
    ) -> LockSet | None:
        """The locks of all keys, or None and none of them. Whoever acquires several keys by this call cannot wait in a circle.

        Keys are taken in the order of their characters; `wait` is for all together. Where a call in between fails, what was taken is
        given back.
        """
        ...

    async def is_locked(self, key: str) -> bool:
        """Whether the key cannot be had now: somebody holds it, or a `lock_delay` keeps it closed."""
        ...

    async def delete(self, key: str) -> bool:
        """Forget a key that is free; False where it is not. Should it be locked again, its tokens rise on all the same."""
        ...

    def lock(
        self,
        key: str,
        *,
        ttl: Seconds | None = None,
        ttl_ms: float | None = None,
        owner: str | None = None,
        wait: Seconds | None = None,
        auto_refresh: bool = False,
        lock_delay: Seconds | None = None,
        cancel_when_lost: bool = False,
    ) -> AbstractAsyncContextManager[Lock]:
        """Hold the key for the length of an `async with` block; `LockNotAcquiredError` where `acquire` gives None.

        Args:
            cancel_when_lost: cancel the block when the lock is lost, before another can hold it; it ends with `LockLostError`.
        """
        ...

    def locks(
        self,
        keys: Iterable[str],
        *,
        ttl: Seconds | None = None,
        ttl_ms: float | None = None,
        owner: str | None = None,
        wait: Seconds | None = None,
        auto_refresh: bool = False,
        lock_delay: Seconds | None = None,
        cancel_when_lost: bool = False,
    ) -> AbstractAsyncContextManager[LockSet]:
        """Hold several keys for the length of a block, all or none: see `acquire_all` and `lock`."""
        ...


class UsageStore(Protocol):
    """What sessions used: tokens, tool calls, sub-agents, and whatever else one counts; what may be used; what it cost.

    Totals are kept in the same transaction as the entries: they equal the sum of the entries at every moment.
    """

    async def record_entry(
        self,
        entry: UsageEntry | Mapping[str, object],
        *,
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> UsageEntry:
        """Store one entry; the same id again changes nothing. Returns the stored entry with its id and time."""
        ...

    async def record_entries(
        self,
        entries: Sequence[UsageEntry | Mapping[str, object]],
        *,
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> list[UsageEntry]:
        """Store entries in one batch, all or none.

        Args:
            fencing_token: of each of the entries' sessions; a lower one than was seen is refused, unless all entries are stored already.
            commit_id: gives ids to entries without one, so that the call repeated with it stores nothing twice.
        """
        ...

    async def get_entries(
        self,
        session_id: str,
        *,
        kinds: Sequence[str] | None = None,
        step_range: tuple[int, int] | Mapping[str, int] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[UsageEntry]:
        """A session's entries by time, then insertion.

        Args:
            kinds: only these; an empty sequence matches nothing.
            step_range: (low, high) or {"min": low, "max": high}, both inclusive.
        """
        ...

    async def get_rollup(self, session_id: str, *, include_sub_agents: bool = False) -> UsageRollup:
        """The totals of a session, zeros where nothing was recorded; with its descendants, each counted once, if asked.

        Reads a row for each model, tool, agent type and custom name, however many entries there are.
        """
        ...

    async def get_tree_rollups(self, session_id: str) -> list[UsageRollup]:
        """The totals of a session and of each of its descendants that has any, each by itself, the session first."""
        ...

    async def get_totals(
        self,
        by: Literal["day", "model", "agent", "tool"],
        *,
        first_day: date | str | None = None,
        last_day: date | str | None = None,
        agent: str | None = None,
        model: str | None = None,
        tool: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[UsageTotals]:
        """Totals over all sessions, by key.

        Args:
            by: what the totals are of. "model" counts token entries alone, "tool" tool entries.
            first_day, last_day: dates (UTC) or their text, both inclusive.
            agent, model, tool: only entries of that agent, model or tool.
        """
        ...

    async def rebuild_rollups(self) -> None:
        """Count all entries anew: needed only where something else writes into the table. Totals kept of deleted entries stay."""
        ...

    async def delete(self, session_id: str, *, fencing_token: int | Lock | None = None) -> int:
        """Delete a session's entries and totals; how many entries there were."""
        ...

    async def delete_old_entries(
        self, age: float | timedelta | None = None, *, age_ms: float | None = None, keep_totals: bool = False
    ) -> int:
        """Delete entries strictly older than `age` (seconds, or a timedelta) by their timestamp; how many there were.

        Args:
            keep_totals: totals stay as they are, and say in `kept_entries` how many of their entries are gone.
        """
        ...

    async def set_budget(self, scope: str, cap: int, unit: str, *, parent: str | None = None) -> Budget:
        """Give a scope its cap, or another one; what was reserved and settled stays.

        Args:
            unit: what is counted, such as "tokens" or "micro_usd": one for a whole tree of scopes.
            parent: the scope it stands in, which has a budget already; it cannot change.
        """
        ...

    async def get_budget(self, scope: str) -> Budget | None:
        """The cap of a scope and what was taken of it; None where it has no budget."""
        ...

    def reserve(
        self, scope: str, amount: int, *, ttl: float | timedelta | None = None, ttl_ms: float | None = None
    ) -> Awaitable[Reservation | None]:
        """Set an amount aside in a scope and in all scopes around it, or None where it does not fit under one of their caps.

        Reserved and settled together never exceed a cap through a reservation, however many callers there are. A reservation that is
        neither settled nor released is given back after `ttl` (10 minutes). With `async with` what does not fit raises
        `BudgetExceededError`, and what is not settled at the end is given back.
        """
        ...

    async def settle(self, reservation: Reservation, actual: int) -> Settlement:
        """Record what a reservation came to, once, also after it expired; the rest is given back.

        More than was reserved is recorded too, and marked `overrun`; where that reaches a cap, nothing more can be reserved.
        """
        ...

    async def release(self, reservation: Reservation) -> bool:
        """Give a reservation back unsettled; False where there was nothing to give back."""
        ...

    async def delete_old_settlements(self, age: float | timedelta | None = None, *, age_ms: float | None = None) -> int:
        """Forget settlements older than `age`; how many. The budgets keep their sums; only a repeated `settle` needs them."""
        ...
