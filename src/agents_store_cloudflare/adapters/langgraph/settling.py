"""Rewrites a checkpoint when it gets a child: its writes and long values refer to the child's lines where these hold the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agents_store_cloudflare.adapters.langgraph import writing_sql
from agents_store_cloudflare.adapters.langgraph.copying import found_copy
from agents_store_cloudflare.adapters.langgraph.known import InlineValue, KnownCheckpoint, KnownWrite, Range, Thread
from agents_store_cloudflare.adapters.langgraph.layout import Layout, body_text
from agents_store_cloudflare.adapters.langgraph.lines import WAITING, ranges_json
from agents_store_cloudflare.adapters.langgraph.pending import Place, inline, needs_of, settled, split, writes_json
from agents_store_cloudflare.adapters.langgraph.shapes import dump
from agents_store_cloudflare.database import SqlValue, Statement

__all__ = ["Settling", "settled_parent"]

LEAST_COPIED: Final = 120


@dataclass(slots=True)
class Settling:
    """The rewrite of a parent when its child is put."""

    statements: list[Statement]
    writes: dict[Place, KnownWrite]
    writes_text: str | None
    body: str | None
    refs: str | None

    def remember(self, parent: KnownCheckpoint | None) -> None:
        """Remember the stored form of the parent."""
        if parent is not None and self.statements:
            parent.writes, parent.writes_text = self.writes, self.writes_text
            parent.body, parent.refs = self.body or parent.body, self.refs or parent.refs


def settled_parent(
    thread: Thread,
    parent_id: str | None,
    parent: KnownCheckpoint | None,
    waiting: Mapping[Place, KnownWrite],
    layout: Layout,
) -> Settling:
    """Return the statement that adds the waiting writes to the parent, and makes the parent refer to the child's lines."""
    before = dict(parent.writes) if parent else {}
    new = settled(waiting, layout.fresh)
    new |= inline({place: write for place, write in new.items() if write.expression is None}, layout.lines)
    yields, replaces = split(new)
    after = {**yields, **settled(before, layout.fresh), **replaces}
    compact = _compact_body(parent, layout) if parent else None
    if parent_id is None or not (waiting or after != before or compact):
        return Settling([], after, parent.writes_text if parent else None, None, None)
    text = writes_json(after) if after else None
    known_text = parent.writes_text if parent else None
    body, refs = compact or (None, None)
    parameters: tuple[SqlValue, ...] = (
        *thread,
        parent_id,
        writes_json(yields),
        writes_json(replaces),
        ranges_json(needs_of(new.values())),
        known_text,
        text,
        ranges_json(needs_of(after.values())),
        parent.body if compact and parent else None,
        body,
        refs,
    )
    statements = [Statement(writing_sql.SETTLE_PARENT, parameters)]
    gone = {need.log for need in needs_of(before.values())} - {need.log for need in needs_of(after.values())}
    statements += [
        Statement(writing_sql.DROP_LOG, (*thread, log, parent_id, text))
        for log in sorted(gone)
        if log.startswith(WAITING)
    ]
    return Settling(statements, after, text, body, refs)


def _compact_body(parent: KnownCheckpoint, layout: Layout) -> tuple[str, str] | None:
    """Return the parent's body, and the lines that it needs.

    Long values that the child's lines hold are replaced by copies of these lines.
    """
    if not layout.fresh:
        return None
    copies: dict[str, tuple[Range, str]] = {}
    for name, (_, stored) in parent.values.items():
        if isinstance(stored, InlineValue) and len(stored.text) >= LEAST_COPIED:
            copy = found_copy(stored.text, layout.fresh)
            if copy is not None:
                copies[name] = (copy.line, dump(list(copy[1:])))
    if not copies:
        return None
    body, needs = body_text(parent.shape, parent.channels, parent.numbers, parent.values, copies)
    return body, ranges_json(needs)
