"""The guard of a write: its conditions as the first statement of the batch, and the errors for those that do not hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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

__all__ = ["Commit", "Condition", "Guard"]

Facts: TypeAlias = "Mapping[str, Any]"


@dataclass(frozen=True, slots=True)
class Commit:
    """A write that took place, as the state row remembers it: the result of a repetition."""

    commit_id: str
    operation: str
    version: int
    message_count_before: int
    message_count_after: int
    checkpoint_number: int
    at_ms: int
    history_epoch: int
    result: JsonValue = None

    @classmethod
    def from_text(cls, text: str) -> Commit:
        """The commit of its JSON text in the state row."""
        return cls(*cast("list[Any]", json.loads(text)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What one call alone demands: a statement that aborts the batch, and the errors of the faults that it names."""

    statement: Statement
    errors: Mapping[str, Callable[[Facts], Exception]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What must hold for a write to take place; None is no condition."""

    session_id: str
    commit_id: str
    operation: str
    token: int | None = None
    version: int | None = None
    history: StoredHistory | None = None
    must_exist: bool = False
    parent: str | None = None
    compare_parent: bool = False
    new_messages: int = 0
    new_checkpoints: int = 0
    conditions: tuple[Condition, ...] = ()
    earlier: Condition | None = None  # judged before all else: whether this was done before

    def statements(self) -> list[Statement]:
        """The beginning of the batch: aborts it with the live facts where a condition does not hold, and raises the fence."""
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
        )
        earlier = [] if self.earlier is None else [self.earlier.statement]
        conditions = [condition.statement for condition in self.conditions]
        fence = [] if self.token is None else [Statement(RAISE_FENCE, (self.session_id, self.token))]
        return [*earlier, Statement(GUARD, parameters), *conditions, *fence]

    def replay(self, facts: Facts) -> Commit | None:
        """The first result, where this very write has taken place before.

        Raises:
            InvalidArgumentError: the commit id was another operation's.
        """
        if facts["fault"] != "replay":
            return None
        return self.first(facts["first_commit"])

    def first(self, text: str) -> Commit:
        """The commit of this id, of its text in the state row.

        Raises:
            InvalidArgumentError: the commit id was another operation's.
        """
        commit = Commit.from_text(text)
        if commit.operation != self.operation:
            raise InvalidArgumentError(
                f"commit_id {self.commit_id!r} was used for {commit.operation}; a commit id names one write"
            )
        return commit

    def fault(self, facts: Facts) -> Exception:
        """The error of the condition that did not hold."""
        earlier: tuple[Condition, ...] = () if self.earlier is None else (self.earlier,)
        for condition in (*self.conditions, *earlier):
            if make := condition.errors.get(facts["fault"]):
                return make(facts)
        error: Exception
        match facts["fault"]:
            case "missing":
                error = StateNotFoundError(self.session_id)
            case "fence":
                error = StaleFencingTokenError(self.session_id, expected=facts["token"], actual=self.token or 0)
            case "version":
                error = StaleStateError(
                    self.session_id, reason="version", expected=self.version, actual=facts["version"]
                )
            case "history":
                expected = self.history.count if self.history else None
                error = StaleStateError(
                    self.session_id, reason="history", expected=expected, actual=facts["message_count"]
                )
            case "full":
                error = D1StateError(
                    f"session {self.session_id!r} is full: it holds 16,777,216 messages, 16,777,215 checkpoints"
                )
            case _:
                error = InvalidArgumentError(
                    f"parent_session_id of the stored session {self.session_id!r} cannot change"
                )
        return error
