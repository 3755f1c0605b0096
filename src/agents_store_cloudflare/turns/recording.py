"""The usage of a turn, kept in memory until a commit stores it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER, check_whole_number
from agents_store_cloudflare.contract.errors import InvalidArgumentError, LockLostError, TurnError
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.contract.usage.records import UsageEntry
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.turns.parts import TurnParts

__all__ = ["RecordingTurn"]

ENTRIES_A_STATEMENT = 500


class RecordingTurn:
    """The usage of a turn, and the check that the turn is still open."""

    def __init__(self, parts: TurnParts) -> None:
        self._parts = parts
        self.id: str = parts.options.turn_id
        self.state: AgentState = parts.entered.state
        self._usage: list[UsageEntry] = []
        self._recorded = 0
        self._given_spent: int | None = None
        self._is_over = False
        self._is_ending = False

    @property
    def spent(self) -> int:
        """The amount that the turn has spent, in the unit of its budget: the tokens of its entries, or their cost in millionths of
        a dollar.

        You may set it, to settle another amount.
        """
        return self._recorded if self._given_spent is None else self._given_spent

    @spent.setter
    def spent(self, amount: int) -> None:
        self._given_spent = check_whole_number(amount, "spent")

    def record(self, entry: UsageEntry | Mapping[str, object]) -> UsageEntry:
        """Record usage. The next commit stores it, and a turn that fails stores it too.

        Raises:
            TurnError: the turn is over, or its last commit is on the way.
            TypeError, InvalidArgumentError: the entry breaks a rule, or the turn would have spent more than 2**53 - 1.
        """
        self._check_open()
        [completed] = self._parts.state_store.complete_usage([entry])
        if completed.session_id != self.state.session_id:
            raise InvalidArgumentError(f"the entry is of session {completed.session_id!r}, not of this turn's session")
        amount = _amount(completed, self._parts.entered.unit)
        if self._recorded + amount > MAX_SAFE_INTEGER:
            raise InvalidArgumentError(
                f"turn {self.id!r} would have spent more than 2**53 - 1 in the unit of its budget"
            )
        self._usage.append(completed)
        self._recorded += amount
        return completed

    def record_tokens(self, *, model: str, prompt: int = 0, completion: int = 0, **counts: int) -> UsageEntry:
        """Record the tokens of one model call. `reasoning`, `cached` and `total` may follow.

        Args:
            model: the model's name. Totals and prices use it.
            prompt: the tokens that the model read.
            completion: the tokens that it wrote.
            counts: `reasoning`, `cached` and `total`, in tokens.
        """
        tokens = {"prompt": prompt, "completion": completion, **counts}
        return self.record({**self._facts("tokens"), "model": model, "tokens": tokens})

    def record_tool(self, *, tool_name: str, duration_ms: int, success: bool, error: str | None = None) -> UsageEntry:
        """Record one call of a tool.

        Args:
            tool_name: the tool's name. Totals use it.
            duration_ms: how long it took, in milliseconds.
            success: whether it worked.
            error: why it did not.
        """
        facts: dict[str, object] = {"toolName": tool_name, "durationMs": duration_ms, "success": success}
        return self.record({**self._facts("tool"), **facts, **({} if error is None else {"error": error})})

    def record_subagent(self, *, agent_type: str, sub_session_id: str, duration_ms: int, success: bool) -> UsageEntry:
        """Record one run of a sub-agent. The sub-agent's own session holds its usage.

        Args:
            agent_type: the kind of the sub-agent.
            sub_session_id: its own session.
            duration_ms: how long it took, in milliseconds.
            success: whether it worked.
        """
        facts: dict[str, object] = {"agentType": agent_type, "subSessionId": sub_session_id}
        return self.record({**self._facts("subagent"), **facts, "durationMs": duration_ms, "success": success})

    def record_custom(self, *, name: str, value: float, data: JsonValue = None) -> UsageEntry:
        """Record a number of your own.

        Args:
            name: what is counted.
            value: the number, in your own unit.
            data: JSON beside it.
        """
        facts: dict[str, object] = {"name": name, "value": value}
        return self.record({**self._facts("custom"), **facts, **({} if data is None else {"data": data})})

    def _facts(self, kind: str) -> dict[str, object]:
        return {
            "sessionId": self.state.session_id,
            "kind": kind,
            "stepCount": self.state.step_count,
            "source": {"type": "agent", "name": self._parts.options.agent_type},
            "runId": self.id,
        }

    def _usage_statements(self) -> list[Statement]:
        session_id, entries = self.state.session_id, self._usage
        return [
            statement
            for first in range(0, len(entries), ENTRIES_A_STATEMENT)
            for statement in self._parts.state_store.usage_statements(
                session_id, entries[first : first + ENTRIES_A_STATEMENT]
            )
        ]

    def _check_open(self) -> None:
        """Raise `TurnError` if no later commit can store an addition."""
        self._check_not_over()
        if self._is_ending:
            raise TurnError(
                f"turn {self.id!r} of session {self.state.session_id!r} is over once its last commit is stored"
            )

    def _check_not_over(self) -> None:
        if self._is_over:
            raise TurnError(f"turn {self.id!r} of session {self.state.session_id!r} is over; begin another one")
        if self._parts.lock.lost:
            raise LockLostError(self._parts.lock.key)


def _amount(entry: UsageEntry, unit: str | None) -> int:
    """Return the amount of an entry in a budget's unit."""
    if unit == "tokens":
        return cast("Any", entry.tokens).total if entry.tokens is not None else 0
    return entry.cost_micros or 0
