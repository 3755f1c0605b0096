"""Bindings behind a network: each D1 batch and each call of an object waits first."""

from dataclasses import dataclass, field
from typing import Any, Self

from delays import Delays

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.cloudflare.namespace import as_namespace

__all__ = ["DelayedBindings"]


@dataclass(kw_only=True)
class DelayedDatabase:
    """D1 behind the network."""

    target: Any
    delays: Delays

    async def batch(self, statements: object) -> object:
        """One round trip."""
        await self.delays.hop()
        return await self.target.batch(statements)

    async def measured_batch(self, statements: object) -> object:
        """The same, for a meter."""
        await self.delays.hop()
        return await self.target.measured_batch(statements)


@dataclass(kw_only=True)
class DelayedNamespace:
    """Objects behind the network."""

    target: Any
    delays: Delays

    async def call(self, name: str, request: str) -> str:
        """One round trip."""
        await self.delays.hop()
        reply: str = await self.target.call(name, request)
        return reply

    def hang_up(self, name: str) -> None:
        """Tell the object that nobody waits for its answer: nobody waits for this either."""
        self.target.hang_up(name)

    def open_no_line(self, name: str) -> None:
        """Tell the namespace that no call follows the next one."""
        self.target.open_no_line(name)


@dataclass(kw_only=True)
class DelayedBindings:
    """What a job knows as `env`."""

    AGENT_DB: DelayedDatabase
    STREAMS: DelayedNamespace
    LOCKS: DelayedNamespace
    SESSIONS: DelayedNamespace
    delays: Delays = field(repr=False)

    @classmethod
    def of(cls, env: Any, delays: Delays) -> Self:
        """Those of the Worker."""
        return cls(
            AGENT_DB=DelayedDatabase(target=as_database(env.AGENT_DB), delays=delays),
            STREAMS=DelayedNamespace(target=as_namespace(env.STREAMS), delays=delays),
            LOCKS=DelayedNamespace(target=as_namespace(env.LOCKS), delays=delays),
            SESSIONS=DelayedNamespace(target=as_namespace(env.SESSIONS), delays=delays),
            delays=delays,
        )
