"""Sends the changes of a home to D1 by an alarm, as long as there are changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from agents_store_cloudflare.database import Database
from agents_store_cloudflare.homes.outbox import Outbox
from agents_store_cloudflare.homes.projection import Projection
from agents_store_cloudflare.homes.tables import HomeTables
from agents_store_cloudflare.objects import ObjectHost

__all__ = ["Publishing"]

FIRST_PAUSE_MS: Final = 1_000
LONGEST_PAUSE_MS: Final = 60_000


class Publishing:
    """The alarm of one home. It is set in the transaction of the change that must be sent.

    While D1 cannot be reached, it rings again after 1, 2, 4 … 60 seconds. Every object that wakes checks whether changes are left.
    So a lost alarm does not leave the directory wrong for ever.

    Args:
        database: returns D1. It raises an error when the Worker has no D1.
    """

    def __init__(
        self,
        host: ObjectHost,
        tables: HomeTables,
        *,
        database: Callable[[], Database],
        outbox: Outbox,
        projection: Projection,
        logger: logging.Logger,
    ) -> None:
        self._host = host
        self._tables = tables
        self._database = database
        self._outbox = outbox
        self._projection = projection
        self._logger = logger
        self._due_ms: int | None = None
        self._has_looked = False
        self._failures = 0
        self._one_at_a_time = asyncio.Lock()

    def wake(self, delay_ms: int) -> None:
        """Check once, when the object has woken, whether changes are left."""
        if not self._has_looked:
            self._has_looked = True
            if self._is_due():
                self.changed(delay_ms)

    def waits(self) -> int | None:
        """Return the next time at which changes must be sent to D1."""
        return self._host.now_ms() + FIRST_PAUSE_MS if self._is_due() else None

    def changed(self, delay_ms: int) -> None:
        """Send a change after `delay_ms`, or earlier if the alarm rings before."""
        at_ms = self._host.now_ms() + delay_ms
        if self._is_later(at_ms):
            self._set(at_ms)

    def wrote(self, delay_ms: int) -> None:
        """Set the alarm after a batch that may have changed rows. Without a directory only waiting rows of the outbox need it."""
        at_ms = self._host.now_ms() + delay_ms
        if self._is_later(at_ms) and (self._has_directory() or self._outbox.is_due()):
            self._set(at_ms)

    def due_after(self, delay_ms: int) -> int | None:
        """Return the time of the alarm after the first change of a new home, or None without a directory."""
        return self._host.now_ms() + delay_ms if self._has_directory() else None

    async def ring(self) -> None:
        """Send all changes to D1. It never raises, because the platform repeats a failed alarm only a few times."""
        self._due_ms = None
        await self.tell()

    async def drain(self) -> bool:
        """Send the usage to D1 now. Return whether that worked. If not, the alarm sends it later."""
        return not self._outbox.is_due() or await self._done(self._send_outbox)

    async def tell(self) -> bool:
        """Send all changes to D1 now. Return whether that worked. If not, the alarm sends them later."""
        return await self._done(self._send_everything)

    async def _done(self, work: Callable[[], Awaitable[None]]) -> bool:
        try:
            async with self._one_at_a_time:
                await work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next alarm tries again
            self._failures += 1
            pause_ms = min(FIRST_PAUSE_MS * 2 ** min(self._failures - 1, 10), LONGEST_PAUSE_MS)
            self._logger.warning("D1 could not be reached, next attempt in %d s: %s", pause_ms // 1000, error)
            self._set(self._host.now_ms() + pause_ms)
            return False
        self._failures = 0
        return True

    async def _send_outbox(self) -> None:
        if self._outbox.is_due():
            await self._outbox.send(self._database(), self._host.now_ms())

    async def _send_everything(self) -> None:
        await self._send_outbox()
        if self._has_directory() and self._projection.is_due():
            await self._projection.send(self._database(), self._host.now_ms())

    def _is_later(self, at_ms: int) -> bool:
        """Return whether the alarm that is set, if any, rings after this time."""
        return self._due_ms is None or self._due_ms > at_ms

    def _is_due(self) -> bool:
        return self._outbox.is_due() or (self._has_directory() and self._projection.is_due())

    def _has_directory(self) -> bool:
        record = self._tables.record()
        return record is not None and bool(record.options.get("directory", True))

    def _set(self, at_ms: int) -> None:
        self._due_ms = at_ms
        self._host.set_alarm(at_ms)
