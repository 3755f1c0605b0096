"""Every exception of the package.

```text
AgentsStoreError
├── D1StateError                    the state store could not do it
│   ├── StateNotFoundError          no such session
│   │   ├── CheckpointNotFoundError  it has no such checkpoint
│   │   └── RunNotFoundError         it has no such run
│   ├── SessionExistsError          create_session on an id in use
│   ├── StaleStateError             the stored state moved on: load again, redo, save
│   ├── StateSizeExceededError      over a StoreLimits value, nothing written
│   ├── StagingError                a staged change cannot be applied
│   ├── SubSessionRefNotFoundError  no such reference
│   ├── CheckpointKeptError         a kept checkpoint needs the messages to be dropped
│   └── RunConflictError            the gate of start_run did not hold
├── StreamError
│   ├── StreamConnectionError       the stream's object could not be reached, or stayed full
│   ├── StreamNotFoundError         no such stream
│   ├── StreamClosedError           ended, failed or paused: it takes no chunks
│   ├── StreamFailedError           what a reader gets after the last chunk of a failed stream
│   ├── StreamTruncatedError        the position asked for is below the retention floor
│   ├── StreamChunkTooLargeError    refused before a sequence is taken
│   └── SequenceConflictError       expected_sequence or from_sequence does not fit
├── LockError                       the lock's object could not be reached
│   ├── LockNotAcquiredError        held by somebody else
│   └── LockLostError               the block was cancelled, because its lock was lost
├── StaleFencingTokenError          a newer lock holder has written: stop, you lost the lock
├── UsageError                      the usage store could not do it
│   └── BudgetExceededError         a reservation does not fit under its caps
├── TurnError                       a turn was not begun, or used in a wrong way
│   ├── TurnRunningError            a turn of this id runs: follow its stream
│   └── TurnEndedError              a turn of this id has ended: take its outcome
├── MigrationError
├── BindingError                    a binding of wrangler.toml is missing, exchanged or of a wrong class
└── InvalidArgumentError            also a ValueError: refused before anything is sent
    └── MissingFencingTokenError    a write was given None as its fencing token
```

The facts to act on are attributes. `facts()` returns them as the keyword arguments that build an equal error. So an error keeps
its class and its facts on the way from a Durable Object to the caller. Messages hold ids and sizes, never content.
"""

from __future__ import annotations

from typing import ClassVar

from agents_store_cloudflare.contract.json_types import JsonValue

__all__ = [
    "ERRORS_BY_CODE",
    "AgentsStoreError",
    "BindingError",
    "BudgetExceededError",
    "CheckpointKeptError",
    "CheckpointNotFoundError",
    "D1StateError",
    "InvalidArgumentError",
    "LockError",
    "LockLostError",
    "LockNotAcquiredError",
    "MigrationError",
    "MissingFencingTokenError",
    "RunConflictError",
    "RunNotFoundError",
    "SequenceConflictError",
    "SessionExistsError",
    "StagingError",
    "StaleFencingTokenError",
    "StaleStateError",
    "StateNotFoundError",
    "StateSizeExceededError",
    "StreamChunkTooLargeError",
    "StreamClosedError",
    "StreamConnectionError",
    "StreamError",
    "StreamFailedError",
    "StreamNotFoundError",
    "StreamTruncatedError",
    "SubSessionRefNotFoundError",
    "TurnEndedError",
    "TurnError",
    "TurnRunningError",
    "UsageError",
]

ERRORS_BY_CODE: dict[str, type[AgentsStoreError]] = {}


class AgentsStoreError(Exception):
    """The base of every error this package raises on purpose.

    Attributes:
        code: a stable name for programs, also the `code` of a JSON error.
        http_status: the status a Worker should answer with when it lets the error through.
        outcome_unknown: True where a reply may have been lost: the write may or may not be stored. Repeat it with the
            same commit id, entry id or writer; all of them are safe to repeat.
    """

    code: ClassVar[str] = "agents_store_error"
    http_status: ClassVar[int] = 500
    fact_names: ClassVar[tuple[str, ...]] = ("message", "outcome_unknown")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        ERRORS_BY_CODE[cls.code] = cls

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.outcome_unknown = outcome_unknown

    def facts(self) -> dict[str, JsonValue]:
        """Return the keyword arguments that build an equal error."""
        return {name: getattr(self, name) for name in self.fact_names}

    def to_dict(self) -> dict[str, JsonValue]:
        """The JSON body a Worker answers with: `{"error": {"code", "message"}}`."""
        return {"error": {"code": self.code, "message": self.message}}


ERRORS_BY_CODE[AgentsStoreError.code] = AgentsStoreError


class InvalidArgumentError(AgentsStoreError, ValueError):
    """An argument breaks a documented rule; nothing was sent."""

    code = "invalid_argument"
    http_status = 400


class MissingFencingTokenError(InvalidArgumentError):
    """A write was given None as its fencing token: the lock behind it was not acquired. Nothing was sent."""

    code = "missing_fencing_token"


class BindingError(AgentsStoreError, TypeError):
    """A binding is missing, exchanged with another, or leads to a class that is not as the package needs it.

    The message names the binding, the class and the section of wrangler.toml to change.
    """

    code = "binding"


class D1StateError(AgentsStoreError):
    """The database refused or did not answer; the cause is chained.

    Attributes:
        commit_id: of the write that failed: repeating the call with it is safe where `outcome_unknown`.
    """

    code = "state_error"
    fact_names: ClassVar[tuple[str, ...]] = ("message", "outcome_unknown", "commit_id")

    def __init__(self, message: str, *, outcome_unknown: bool = False, commit_id: str | None = None) -> None:
        super().__init__(message, outcome_unknown=outcome_unknown)
        self.commit_id = commit_id


class StateNotFoundError(D1StateError):
    """The session does not exist.

    Attributes:
        deleted_since: the call repeats one that took place; its session was deleted since, and its result is gone.
    """

    code = "state_not_found"
    http_status = 404
    fact_names: ClassVar[tuple[str, ...]] = ("session_id", "deleted_since")

    def __init__(self, session_id: str, *, deleted_since: bool = False, message: str | None = None) -> None:
        missing = f"session {session_id!r} does not exist; save_state or create_session makes one"
        deleted = f"this call took place before, but its session {session_id!r} was deleted since; its result is gone"
        super().__init__(message or (deleted if deleted_since else missing))
        self.session_id = session_id
        self.deleted_since = deleted_since


class CheckpointNotFoundError(StateNotFoundError):
    """The session does not exist, or has no such checkpoint (any more)."""

    code = "checkpoint_not_found"
    fact_names: ClassVar[tuple[str, ...]] = ("session_id", "checkpoint_id")

    def __init__(self, session_id: str, checkpoint_id: str) -> None:
        super().__init__(
            session_id,
            message=f"session {session_id!r} keeps no checkpoint {checkpoint_id!r}; list_checkpoints gives the ones it keeps",
        )
        self.checkpoint_id = checkpoint_id


class RunNotFoundError(StateNotFoundError):
    """The session has no such run."""

    code = "run_not_found"
    fact_names: ClassVar[tuple[str, ...]] = ("session_id", "run_id")

    def __init__(self, session_id: str, run_id: str) -> None:
        super().__init__(session_id, message=f"session {session_id!r} has no run {run_id!r}; start_run makes one")
        self.run_id = run_id


class CheckpointKeptError(D1StateError):
    """A kept checkpoint needs messages that the call would drop; nothing was written.

    Attributes:
        count: how many messages were to stay.
        kept: how many the newest checkpoint counts.
    """

    code = "checkpoint_kept"
    http_status = 409
    fact_names: ClassVar[tuple[str, ...]] = ("session_id", "count", "kept")

    def __init__(self, session_id: str, *, count: int, kept: int) -> None:
        super().__init__(
            f"a checkpoint of session {session_id!r} needs {kept:,} messages, and the call would keep only {count:,}; "
            "drop_checkpoints=True deletes such checkpoints too"
        )
        self.session_id = session_id
        self.count = count
        self.kept = kept


class SessionExistsError(D1StateError):
    """`create_session` met an id that is in use."""

    code = "session_exists"
    http_status = 409
    fact_names: ClassVar[tuple[str, ...]] = ("session_id",)

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} exists already; pass exist_ok=True to take the stored one")
        self.session_id = session_id


class StaleStateError(D1StateError):
    """The stored session is not the one this state was loaded from; nothing was written.

    Attributes:
        reason: "version" (somebody saved in between), "history" (the loaded messages and the stored ones do not meet, or they
            belong to a deleted session of the same id), or "edited" (this state removed or changed messages that are stored already).
        expected, actual: versions or message counts, as the reason says; `actual` is 0 for a missing session.
    """

    code = "stale_state"
    http_status = 409
    fact_names: ClassVar[tuple[str, ...]] = ("session_id", "reason", "expected", "actual")

    def __init__(self, session_id: str, *, reason: str, expected: int | None, actual: int | None) -> None:
        if reason == "edited":
            change = "changed some of them" if actual == expected else f"has {actual}"
            text = (
                f"{expected} messages are stored, and this state {change}; a save only adds messages. "
                "To remove or rewrite stored messages use truncate_messages, pop_messages or replace_messages"
            )
        else:
            what = {"version": "version", "history": "number of messages"}.get(reason, reason)
            text = f"expected {what} {expected}, stored is {actual}; load it again and redo the change"
        subject = f"session {session_id!r}" if reason == "edited" else f"session {session_id!r} is stale"
        super().__init__(f"{subject}: {text}")
        self.session_id = session_id
        self.reason = reason
        self.expected = expected
        self.actual = actual


class StateSizeExceededError(D1StateError):
    """The write is larger than a `StoreLimits` value allows; nothing was written."""

    code = "state_size_exceeded"
    http_status = 413
    fact_names: ClassVar[tuple[str, ...]] = ("operation", "session_id", "limit_bytes", "size_bytes")

    def __init__(self, operation: str, session_id: str, limit_bytes: int, size_bytes: int) -> None:
        super().__init__(
            f"{operation} of session {session_id!r} needs {size_bytes:,} bytes, the limit is {limit_bytes:,}; "
            "store less, or keep large values elsewhere (R2) and save a reference"
        )
        self.operation = operation
        self.session_id = session_id
        self.limit_bytes = limit_bytes
        self.size_bytes = size_bytes


class StagingError(D1StateError):
    """A staged change cannot be applied; everything is as it was. Discard the step, or stage the change again without the fault.

    Attributes:
        tool_call_id: whose change it is.
        operation_index: which of its patches is wrong, from 0; None if no single patch is.
        reason: the fault, without content.
    """

    code = "staging_error"
    http_status = 422
    fact_names: ClassVar[tuple[str, ...]] = ("session_id", "tool_call_id", "operation_index", "reason")

    def __init__(
        self, session_id: str, *, tool_call_id: str | None, operation_index: int | None = None, reason: str
    ) -> None:
        change = "a change" if tool_call_id is None else f"the change of tool call {tool_call_id!r}"
        where = "" if operation_index is None else f", operation {operation_index}"
        super().__init__(f"session {session_id!r}: {change}{where} cannot be applied: {reason}; nothing was changed")
        self.session_id = session_id
        self.tool_call_id = tool_call_id
        self.operation_index = operation_index
        self.reason = reason


class SubSessionRefNotFoundError(D1StateError):
    """The session has no reference to that sub-session."""

    code = "sub_session_ref_not_found"
    http_status = 404
    fact_names: ClassVar[tuple[str, ...]] = ("session_id", "sub_session_id")

    def __init__(self, session_id: str, sub_session_id: str) -> None:
        super().__init__(
            f"session {session_id!r} has no reference to {sub_session_id!r}; add_sub_session_refs makes one"
        )
        self.session_id = session_id
        self.sub_session_id = sub_session_id


class RunConflictError(D1StateError):
    """A condition of `start_run` did not hold; nothing was written.

    Attributes:
        reason: "status" (the session's is none of `expect_statuses`), "current_run" (another run is current than
            `expect_current_run_id`) or "run_id" (the session has a run of this id).
        status: the session's status.
        current_run_id: the latest run that has not ended, or None.
    """

    code = "run_conflict"
    http_status = 409
    fact_names: ClassVar[tuple[str, ...]] = ("session_id", "run_id", "reason", "status", "current_run_id")

    def __init__(
        self, session_id: str, run_id: str, *, reason: str, status: str, current_run_id: str | None = None
    ) -> None:
        what = {
            "status": f"its status is {status!r}",
            "current_run": f"its current run is {current_run_id!r}",
            "run_id": "it has a run of that id; each run needs its own",
        }[reason]
        super().__init__(f"run {run_id!r} of session {session_id!r} was not started: {what}")
        self.session_id = session_id
        self.run_id = run_id
        self.reason = reason
        self.status = status
        self.current_run_id = current_run_id


class StreamError(AgentsStoreError):
    """A stream call failed."""

    code = "stream_error"


class StreamConnectionError(StreamError):
    """The stream's Durable Object could not be reached, or its buffer stayed full too long."""

    code = "stream_connection"
    http_status = 503


class _StreamIdError(StreamError):
    """A stream error whose only fact is the stream's id."""

    code = "stream_id_error"
    fact_names: ClassVar[tuple[str, ...]] = ("stream_id",)
    _text: ClassVar[str] = "stream {stream_id!r} failed"

    def __init__(self, stream_id: str) -> None:
        super().__init__(self._text.format(stream_id=stream_id))
        self.stream_id = stream_id


class StreamNotFoundError(_StreamIdError):
    """The stream does not exist."""

    code = "stream_not_found"
    http_status = 404
    _text = "stream {stream_id!r} does not exist; create_writer makes it"


class StreamClosedError(StreamError):
    """The stream takes no chunks: it is ended, failed or paused.

    Attributes:
        status: "ended", "failed" or "paused".
        end_status: how the stream ended ("completed" or the caller's word); None if it has not ended.
    """

    code = "stream_closed"
    http_status = 409
    fact_names: ClassVar[tuple[str, ...]] = ("stream_id", "status", "end_status")

    def __init__(self, stream_id: str, *, status: str, end_status: str | None = None) -> None:
        outcome = f" ({end_status})" if end_status else ""
        advice = "resume it first" if status == "paused" else "write to another one"
        super().__init__(f"stream {stream_id!r} is {status}{outcome} and takes no chunks; {advice}")
        self.stream_id = stream_id
        self.status = status
        self.end_status = end_status


class StreamFailedError(StreamError):
    """The stream was failed by its writer; raised after its last chunk. `error` is the text given to `fail_stream`."""

    code = "stream_failed"
    http_status = 502
    fact_names: ClassVar[tuple[str, ...]] = ("stream_id", "error")

    def __init__(self, stream_id: str, *, error: str | None = None) -> None:
        super().__init__(f"stream {stream_id!r} was failed by its writer; see .error")
        self.stream_id = stream_id
        self.error = error


class StreamTruncatedError(StreamError):
    """Chunks after the position asked for are gone, or all of the stream that the reader knew.

    Attributes:
        first_sequence: the oldest chunk kept, or the first one to come.
        was_reset: the stream was reset, or deleted and made again, since the reader got this position. Read it anew, with
            `create_reader`: the chunks that the reader has are not part of it.
    """

    code = "stream_truncated"
    http_status = 410
    fact_names: ClassVar[tuple[str, ...]] = ("stream_id", "from_sequence", "first_sequence", "was_reset")

    def __init__(self, stream_id: str, *, from_sequence: int, first_sequence: int, was_reset: bool = False) -> None:
        what = f"asked for what follows {from_sequence}"
        super().__init__(
            f"stream {stream_id!r} was reset, {what}, its chunks begin with {first_sequence}; read it anew with create_reader"
            if was_reset
            else f"stream {stream_id!r} keeps nothing before sequence {first_sequence}, {what}; "
            f"read again from_sequence={first_sequence - 1}"
        )
        self.stream_id = stream_id
        self.from_sequence = from_sequence
        self.first_sequence = first_sequence
        self.was_reset = was_reset


class StreamChunkTooLargeError(StreamError):
    """The chunk is over the size limit; no sequence was taken."""

    code = "stream_chunk_too_large"
    http_status = 413
    fact_names: ClassVar[tuple[str, ...]] = ("stream_id", "limit_bytes", "size_bytes")

    def __init__(self, stream_id: str, *, limit_bytes: int, size_bytes: int) -> None:
        super().__init__(
            f"a chunk for stream {stream_id!r} has {size_bytes:,} bytes, the limit is {limit_bytes:,}; split it"
        )
        self.stream_id = stream_id
        self.limit_bytes = limit_bytes
        self.size_bytes = size_bytes


class SequenceConflictError(StreamError):
    """The sequence asked for is not the stream's; `expected` is the caller's, `actual` the stream's."""

    code = "sequence_conflict"
    http_status = 409
    fact_names: ClassVar[tuple[str, ...]] = ("stream_id", "expected", "actual")

    def __init__(self, stream_id: str, *, expected: int, actual: int) -> None:
        super().__init__(f"stream {stream_id!r}: expected sequence {expected}, the stream is at {actual}")
        self.stream_id = stream_id
        self.expected = expected
        self.actual = actual


class LockError(AgentsStoreError):
    """The lock's Durable Object could not be reached; `outcome_unknown` says whether the call may have worked."""

    code = "lock_error"
    http_status = 503


class LockNotAcquiredError(LockError):
    """The lock is held already.

    Attributes:
        owner: the owner of the lock where the same lock manager holds it; None where somebody else does.
    """

    code = "lock_not_acquired"
    http_status = 409
    fact_names: ClassVar[tuple[str, ...]] = ("key", "owner")

    def __init__(self, key: str, owner: str | None = None) -> None:
        holder = (
            "somebody else; try again later, or pass wait=seconds"
            if owner is None
            else f"this lock manager itself (owner {owner!r}), and locks are not re-entrant; "
            "use the lock that you hold, or pass wait=seconds where another task holds it"
        )
        super().__init__(f"lock {key!r} is held by {holder}")
        self.key = key
        self.owner = owner


class LockLostError(LockError):
    """The lock of a block was lost before the block's end, and the block was cancelled as it asked to be."""

    code = "lock_lost"
    http_status = 409
    fact_names: ClassVar[tuple[str, ...]] = ("key",)

    def __init__(self, key: str) -> None:
        super().__init__(f"lock {key!r} was lost before its block had ended; load again and redo what was not stored")
        self.key = key


class StaleFencingTokenError(AgentsStoreError):
    """A higher fencing token has been seen for this id: the caller lost its lock and must stop; nothing was written.

    Attributes:
        resource: the session or stream id.
        expected: the lowest token still accepted.
        actual: the caller's token.
    """

    code = "stale_fencing_token"
    http_status = 409
    fact_names: ClassVar[tuple[str, ...]] = ("resource", "expected", "actual")

    def __init__(self, resource: str, *, expected: int, actual: int) -> None:
        super().__init__(
            f"fencing token {actual} for {resource!r} is stale, {expected} has been seen; the lock was taken over: stop writing"
        )
        self.resource = resource
        self.expected = expected
        self.actual = actual


class UsageError(AgentsStoreError):
    """A usage call failed at the database."""

    code = "usage_error"


class BudgetExceededError(UsageError):
    """A reservation does not fit under the caps of its scope and those around it; nothing was reserved."""

    code = "budget_exceeded"
    http_status = 429
    fact_names: ClassVar[tuple[str, ...]] = ("scope", "amount")

    def __init__(self, scope: str, *, amount: int) -> None:
        super().__init__(
            f"{amount:,} do not fit under the budget of {scope!r} and the scopes around it; spend less or raise a cap"
        )
        self.scope = scope
        self.amount = amount


class TurnError(AgentsStoreError):
    """A turn could not be begun, or was used in a wrong way; nothing was stored."""

    code = "turn_error"
    http_status = 409


class TurnRunningError(TurnError):
    """A turn of this id is running. Follow it: read `stream_id` from `from_sequence` on, until the turn is closed."""

    code = "turn_running"
    http_status = 409
    fact_names: ClassVar[tuple[str, ...]] = ("session_id", "turn_id", "stream_id", "from_sequence")

    def __init__(self, session_id: str, turn_id: str, *, stream_id: str, from_sequence: int) -> None:
        super().__init__(
            f"turn {turn_id!r} of session {session_id!r} is running; read stream {stream_id!r} from {from_sequence} on"
        )
        self.session_id = session_id
        self.turn_id = turn_id
        self.stream_id = stream_id
        self.from_sequence = from_sequence


class TurnEndedError(TurnError):
    """A turn of this id has ended; it succeeds at most once.

    Attributes:
        status: how it ended, e.g. "completed" or "suspended".
        output: what the turn gave.
        from_sequence, end_sequence: where its chunks lie in the session's stream; None if it had none.
    """

    code = "turn_ended"
    http_status = 409
    fact_names: ClassVar[tuple[str, ...]] = (
        "session_id",
        "turn_id",
        "status",
        "output",
        "from_sequence",
        "end_sequence",
    )

    def __init__(
        self,
        session_id: str,
        turn_id: str,
        *,
        status: str,
        output: JsonValue = None,
        from_sequence: int | None = None,
        end_sequence: int | None = None,
    ) -> None:
        super().__init__(
            f"turn {turn_id!r} of session {session_id!r} ended as {status!r}; take its outcome, or use a new turn_id"
        )
        self.session_id = session_id
        self.turn_id = turn_id
        self.status = status
        self.output = output
        self.from_sequence = from_sequence
        self.end_sequence = end_sequence


class MigrationError(AgentsStoreError):
    """The schema cannot be brought, or is not, where this code needs it; nothing was written."""

    code = "migration_error"
