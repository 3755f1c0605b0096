"""The classes of the harness as the stores see them: only the attributes that they read, and the calls that make them."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from pydantic_ai.messages import ModelMessage

__all__ = ["Effect", "Entry", "Event", "Run", "Snapshot", "StepTypes"]


class Entry(Protocol):
    """`spend.SpendEntry`: what one response adds to one window."""

    @property
    def key(self) -> str: ...
    @property
    def usd(self) -> Decimal: ...
    @property
    def tokens(self) -> int: ...
    @property
    def requests(self) -> int: ...
    @property
    def unpriced(self) -> int: ...
    @property
    def ttl(self) -> timedelta | None: ...
    @property
    def token(self) -> str | None: ...


class Run(Protocol):
    """`step_persistence.RunRecord`."""

    run_id: str
    conversation_id: str | None
    parent_run_id: str | None
    agent_name: str | None
    metadata: dict[str, str]
    started_at: datetime
    registration_id: str | None


class Event(Protocol):
    """`step_persistence.StepEvent`."""

    run_id: str
    step_index: int
    timestamp: datetime
    conversation_id: str | None
    parent_run_id: str | None
    agent_name: str | None
    tool_call_id: str | None
    tool_name: str | None
    error: str | None
    metadata: dict[str, str]
    idempotency_key: str | None

    @property
    def kind(self) -> str: ...


class Snapshot(Protocol):
    """`step_persistence.ContinuableSnapshot`."""

    run_id: str
    step_index: int
    messages: list[ModelMessage]
    conversation_id: str | None
    parent_run_id: str | None
    agent_name: str | None
    timestamp: datetime
    idempotency_key: str | None

    @property
    def state(self) -> str: ...


class Effect(Protocol):
    """`step_persistence.ToolEffectRecord`."""

    tool_call_id: str
    tool_name: str
    run_id: str
    started_at: datetime
    ended_at: datetime | None
    idempotency_key: str | None
    effect_summary: str | None

    @property
    def status(self) -> str: ...


class StepTypes(Protocol):
    """The module `pydantic_ai_harness.step_persistence`, or anything else with its four classes."""

    RunRecord: Any
    StepEvent: Any
    ContinuableSnapshot: Any
    ToolEffectRecord: Any
