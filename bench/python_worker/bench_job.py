"""The base of all jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents_store_cloudflare import AgentState
from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.database import BatchObserver, Database

__all__ = ["Job", "described", "new_state", "now_ms", "raw"]


@dataclass(kw_only=True)
class Job:
    """One job. `once` is timed, and `read_back` returns the stored or read data.

    Attributes:
        has_before_each: True if `before_each` does something. Then each repetition is timed by itself.
    """

    env: Any
    key: str
    input: Mapping[str, Any]
    observer: BatchObserver | None = None
    has_before_each: bool = False

    def database(self) -> Database:
        """Return the database. Its batches are counted if the order asks for it."""
        return as_database(self.env.AGENT_DB, observer=self.observer)

    async def set_up(self) -> None:
        """Run before all repetitions, untimed. By default it does nothing."""

    async def before_each(self) -> None:
        """Run before each repetition, untimed."""

    async def once(self) -> None:
        """Run one repetition."""
        raise NotImplementedError

    async def read_back(self) -> object:
        """Return the stored or read data as JSON."""
        raise NotImplementedError

    def counts(self) -> dict[str, float]:
        """Return what the job itself has counted in all repetitions. By default nothing."""
        return {}


def now_ms() -> float:
    """Return the clock that the JavaScript side reads too."""
    from js import performance  # noqa: PLC0415  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    return float(performance.now())  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


def new_state(session_id: str, given: Mapping[str, Any]) -> AgentState:
    """Return a state that was never saved."""
    return AgentState.from_dict({"sessionId": session_id, "agentType": "bench", **given["state"]})


def described(state: AgentState) -> dict[str, Any]:
    """Return the description of a session that both sides give."""
    return {
        "status": state.status,
        "stepCount": state.step_count,
        "customState": state.custom_state,
        "messages": state.messages,
    }


def raw(binding: Any) -> Any:
    """Return the binding without the SDK's wrapper."""
    return getattr(binding, "_binding", binding)
