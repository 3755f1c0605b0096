"""Reads checkpoints: one, pages of them, and the history of delta channels."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from langgraph.checkpoint.base import CheckpointTuple, DeltaChannelHistory, PendingWrite

from agents_store_cloudflare.adapters.langgraph import reading_sql
from agents_store_cloudflare.adapters.langgraph.batches import GraphBatches
from agents_store_cloudflare.adapters.langgraph.known import KnownThreads, Thread
from agents_store_cloudflare.adapters.langgraph.lines import Lines
from agents_store_cloudflare.adapters.langgraph.reading import CheckpointRow, read_row
from agents_store_cloudflare.adapters.langgraph.text_codec import TextCodec
from agents_store_cloudflare.database import SqlValue, Statement

__all__ = ["History", "Wanted"]

PAGE: Final = 100
CHAIN: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The filter of a list of checkpoints. None means no condition.

    Attributes:
        before: only checkpoints before this checkpoint.
        metadata: the metadata that a checkpoint must have.
    """

    thread_id: str | None
    ns: str | None
    checkpoint_id: str | None
    before: str | None
    limit: int | None
    metadata: Mapping[str, Any]


class History:
    """The reading half of a saver."""

    def __init__(self, batches: GraphBatches, known: KnownThreads, *, checks_head: bool) -> None:
        self._batches = batches
        self._known = known
        self._checks_head = checks_head

    async def get(self, thread: Thread, checkpoint_id: str | None, codec: TextCodec) -> CheckpointTuple | None:
        """Return the checkpoint with an id, or the newest one. It costs one batch, and the saver remembers the checkpoint."""
        select = (
            Statement(reading_sql.SELECT_LATEST, thread)
            if checkpoint_id is None
            else Statement(reading_sql.SELECT_ONE, (*thread, checkpoint_id))
        )
        looks = checkpoint_id is None or self._checks_head
        head = [Statement(reading_sql.SELECT_HEAD, thread)] if looks and checkpoint_id is not None else []
        rows, lines, *heads = await self._batches.read(
            "get_tuple", thread[0], [select, Statement(reading_sql.LINES_OF_ONE, (*thread, checkpoint_id)), *head]
        )
        if looks:
            newest = heads[0] if heads else [row[2:3] for row in rows]
            self._known.see_head(thread, cast("str", newest[0][0]) if newest else "")
        if not rows:
            return None
        row = CheckpointRow.of(rows[0])
        made, known = read_row(row, Lines(lines), codec)
        self._known.keep(thread, row.checkpoint_id, known)
        return made

    async def pages(self, wanted: Wanted, codec: TextCodec) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints, the newest first, with one batch for each page."""
        thread_id = wanted.thread_id
        key = self._batches.only_home("list without a thread") if thread_id is None else thread_id
        kind = 0 if thread_id is None else 1 if wanted.ns is None else 2
        left = wanted.limit
        after: tuple[SqlValue, ...] = (None, None, None)
        while left is None or left > 0:
            most = PAGE if left is None or wanted.metadata else min(left, PAGE)
            parameters = (thread_id, wanted.ns, wanted.checkpoint_id, wanted.before, most, *after)
            rows, lines = await self._batches.read(
                "list",
                key,
                [
                    Statement(reading_sql.SELECT_PAGE[kind], parameters),
                    Statement(reading_sql.LINES_OF_PAGE[kind], parameters),
                ],
            )
            found = Lines(lines)
            for row in map(CheckpointRow.of, rows):
                made, _ = read_row(row, found, codec)
                if all(made.metadata.get(name) == value for name, value in wanted.metadata.items()):
                    yield made
                    left = None if left is None else left - 1
                    if left == 0:
                        return
            if len(rows) < most:
                return
            last = CheckpointRow.of(rows[-1])
            after = (last.checkpoint_id, *last.thread)

    async def chain(self, thread: Thread, checkpoint_id: str, codec: TextCodec) -> AsyncIterator[CheckpointTuple]:
        """Yield a checkpoint and its ancestors, with one batch for each 200."""
        at: str | None = checkpoint_id
        skip = 0
        while at is not None:
            parameters = (*thread, at, CHAIN)
            rows, lines = await self._batches.read(
                "get_delta_channel_history",
                thread[0],
                [Statement(reading_sql.SELECT_CHAIN, parameters), Statement(reading_sql.LINES_OF_CHAIN, parameters)],
            )
            found = Lines(lines)
            for row in rows[skip:]:
                yield read_row(CheckpointRow.of(row), found, codec)[0]
            # The last checkpoint of a part is read again as the first of the next part.
            at = CheckpointRow.of(rows[-1]).checkpoint_id if len(rows) == CHAIN else None
            skip = 1

    async def delta(
        self, thread: Thread, checkpoint_id: str | None, channels: Sequence[str], codec: TextCodec
    ) -> dict[str, DeltaChannelHistory]:
        """Return for each channel the value of the nearest ancestor that has one, and the writes since then, oldest first."""
        writes: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        if checkpoint_id is None:
            [rows] = await self._batches.read(
                "get_delta_channel_history", thread[0], [Statement(reading_sql.SELECT_HEAD, thread)]
            )
            checkpoint_id = cast("str", rows[0][0]) if rows else ""
        is_target = True
        async for made in self.chain(thread, checkpoint_id, codec):
            if is_target:
                is_target = False
                continue
            _collect(made, writes, seeds)
            if len(seeds) == len(writes):
                break
        found: dict[str, DeltaChannelHistory] = {}
        for channel in channels:
            found[channel] = {"writes": writes[channel][::-1]}
            if channel in seeds:
                found[channel]["seed"] = seeds[channel]
        return found


def _collect(made: CheckpointTuple, writes: dict[str, list[PendingWrite]], seeds: dict[str, Any]) -> None:
    """Add an ancestor's value and writes to the channels that have no value yet."""
    for write in reversed(made.pending_writes or []):
        if write[1] in writes and write[1] not in seeds:
            writes[write[1]].append(write)
    for channel, value in made.checkpoint["channel_values"].items():
        if channel in writes and channel not in seeds:
            seeds[channel] = value
