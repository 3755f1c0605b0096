"""Measures how long a job waits for the platform, by a clock around the bindings."""

from dataclasses import dataclass
from typing import Any, Self

from bench_job import now_ms

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.cloudflare.namespace import as_namespace

__all__ = ["TimedBindings"]


@dataclass(kw_only=True)
class TimedCalls:
    """An adapter of the package whose calls are timed, with the conversions of the adapter."""

    target: Any
    waited_ms: float = 0.0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)  # the stores look for the raw binding in this attribute
        method = getattr(self.target, name)

        async def timed(*arguments: object) -> object:
            started_ms = now_ms()
            try:
                return await method(*arguments)
            finally:
                self.waited_ms += now_ms() - started_ms

        return timed


@dataclass(kw_only=True)
class TimedBindings:
    """The `env` of a job, with timed bindings."""

    AGENT_DB: TimedCalls
    STREAMS: TimedCalls
    LOCKS: TimedCalls

    @classmethod
    def of(cls, env: Any) -> Self:
        """Those of the Worker."""
        return cls(
            AGENT_DB=TimedCalls(target=as_database(env.AGENT_DB)),
            STREAMS=TimedCalls(target=as_namespace(env.STREAMS)),
            LOCKS=TimedCalls(target=as_namespace(env.LOCKS)),
        )

    def waited(self) -> dict[str, float]:
        """Return the milliseconds so far."""
        return {
            "d1Ms": self.AGENT_DB.waited_ms,
            "objectsMs": self.STREAMS.waited_ms + self.LOCKS.waited_ms,
        }
