"""Helpers of the conformance classes of turns: they begin a turn, let its Worker die, and look at the result."""

from __future__ import annotations

import asyncio
from typing import Any

from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.turns import Turn, TurnBlock

__all__ = ["begin", "chunks_of", "die", "enter", "runs_of"]


def begin(store: CloudflareStore, session_id: str, *, agent_type: Any = "a", **arguments: Any) -> TurnBlock:
    """Return the block of a turn."""
    return store.turn(session_id, agent_type=agent_type, **arguments)


async def enter(block: TurnBlock, *, leave: bool = False) -> None:
    """Enter a block. The turn stays open unless the test leaves it."""
    turn = await block.__aenter__()
    assert turn.number
    if leave:
        await block.__aexit__(None, None, None)


async def die(
    store: CloudflareStore, session_id: str, *, at_once: bool = False, records: int = 0, **arguments: Any
) -> Turn:
    """Return a turn whose Worker died after a commit with a chunk and so many tokens, or before: its lock is over, nothing was ended."""

    async def live() -> Turn:
        block = begin(store, session_id, auto_refresh=False, **arguments)
        turn = await block.__aenter__()
        if at_once:
            return turn
        await turn.write({"type": "text", "text": "half"})
        if records:
            turn.record_tokens(model="m", prompt=records)
        await turn.commit()
        return turn

    turn = await asyncio.create_task(live())
    await turn.lock.release()  # as if its ttl had run out
    return turn


async def runs_of(store: CloudflareStore, session_id: str) -> list[tuple[str, str]]:
    return [(run.run_id, run.status) for run in await store.state_store.list_runs(session_id)]


async def chunks_of(store: CloudflareStore, session_id: str) -> list[Any]:
    info = await store.stream_manager.get_info(session_id)
    if info is not None and info.status == "active":
        await store.stream_manager.end_stream(session_id)
    async with store.stream_manager.create_reader(session_id) as reader:
        return [chunk async for chunk in reader]
