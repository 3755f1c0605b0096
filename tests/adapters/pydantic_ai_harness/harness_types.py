"""Classes of the shape that the harness's have: tests run without the harness, which pins another pydantic-ai."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from pydantic_ai.messages import ModelMessage

AT = datetime(2026, 11, 27, 12, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Spent:
    usd: Decimal = Decimal(0)
    tokens: int = 0
    requests: int = 0
    unpriced_requests: int = 0


@dataclass(frozen=True, kw_only=True)
class SpendEntry:
    key: str
    usd: Decimal = Decimal(0)
    tokens: int = 0
    requests: int = 0
    unpriced: int = 0
    ttl: timedelta | None = None
    token: str | None = None


@dataclass(kw_only=True)
class RunRecord:
    run_id: str
    conversation_id: str | None = None
    parent_run_id: str | None = None
    agent_name: str | None = None
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    started_at: datetime = AT
    registration_id: str | None = None


@dataclass(kw_only=True)
class StepEvent:
    run_id: str
    kind: str
    step_index: int = 0
    timestamp: datetime = AT
    conversation_id: str | None = None
    parent_run_id: str | None = None
    agent_name: str | None = None
    tool_call_id: str | None = None
    tool_name: str | None = None
    error: str | None = None
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    idempotency_key: str | None = None


@dataclass(kw_only=True)
class ContinuableSnapshot:
    run_id: str
    step_index: int
    messages: list[ModelMessage]
    conversation_id: str | None = None
    parent_run_id: str | None = None
    agent_name: str | None = None
    timestamp: datetime = AT
    state: str = "complete"
    idempotency_key: str | None = None


@dataclass(kw_only=True)
class ToolEffectRecord:
    tool_call_id: str
    tool_name: str
    run_id: str
    status: str
    started_at: datetime = AT
    ended_at: datetime | None = None
    idempotency_key: str | None = None
    effect_summary: str | None = None
