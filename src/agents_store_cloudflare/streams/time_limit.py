"""Waits with a time limit. The work goes on after the limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

__all__ = ["is_done_within"]


async def is_done_within(seconds: float, work: Awaitable[None], *, sleep: Callable[[float], Awaitable[None]]) -> bool:
    """Return whether the work ended in time, or raise its exception. The work goes on after the limit or a cancellation."""
    working = asyncio.ensure_future(work)
    timer = asyncio.ensure_future(sleep(seconds))
    try:
        await asyncio.wait({working, timer}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        working.add_done_callback(_look_at)
    if working.done():
        working.result()
    return working.done()


def _look_at(work: asyncio.Future[None]) -> None:
    """Read the outcome, so that asyncio does not warn that an exception was never retrieved."""
    if not work.cancelled():
        work.exception()
