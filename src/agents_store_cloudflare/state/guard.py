"""The guard of a write: its conditions as the first statement of the batch, and the error of each condition."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from agents_store_cloudflare.contract.errors import (
    D1StateError,
    InvalidArgumentError,
    StaleFencingTokenError,
    StaleStateError,
    StateNotFoundError,
)
from agents_store_cloudflare.contract.json_types import JsonValue
from agents_store_cloudflare.contract.state.records import StoredHistory
from agents_store_cloudflare.database import SqlValue, Statement
from agents_store_cloudflare.state.commit_sql import GUARD, RAISE_FENCE

__all__ = ["Commit", "Condition", "DeletedMeanwhileError", "Facts", "Guard"]

Facts: TypeAlias = "Mapping[str, Any]"


@dataclass(frozen=True, slots=True)
class Commit:
    """A write that took place, as the database remembers it. A repetition gets its result.

    Attributes:
        commit_id: the name of the request.
        request: the name of the operation, "#", and the digests of the request, separated by commas.
        version: the session's version after it.
        at_ms: when it took place (milliseconds since 1970).
        past: whether the session was deleted since. Then a result that held text is gone.
    """

    commit_id: str
    request: str
    version: int
    message_count_before: int
    message_count_after: int
    checkpoint_number: int
    at_ms: int
    history_epoch: int
    result: JsonValue = None
    past: bool = field(default=False, kw_only=True)

    @classmethod
    def from_text(cls, text: str, *, past: bool = False) -> Commit:
        """Return the commit that a JSON text from the database describes."""
        return cls(*cast("list[Any]", json.loads(text)), past=past)

    @property
    def operation(self) -> str:
        """The name of the call."""
        return self.request.partition("#")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition of one kind of call: a statement that aborts the batch, and the error of each fault that it names."""

    statement: Statement
    errors: Mapping[str, Callable[[Facts], Exception]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The conditions of a write. A condition that is None is not checked.

    Attributes:
        digest: the digest of the request's arguments (`requests.digest`). A repetition with the same commit id must have it too.
        later_digest: the digest of the same request when the caller repeats it with objects that the first call changed; "" when no
            object changes.
        token: the fencing token.
        version: the version that must be stored.
        history: the messages that must be stored.
        must_exist: whether the session must exist.
        lives: how many sessions of this id must have been deleted before.
        conditions: the conditions of this kind of call.
    """

    session_id: str
    commit_id: str
    operation: str
    digest: str
    later_digest: str = ""
    token: int | None = None
    version: int | None = None
    history: StoredHistory | None = None
    must_exist: bool = False
    parent: str | None = None
    compare_parent: bool = False
    new_messages: int = 0
    new_checkpoints: int = 0
    lives: int | None = None
    conditions: tuple[Condition, ...] = ()

    @property
    def request(self) -> str:
        """The request in the form in which the database remembers it."""
        also = f",{self.later_digest}" if self.later_digest not in {"", self.digest} else ""
        return f"{self.operation}#{self.digest}{also}"

    def statements(self) -> list[Statement]:
        """Return the first statements of the batch. They abort it when a condition does not hold, and raise the fence."""
        history = self.history
        parameters: tuple[SqlValue, ...] = (
            self.session_id,
            self.commit_id,
            self.token,
            self.version,
            None if history is None else history.count,
            0 if history is None else history.epoch,
            int(self.must_exist),
            self.parent,
            int(self.compare_parent),
            self.new_messages,
            self.new_checkpoints,
            self.lives,
        )
        conditions = [condition.statement for condition in self.conditions]
        return [Statement(GUARD, parameters), *conditions, *self.fence()]

    def fence(self) -> list[Statement]:
        """Return the statement that raises the fence, if the call has a token."""
        return [] if self.token is None else [Statement(RAISE_FENCE, (self.session_id, self.token))]

    def first(self, text: str, *, past: bool = False) -> Commit:
        """Return the first commit of this commit id.

        Args:
            text: its JSON text in the database.
            past: whether its session was deleted since.

        Raises:
            InvalidArgumentError: the commit id belongs to another request.
        """
        commit = Commit.from_text(text, past=past)
        self.check_request(commit.request)
        return commit

    def check_request(self, request: str) -> None:
        """Check that the commit id was used for this request.

        Raises:
            InvalidArgumentError: it belongs to another request.
        """
        operation, _, digests = request.partition("#")
        if operation != self.operation:
            raise InvalidArgumentError(
                f"commit_id {self.commit_id!r} was used for {operation}; a commit id names one write"
            )
        if self.digest not in digests.split(","):
            raise InvalidArgumentError(
                f"commit_id {self.commit_id!r} was used for {operation} with other arguments; a commit id names one write"
            )

    def living(self, commit: Commit) -> Commit:
        """Return the commit if its session still exists, because the result is read from the session.

        Raises:
            StateNotFoundError: the session was deleted since (`deleted_since`).
        """
        if commit.past:
            raise StateNotFoundError(self.session_id, deleted_since=True)
        return commit

    def fault(self, facts: Facts) -> Exception:
        """Return the error of the condition that did not hold.

        Args:
            facts: the live facts from the text of the database's error.
        """
        for condition in self.conditions:
            if make := condition.errors.get(facts["fault"]):
                return make(facts)
        error: Exception
        match facts["fault"]:
            case "missing":
                error = StateNotFoundError(self.session_id)
            case "fence":
                error = StaleFencingTokenError(
                    self.session_id, expected=facts.get("token") or 0, actual=self.token or 0
                )
            case "version":
                error = StaleStateError(
                    self.session_id, reason="version", expected=self.version, actual=facts.get("version")
                )
            case "history":
                expected = self.history.count if self.history else None
                error = StaleStateError(
                    self.session_id, reason="history", expected=expected, actual=facts.get("message_count")
                )
            case "life":
                error = DeletedMeanwhileError()
            case "full":
                error = D1StateError(
                    f"session {self.session_id!r} is full: it holds 16,777,216 messages, 16,777,215 checkpoints"
                )
            case "parent":
                error = InvalidArgumentError(
                    f"parent_session_id of the stored session {self.session_id!r} cannot change"
                )
            case _:
                error = D1StateError(
                    f"a condition of {self.operation} did not hold in session {self.session_id!r}, and nothing was written; "
                    "the database did not say which condition"
                )
        return error


class DeletedMeanwhileError(Exception):
    """Somebody else deleted the session since the number of deletions was read. Callers do not get this error."""
