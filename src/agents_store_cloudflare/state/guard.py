"""The guard of a write: its conditions as the first statement of the batch, and the errors for those that do not hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from agents_store_cloudflare.database import SqlValue, Statement
from agents_store_cloudflare.errors import (
    AgentsStoreError,
    D1StateError,
    InvalidArgumentError,
    StaleFencingTokenError,
    StaleStateError,
    StateNotFoundError,
)
from agents_store_cloudflare.records import StoredHistory
from agents_store_cloudflare.state.sql import GUARD, RAISE_FENCE

__all__ = ["Commit", "Guard"]


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

    @classmethod
    def from_text(cls, text: str) -> Commit:
        """The commit of its JSON text in the state row."""
        return cls(*cast("list[Any]", json.loads(text)))


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
        condition = Statement(GUARD, parameters)
        if self.token is None:
            return [condition]
        return [condition, Statement(RAISE_FENCE, (self.session_id, self.token))]

    def replay(self, facts: Mapping[str, Any]) -> Commit | None:
        """The first result, where this very write has taken place before.

        Raises:
            InvalidArgumentError: the commit id was another operation's.
        """
        if facts["fault"] != "replay":
            return None
        commit = Commit.from_text(facts["first_commit"])
        if commit.operation != self.operation:
            raise InvalidArgumentError(
                f"commit_id {self.commit_id!r} was used for {commit.operation}; a commit id names one write"
            )
        return commit

    def fault(self, facts: Mapping[str, Any]) -> AgentsStoreError:
        """The error of the condition that did not hold."""
        match facts["fault"]:
            case "missing":
                return StateNotFoundError(self.session_id)
            case "fence":
                return StaleFencingTokenError(self.session_id, expected=facts["token"], actual=self.token or 0)
            case "version":
                return StaleStateError(
                    self.session_id, reason="version", expected=self.version, actual=facts["version"]
                )
            case "history":
                expected = self.history.count if self.history else None
                return StaleStateError(
                    self.session_id, reason="history", expected=expected, actual=facts["message_count"]
                )
            case "full":
                return D1StateError(
                    f"session {self.session_id!r} is full: it holds 16,777,216 messages, 16,777,215 checkpoints"
                )
            case _:
                return InvalidArgumentError(
                    f"parent_session_id of the stored session {self.session_id!r} cannot change"
                )
