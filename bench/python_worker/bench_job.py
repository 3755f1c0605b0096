"""What every job has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents_store_cloudflare import AgentState
from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.database import BatchObserver, Database

__all__ = ["Job", "described", "new_state", "now_ms", "raw"]


@dataclass(kw_only=True)
class Job:
    """One job: `once` is timed, `read_back` says what was stored or read.

    Attributes:
        has_before_each: `before_each` does something: each repetition is timed by itself.
    """

    env: Any
    key: str
    input: Mapping[str, Any]
    observer: BatchObserver | None = None
    has_before_each: bool = False

    def database(self) -> Database:
        """The database, its batches counted where the order says so."""
        return as_database(self.env.AGENT_DB, observer=self.observer)

    async def set_up(self) -> None:
        """Before all repetitions, untimed: nothing, unless the job says otherwise."""

    async def before_each(self) -> None:
        """Before each repetition, untimed."""

    async def once(self) -> None:
        """One repetition."""
        raise NotImplementedError

    async def read_back(self) -> object:
        """What was stored or read, as JSON."""
        raise NotImplementedError


def now_ms() -> float:
    """The clock that the JavaScript side reads too."""
    from js import performance  # noqa: PLC0415  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    return float(performance.now())  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


def new_state(session_id: str, given: Mapping[str, Any]) -> AgentState:
    """A state that was never saved."""
    return AgentState.from_dict({"sessionId": session_id, "agentType": "bench", **given["state"]})


def described(state: AgentState) -> dict[str, Any]:
    """What both sides know of a session."""
    return {
        "status": state.status,
        "stepCount": state.step_count,
        "customState": state.custom_state,
        "messages": state.messages,
    }


def raw(binding: Any) -> Any:
    """The binding without the SDK's wrapper."""
    return getattr(binding, "_binding", binding)
