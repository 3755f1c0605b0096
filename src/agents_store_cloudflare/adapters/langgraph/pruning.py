"""Prunes a thread. The newest checkpoint of each namespace stays, and so do the ancestors that its delta channels need."""

from __future__ import annotations

from typing import Any, cast

from agents_store_cloudflare.adapters.langgraph import deleting_sql, reading_sql
from agents_store_cloudflare.adapters.langgraph.batches import GraphBatches
from agents_store_cloudflare.adapters.langgraph.history import History
from agents_store_cloudflare.adapters.langgraph.known import Thread
from agents_store_cloudflare.adapters.langgraph.reading import read_metadata
from agents_store_cloudflare.adapters.langgraph.shapes import dump
from agents_store_cloudflare.adapters.langgraph.text_codec import TextCodec
from agents_store_cloudflare.database import Statement

__all__ = ["pruned"]


async def pruned(batches: GraphBatches, history: History, thread_id: str, codec: TextCodec) -> None:
    """Delete all checkpoints of a thread except the newest of each namespace and the ancestors that these need.

    Checkpoints that others put meanwhile stay.
    """
    [heads] = await batches.read("prune", thread_id, [Statement(reading_sql.HEADS_OF_THREAD, (thread_id,))])
    kept: list[list[str]] = []
    for ns, newest, metadata in cast("list[list[str]]", heads):
        kept.append([ns, newest])
        counters: dict[str, Any] = cast("Any", read_metadata(metadata)).get("counters_since_delta_snapshot") or {}
        if counters:
            kept += [[ns, each] for each in await _ancestors((thread_id, ns), newest, set(counters), history, codec)]
    if kept:
        statements = [
            Statement(deleting_sql.PRUNE, (thread_id, dump(kept))),
            Statement(deleting_sql.FORGET_LINES, (dump([thread_id]),)),
        ]
        await batches.write("prune", (thread_id, ""), statements)


async def _ancestors(thread: Thread, head: str, channels: set[str], history: History, codec: TextCodec) -> list[str]:
    """Return the ancestors that are needed: for every channel, those up to the nearest ancestor with a value."""
    found: list[str] = []
    async for made in history.chain(thread, head, codec):
        checkpoint_id: str = made.checkpoint["id"]
        if checkpoint_id != head:
            found.append(checkpoint_id)
        channels = channels - made.checkpoint["channel_values"].keys()
        if not channels:
            break
    return found
