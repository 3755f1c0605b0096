"""A network whose calls arrive when a test lets them, so that the waits of a piece of work can be counted."""

import asyncio
from collections.abc import Awaitable, Sequence

from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase

__all__ = ["FarDatabase", "FarObjects", "Network"]

SETTLING = 50
"""Steps of the event loop after which only calls on the network can be waiting."""


class Network:
    """All calls that are on their way arrive together. Each such arrival is one wait."""

    def __init__(self) -> None:
        self.waits: int = 0
        self._under_way: list[asyncio.Future[None]] = []

    async def hop(self) -> None:
        """Wait on the way."""
        arrival = asyncio.get_running_loop().create_future()
        self._under_way.append(arrival)
        await arrival

    async def run(self, work: Awaitable[None]) -> int:
        """Do the work. Return its number of waits in a row, without its work in the background."""
        self.waits = 0
        task = asyncio.ensure_future(work)
        while True:
            for _ in range(SETTLING):
                await asyncio.sleep(0)
            if task.done():
                break
            self.waits += 1
            self._arrive()
        waits = self.waits
        while self._under_way:
            self._arrive()
            for _ in range(SETTLING):
                await asyncio.sleep(0)
        await task
        return waits

    def _arrive(self) -> None:
        arriving, self._under_way = self._under_way, []
        for each in arriving:
            each.set_result(None)


class FarDatabase:
    """A database behind the network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.near: SqliteDatabase = SqliteDatabase()

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run a batch there."""
        await self._network.hop()
        return await self.near.batch(statements)


class FarObjects:
    """Objects behind the network."""

    def __init__(self, network: Network, objects: LocalObjects) -> None:
        self._network = network
        self._objects = objects

    async def call(self, name: str, request: str) -> str:
        """Ask an object there."""
        await self._network.hop()
        return await self._objects.call(name, request)
