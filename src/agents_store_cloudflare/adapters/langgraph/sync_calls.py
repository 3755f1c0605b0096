"""LangGraph's synchronous calls. On CPython they run in a thread with an event loop of its own. In a Worker they raise an error."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["all_of", "run_now"]

T = TypeVar("T")

_THREADS: list[ThreadPoolExecutor] = []


def run_now(call: Coroutine[Any, Any, T], name: str) -> T:
    """Return the result of a coroutine, for a caller that cannot await.

    Raises:
        NotImplementedError: in a Worker, where nothing can wait for a database without `await`.
    """
    if sys.platform == "emscripten":
        call.close()
        raise NotImplementedError(
            f"{name} waits for D1, and a Worker cannot wait without await: call the graph's asynchronous methods "
            "(ainvoke, astream, aget_state), or the saver's (a" + name + ")"
        )
    if not _THREADS:
        _THREADS.append(ThreadPoolExecutor(thread_name_prefix="agents-store-langgraph"))
    return _THREADS[0].submit(asyncio.run, call).result()


async def all_of(items: AsyncIterator[T]) -> list[T]:
    """Return all items as a list."""
    return [item async for item in items]
