"""Puts checkpoints and writes. A write waits a moment for the next checkpoint. If it comes, both are one batch."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from langgraph.checkpoint.base import Checkpoint

from agents_store_cloudflare.adapters.langgraph import writing_sql
from agents_store_cloudflare.adapters.langgraph.batches import GraphBatches, LinesMovedError, Seen, StoredAlreadyError
from agents_store_cloudflare.adapters.langgraph.kinds import is_exactly
from agents_store_cloudflare.adapters.langgraph.known import (
    KnownThreads,
    KnownWrite,
    Range,
    Thread,
)
from agents_store_cloudflare.adapters.langgraph.layout import FORM, Layout, Sharing, laid_out
from agents_store_cloudflare.adapters.langgraph.lines import NewLines, ranges_json
from agents_store_cloudflare.adapters.langgraph.pending import (
    Place,
    inline,
    needs_of,
    split,
    writes_json,
)
from agents_store_cloudflare.adapters.langgraph.settling import settled_parent
from agents_store_cloudflare.adapters.langgraph.shapes import NUMBERED, dump
from agents_store_cloudflare.adapters.langgraph.text_codec import FixedCodec
from agents_store_cloudflare.database import Statement

__all__ = ["NewCheckpoint", "Putting", "fixed"]

TURNS_TO_WAIT: Final = 12
"""The turns of the event loop for which a write waits.

LangGraph puts the next checkpoint a few turns after the last task of a step has ended.
"""

SHARINGS: tuple[Sharing, ...] = ("append", "share", "nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCheckpoint:
    """A checkpoint to store.

    Attributes:
        metadata: its metadata as JSON text.
        changed: the channels that have changed since its parent.
    """

    thread: Thread
    parent_id: str | None
    checkpoint: Checkpoint
    metadata: str
    changed: frozenset[str]


def fixed(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with containers of its own. The values stay the caller's; `FixedCodec` keeps their texts."""
    updated = checkpoint.get("updated_channels")
    own: dict[str, Any] = {
        **{name: value if name in NUMBERED else copy.deepcopy(value) for name, value in checkpoint.items()},
        "channel_values": {
            name: [*value] if is_exactly(value, list) else value for name, value in checkpoint["channel_values"].items()
        },
        "channel_versions": {**checkpoint["channel_versions"]},
        "versions_seen": {node: {**each} for node, each in checkpoint["versions_seen"].items()},
        **({} if updated is None else {"updated_channels": [*updated]}),
    }
    return cast("Checkpoint", own)


@dataclass(slots=True, eq=False)
class _Held:
    """Writes that wait for the next checkpoint, and the outcome: whether this checkpoint has stored them."""

    writes: Mapping[Place, KnownWrite]
    outcome: asyncio.Future[bool]


class Putting:
    """The writing half of a saver.

    Args:
        checks_head: refuse a checkpoint that follows somebody else's checkpoint.
    """

    def __init__(self, batches: GraphBatches, known: KnownThreads, *, checks_head: bool) -> None:
        self._batches = batches
        self._known = known
        self._checks_head = checks_head
        self._held: dict[tuple[Thread, str], list[_Held]] = {}

    async def put(self, new: NewCheckpoint, codec: FixedCodec) -> None:
        """Store a checkpoint and the writes that wait for it. Rewrite its parent so that it refers to the values that both hold."""
        held = self._take_up(new.thread, new.parent_id)
        try:
            await self._put(new, codec, held)
        except Exception as error:
            _tell(held, error=error)
            raise
        except BaseException:  # cancelled, with an unknown outcome; to store the writes again changes nothing
            _tell(held)
            raise
        _tell(held, stored=True)

    async def _put(self, new: NewCheckpoint, codec: FixedCodec, held: Sequence[_Held]) -> None:
        thread, checkpoint_id = new.thread, new.checkpoint["id"]
        parent = self._known.get(thread, new.parent_id)
        waiting = {place: write for each in held for place, write in each.writes.items()}
        # The layout is made before the first wait, so that the stored content is fixed now. The later layouts are for calls that
        # others overtook. The codec gives them the same texts.
        layouts = [laid_out(new.checkpoint, new.changed, parent, codec, SHARINGS[0])]
        seen = self._seen(thread)
        self._known.put_begins(thread, checkpoint_id)
        for sharing in SHARINGS:
            layout = layouts.pop() if layouts else laid_out(new.checkpoint, new.changed, parent, codec, sharing)
            settling = settled_parent(thread, new.parent_id, parent, waiting, layout)
            known = layout.known
            row = (*thread, checkpoint_id, new.parent_id, known.body, known.refs, new.metadata)
            statements = [
                _guard(thread, checkpoint_id, layout, seen),
                Statement(writing_sql.PUT_CHECKPOINT, row),
                *layout.lines.statements(thread),
                *settling.statements,
            ]
            try:
                await self._batches.write("put", thread, statements, seen=seen)
            except StoredAlreadyError:
                pass
            except LinesMovedError:
                if sharing == SHARINGS[-1]:
                    raise
                continue
            settling.remember(parent)
            self._known.keep(thread, checkpoint_id, known)
            self._known.see_head(thread, max(self._known.head(thread) or "", checkpoint_id))
            return

    async def put_writes(
        self, thread: Thread, checkpoint_id: str, writes: Mapping[Place, KnownWrite], *, waits: bool
    ) -> None:
        """Store writes of a task. If the next checkpoint comes within a moment, they are stored with it."""
        if not (waits and await self._stored_by_child(thread, checkpoint_id, writes)):
            await self._flush(thread, checkpoint_id, writes)

    async def _stored_by_child(self, thread: Thread, checkpoint_id: str, writes: Mapping[Place, KnownWrite]) -> bool:
        """Wait a moment for the next checkpoint. Return whether it has stored the writes."""
        held = _Held(writes, asyncio.get_running_loop().create_future())
        waiting = self._held.setdefault((thread, checkpoint_id), [])
        waiting.append(held)
        try:
            for _ in range(TURNS_TO_WAIT):
                await asyncio.sleep(0)
                if held not in waiting:
                    return await held.outcome
        finally:
            if held in waiting:
                waiting.remove(held)
                if not waiting:
                    self._held.pop((thread, checkpoint_id), None)
        return False

    def _seen(self, thread: Thread) -> Seen | None:
        """Return the checkpoints for the head check: the newest that was seen, and those that may be the newest now."""
        accepted = self._known.accepted_heads(thread) if self._checks_head else None
        return None if accepted is None else Seen(accepted[-1], dump(accepted))

    def _take_up(self, thread: Thread, checkpoint_id: str | None) -> list[_Held]:
        """Return the writes of tasks of this event loop that wait for a child of this checkpoint."""
        waiting = self._held.pop((thread, checkpoint_id or ""), [])
        taken = list(waiting)
        waiting.clear()
        return taken

    async def _flush(self, thread: Thread, checkpoint_id: str, writes: Mapping[Place, KnownWrite]) -> None:
        """Store writes whose checkpoint has no child yet."""
        lines = NewLines()
        stored = inline(writes, lines)
        yields, replaces = split(stored)
        seen = self._seen(thread)
        texts = (writes_json(yields), writes_json(replaces))
        merge = Statement(
            writing_sql.MERGE_WRITES, (*thread, checkpoint_id, *texts, ranges_json(needs_of(stored.values())))
        )
        # Only this call knows these logs, so a second run finds its own lines there.
        added = [replace(each, sql=writing_sql.PUT_LINES) for each in lines.statements(thread)]
        head = [Statement(writing_sql.CHECK_HEAD, (*thread, seen.accepted, checkpoint_id, *texts))] if seen else []
        results = await self._batches.write("put_writes", thread, [*head, *added, merge], seen=seen)
        known = self._known.get(thread, checkpoint_id)
        if known is not None:
            known.writes = {**yields, **known.writes, **replaces}
            known.writes_text = str(results[-1][0][0])


def _guard(thread: Thread, checkpoint_id: str, layout: Layout, seen: Seen | None) -> Statement:
    ends = layout.lines.ends()
    # The needed lines that are stored already.
    there = [
        Range(need.log, need.first, min(need.end, ends.get(need.log, need.end)))
        for need in layout.needs
        if need.first < ends.get(need.log, need.end)
    ]
    return Statement(
        writing_sql.GUARD_PUT,
        (
            *thread,
            checkpoint_id,
            layout.known.body,
            seen.accepted if seen else None,
            dump(list(ends.items())),
            ranges_json(there),
            f"[{FORM},0,{layout.known.numbers},",
        ),
    )


def _tell(held: Sequence[_Held], *, stored: bool = False, error: Exception | None = None) -> None:
    """Wake the waiting calls. Their writes are stored, or the calls must store them themselves, or there is an error."""
    for each in held:
        each.outcome.get_loop().call_soon_threadsafe(_set, each.outcome, stored, error)


def _set(outcome: asyncio.Future[bool], stored: bool, error: Exception | None) -> None:  # noqa: FBT001
    if outcome.done():
        return
    if error is None:
        outcome.set_result(stored)
    else:
        outcome.set_exception(error)
        outcome.exception()  # the call that waited for it may have been cancelled
