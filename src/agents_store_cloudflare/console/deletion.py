"""Lists everything that the deletion of a session deletes. The operator sees it before, and gets it as a receipt."""

from __future__ import annotations

from dataclasses import dataclass

from agents_store_cloudflare.console.listing import SessionSummary, read_summary
from agents_store_cloudflare.console.sources import Sources
from agents_store_cloudflare.console.text import dollars
from agents_store_cloudflare.contract.errors import StreamError
from agents_store_cloudflare.contract.record import Record
from agents_store_cloudflare.contract.state.records import SessionTree

__all__ = ["Went", "deletion_plan", "deletion_receipt"]

MOST_NAMED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Went(Record):
    """The data that existed when a deletion began.

    All sessions are counted. Messages and other rows are counted for the first 50 sessions.

    Attributes:
        usage_entries, cost_micros: the usage of the session's whole tree.
    """

    session_ids: tuple[str, ...]
    stream_ids: tuple[str, ...]
    remote_sub_session_ids: tuple[str, ...]
    messages: int
    checkpoints: int
    runs: int
    staged_changes: int
    chunks: int
    usage_entries: int
    cost_micros: int

    def facts(self) -> tuple[tuple[str, str], ...]:
        """Return the receipt for people."""
        return (
            ("Sessions", f"{len(self.session_ids):,}: {_named(self.session_ids)}"),
            ("Streams", f"{len(self.stream_ids):,}: {_named(self.stream_ids)}"),
            ("Messages", f"{self.messages:,}"),
            ("Checkpoints", f"{self.checkpoints:,}"),
            ("Runs", f"{self.runs:,}"),
            ("Staged changes", f"{self.staged_changes:,}"),
            ("Chunks", f"{self.chunks:,}"),
            ("Usage entries", f"{self.usage_entries:,}, {dollars(self.cost_micros)}"),
            ("Left alone, because they live elsewhere", _named(self.remote_sub_session_ids)),
        )


async def deletion_receipt(sources: Sources, session_id: str) -> Went:
    """Return everything that the deletion would delete."""
    tree = await sources.states.get_session_tree(session_id)
    sessions = [found for each in tree.session_ids[:MOST_NAMED] if (found := await read_summary(sources, each))]
    usage = await sources.usage.get_rollup(session_id, include_sub_agents=True)
    return _counted(tree, sessions, await _chunks(sources, tree), usage.entry_count, usage.cost_micros)


def _counted(tree: SessionTree, sessions: list[SessionSummary], chunks: int, entries: int, cost_micros: int) -> Went:
    return Went(
        session_ids=tree.session_ids,
        stream_ids=tree.stream_ids,
        remote_sub_session_ids=tree.remote_sub_session_ids,
        messages=sum(each.message_count for each in sessions),
        checkpoints=sum(each.checkpoint_count or 0 for each in sessions),
        runs=sum(each.run_count or 0 for each in sessions),
        staged_changes=sum(each.staged_count or 0 for each in sessions),
        chunks=chunks,
        usage_entries=entries,
        cost_micros=cost_micros,
    )


async def _chunks(sources: Sources, tree: SessionTree) -> int:
    if sources.objects is None:
        return 0
    total = 0
    for stream_id in tree.stream_ids[:MOST_NAMED]:
        try:
            info = await sources.objects.streams.get_info(stream_id)
        except StreamError:
            continue
        total += 0 if info is None else info.count
    return total


async def deletion_plan(sources: Sources, session_id: str) -> tuple[str, ...]:
    """Return sentences about the data that will be deleted."""
    went = await deletion_receipt(sources, session_id)
    others = len(went.session_ids) - 1
    below = f" and {others:,} sessions below it ({_named(went.session_ids[1:])})" if others > 0 else ""
    return (
        f"The session{below}: {went.messages:,} messages, {went.checkpoints:,} checkpoints, {went.runs:,} runs.",
        f"{len(went.stream_ids):,} streams with {went.chunks:,} chunks: {_named(went.stream_ids)}.",
        f"{went.usage_entries:,} usage entries worth {dollars(went.cost_micros)}. Totals by day keep no trace of them.",
    )


def _named(ids: tuple[str, ...]) -> str:
    return ", ".join(ids[:MOST_NAMED]) + (", …" if len(ids) > MOST_NAMED else "")
