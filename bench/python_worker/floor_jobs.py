"""The floor: as many empty D1 batches and Durable Object calls as a job needs, by the raw bindings."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from bench_job import Job, raw
from workers import DurableObject

__all__ = ["FLOORS", "Idle"]


class Idle(DurableObject):
    """An object that does nothing."""

    def call(self, _request: str) -> str:
        """Do nothing."""
        return ""


@dataclass(kw_only=True)
class Floor(Job):
    made: int = 0

    async def once(self) -> None:
        if self.input["lanes"] == 1:
            await self._lane()
        else:
            await asyncio.gather(*[self._lane() for _ in range(self.input["lanes"])])

    async def read_back(self) -> object:
        return {"made": self.made}

    async def _lane(self) -> None:
        from pyodide.ffi import to_js  # noqa: PLC0415

        database, objects = raw(self.env.AGENT_DB), raw(self.env.IDLE)
        for _ in range(self.input["batches"]):
            await database.batch(to_js([database.prepare("SELECT 1")]))
            self.made += 1
        for _ in range(self.input["calls"]):
            name = f"{self.key}-{self.made}" if self.input.get("fresh") else self.key
            await objects.getByName(name).call("")
            self.made += 1


FLOORS: Mapping[str, type[Job]] = {"floor": Floor}
