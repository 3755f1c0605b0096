"""The errors of the state store."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from agents_store_cloudflare.contract.errors.base import AgentsStoreError

__all__ = [
    "CheckpointKeptError",
    "CheckpointNotFoundError",
    "D1StateError",
    "RunConflictError",
    "RunNotFoundError",
    "SessionExistsError",
    "SessionNotMovedError",
    "StagingError",
    "StaleStateError",
    "StateNotFoundError",
    "StateSizeExceededError",
    "SubSessionRefNotFoundError",
]


class D1StateError(AgentsStoreError):
    """The database refused the call or did not answer; the cause is chained.

    Attributes:
        commit_id: the commit id of the write that failed. Repeating the call with it is safe when `outcome_unknown` is True.
    """

    code = "state_error"
    commit_id: str | None = None

    def __init__(self, message: str, *, outcome_unknown: bool = False, commit_id: str | None = None) -> None:
        super().__init__(message, outcome_unknown=outcome_unknown)
        self.commit_id = commit_id


@dataclass(eq=False, repr=False)
class StateNotFoundError(D1StateError):
    """The session does not exist.

    Attributes:
        session_id: the session that the call names.
        deleted_since: the call repeats an earlier one. Its session was deleted since, and the result is gone.
    """

    code = "state_not_found"
    http_status = 404

    session_id: str
    _: KW_ONLY
    deleted_since: bool = False

    def _describe(self) -> str:
        if self.deleted_since:
            return f"this call took place before, but its session {self.session_id!r} was deleted since; its result is gone"
        return f"session {self.session_id!r} does not exist; save_state or create_session makes one"


@dataclass(eq=False, repr=False)
class CheckpointNotFoundError(StateNotFoundError):
    """The session does not exist, or does not keep this checkpoint (any more)."""

    code = "checkpoint_not_found"

    checkpoint_id: str
    deleted_since: bool = field(default=False, init=False)

    def _describe(self) -> str:
        return (
            f"session {self.session_id!r} keeps no checkpoint {self.checkpoint_id!r}; "
            "list_checkpoints gives its checkpoints"
        )


@dataclass(eq=False, repr=False)
class RunNotFoundError(StateNotFoundError):
    """The session has no such run."""

    code = "run_not_found"

    run_id: str
    deleted_since: bool = field(default=False, init=False)

    def _describe(self) -> str:
        return f"session {self.session_id!r} has no run {self.run_id!r}; start_run makes one"


@dataclass(eq=False, repr=False)
class CheckpointKeptError(D1StateError):
    """A kept checkpoint needs messages that the call would drop; nothing was written.

    Attributes:
        count: how many messages the call would keep.
        kept: how many messages the newest checkpoint counts.
    """

    code = "checkpoint_kept"
    http_status = 409

    session_id: str
    _: KW_ONLY
    count: int
    kept: int

    def _describe(self) -> str:
        return (
            f"a checkpoint of session {self.session_id!r} needs {self.kept:,} messages, and the call would keep only "
            f"{self.count:,}; drop_checkpoints=True deletes such checkpoints too"
        )


@dataclass(eq=False, repr=False)
class SessionExistsError(D1StateError):
    """The id of a new session is already in use."""

    code = "session_exists"
    http_status = 409

    session_id: str

    def _describe(self) -> str:
        return f"session {self.session_id!r} exists already; pass exist_ok=True to get the stored session"


@dataclass(eq=False, repr=False)
class SessionNotMovedError(D1StateError):
    """D1 holds the session, so its home must not make another one; nothing was written."""

    code = "session_not_moved"
    http_status = 409

    session_id: str

    def _describe(self) -> str:
        return (
            f"session {self.session_id!r} is in D1 and was not moved to a home; use a store without sessions= for it, or export "
            "it, delete it and import it over a store with sessions="
        )


@dataclass(eq=False, repr=False)
class StaleStateError(D1StateError):
    """The stored session is a later one than this state was loaded from; nothing was written.

    Attributes:
        reason: "version": somebody saved in between. "history": the stored messages are not the loaded ones, or they belong to a
            deleted session of the same id. "edited": this state removed or changed stored messages.
        expected: the version or message count that the caller expects, as the reason says.
        actual: the stored one; 0 for a missing session.
    """

    code = "stale_state"
    http_status = 409

    session_id: str
    _: KW_ONLY
    reason: str
    expected: int | None
    actual: int | None

    def _describe(self) -> str:
        session, expected, actual = f"session {self.session_id!r}", self.expected, self.actual
        if self.reason == "edited":
            change = "changed some of them" if actual == expected else f"has {actual}"
            return (
                f"{session}: {expected} messages are stored, and this state {change}; a save only adds messages. "
                "To remove or rewrite stored messages use truncate_messages, pop_messages or replace_messages"
            )
        what = {"version": "version", "history": "number of messages"}.get(self.reason, self.reason)
        return f"{session} is stale: expected {what} {expected}, stored is {actual}; load it again and redo the change"


@dataclass(eq=False, repr=False)
class StateSizeExceededError(D1StateError):
    """The write is larger than a value of `StoreLimits` allows, or its database is full; nothing was written.

    Attributes:
        operation: the call, or the thing that is too large.
        session_id: the session that the call names.
        limit_bytes: the most bytes that are allowed.
        size_bytes: the bytes that the write needs.
        is_full: True when the limit is the size of the database: D1, or the home of the session.
    """

    code = "state_size_exceeded"
    http_status = 413

    operation: str
    session_id: str
    limit_bytes: int
    size_bytes: int
    _: KW_ONLY
    is_full: bool = False

    def _describe(self) -> str:
        if self.is_full:
            return (
                f"{self.operation} of session {self.session_id!r} found the session's database full: it holds at most "
                f"{self.limit_bytes:,} bytes; delete sessions or prune checkpoints there, and keep large values elsewhere (R2). "
                "Reads and deletions still work, and sessions of other homes are not affected"
            )
        return (
            f"{self.operation} of session {self.session_id!r} needs {self.size_bytes:,} bytes, the limit is "
            f"{self.limit_bytes:,}; store less, or keep large values elsewhere (R2) and save a reference"
        )


@dataclass(eq=False, repr=False)
class StagingError(D1StateError):
    """A staged change cannot be applied; nothing was changed. Discard the step, or stage the change again without the fault.

    Attributes:
        tool_call_id: the tool call that staged the change.
        operation_index: which of its patches is wrong, from 0; None if no single patch is.
        reason: the fault, without content.
    """

    code = "staging_error"
    http_status = 422

    session_id: str
    _: KW_ONLY
    tool_call_id: str | None
    operation_index: int | None = None
    reason: str

    def _describe(self) -> str:
        change = "a change" if self.tool_call_id is None else f"the change of tool call {self.tool_call_id!r}"
        where = "" if self.operation_index is None else f", operation {self.operation_index}"
        return f"session {self.session_id!r}: {change}{where} cannot be applied: {self.reason}; nothing was changed"


@dataclass(eq=False, repr=False)
class SubSessionRefNotFoundError(D1StateError):
    """The session has no reference to that sub-session."""

    code = "sub_session_ref_not_found"
    http_status = 404

    session_id: str
    sub_session_id: str

    def _describe(self) -> str:
        return (
            f"session {self.session_id!r} has no reference to {self.sub_session_id!r}; add_sub_session_refs makes one"
        )


@dataclass(eq=False, repr=False)
class RunConflictError(D1StateError):
    """A condition of `start_run` did not hold; nothing was written.

    Attributes:
        reason: "status": the session's status is none of `expect_statuses`. "current_run": another run than
            `expect_current_run_id` is current. "run_id": the session has a run of this id.
        status: the session's status.
        current_run_id: the latest run that has not ended, or None.
    """

    code = "run_conflict"
    http_status = 409

    session_id: str
    run_id: str
    _: KW_ONLY
    reason: str
    status: str
    current_run_id: str | None = None

    def _describe(self) -> str:
        what = {
            "status": f"its status is {self.status!r}",
            "current_run": f"its current run is {self.current_run_id!r}",
            "run_id": "it has a run of that id; each run needs its own",
        }[self.reason]
        return f"run {self.run_id!r} of session {self.session_id!r} was not started: {what}"
