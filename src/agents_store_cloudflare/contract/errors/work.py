"""The errors of locks, usage and turns."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from agents_store_cloudflare.contract.errors.base import AgentsStoreError
from agents_store_cloudflare.contract.json_types import JsonValue

__all__ = [
    "BudgetExceededError",
    "LockError",
    "LockLostError",
    "LockNotAcquiredError",
    "TurnEndedError",
    "TurnError",
    "TurnRunningError",
    "UsageError",
]


class LockError(AgentsStoreError):
    """The lock's Durable Object could not be reached; `outcome_unknown` says whether the call may have worked."""

    code = "lock_error"
    http_status = 503


@dataclass(eq=False, repr=False)
class LockNotAcquiredError(LockError):
    """The lock is held already.

    Attributes:
        owner: the owner of the lock when this lock manager holds it itself; None when somebody else does.
    """

    code = "lock_not_acquired"
    http_status = 409

    key: str
    owner: str | None = None

    def _describe(self) -> str:
        if self.owner is None:
            return f"lock {self.key!r} is held by somebody else; try again later, or pass wait=seconds"
        return (
            f"lock {self.key!r} is held by this lock manager itself (owner {self.owner!r}), and locks are not re-entrant; "
            "use the lock that you hold, or pass wait=seconds where another task holds it"
        )


@dataclass(eq=False, repr=False)
class LockLostError(LockError):
    """The lock of a block was lost before the block's end, so the block was cancelled, as `cancel_when_lost` demands."""

    code = "lock_lost"
    http_status = 409

    key: str

    def _describe(self) -> str:
        return f"lock {self.key!r} was lost before its block had ended; load again and redo what was not stored"


class UsageError(AgentsStoreError):
    """A usage call failed at the database."""

    code = "usage_error"


@dataclass(eq=False, repr=False)
class BudgetExceededError(UsageError):
    """A reservation does not fit under the caps of its scope and of the scopes around it; nothing was reserved."""

    code = "budget_exceeded"
    http_status = 429

    scope: str
    _: KW_ONLY
    amount: int

    def _describe(self) -> str:
        return (
            f"{self.amount:,} do not fit under the budget of {self.scope!r} and the scopes around it; "
            "spend less or raise a cap"
        )


class TurnError(AgentsStoreError):
    """A turn could not be begun, or was used in a wrong way; nothing was stored."""

    code = "turn_error"
    http_status = 409


@dataclass(eq=False, repr=False)
class TurnRunningError(TurnError):
    """A turn of this id is running. To follow it, read `stream_id` from `from_sequence` on, until the turn is closed."""

    code = "turn_running"

    session_id: str
    turn_id: str
    _: KW_ONLY
    stream_id: str
    from_sequence: int

    def _describe(self) -> str:
        return (
            f"turn {self.turn_id!r} of session {self.session_id!r} is running; "
            f"read stream {self.stream_id!r} from {self.from_sequence} on"
        )


@dataclass(eq=False, repr=False)
class TurnEndedError(TurnError):
    """A turn of this id has ended; it succeeds at most once.

    Attributes:
        status: how it ended, e.g. "completed" or "suspended".
        output: the turn's output.
        from_sequence: the position before its first chunk in the session's stream; None if it had none.
        end_sequence: the position of its last chunk; None if it had none.
    """

    code = "turn_ended"

    session_id: str
    turn_id: str
    _: KW_ONLY
    status: str
    output: JsonValue = None
    from_sequence: int | None = None
    end_sequence: int | None = None

    def _describe(self) -> str:
        return (
            f"turn {self.turn_id!r} of session {self.session_id!r} ended as {self.status!r}; "
            "take its outcome, or use a new turn_id"
        )
