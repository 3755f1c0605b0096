"""A turn whose calls all go over one seam, and what must be true when it is over, however it went."""

from __future__ import annotations

import asyncio
from typing import Any, LiteralString

from agents_store_cloudflare import create_cloudflare_store, run_migration
from agents_store_cloudflare.contract.errors import AgentsStoreError, StreamNotFoundError
from agents_store_cloudflare.contract.state.records import Run
from agents_store_cloudflare.contract.usage.records import UsageEntry
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from tests.instruments.disturbing import settle
from tests.instruments.seams import Seam, WatchedDatabase, WatchedNamespace

__all__ = ["TURNS", "TurnWorld"]

SESSION = "s"
BUDGET = "tokens of s"


class TurnWorld:
    """A session with one finished turn, a budget, and two Workers."""

    def __init__(self, database: SqliteDatabase | None = None) -> None:
        self.seam = Seam()
        self.database = database or SqliteDatabase()
        self.streams, self.lock_objects = LocalObjects(StreamObject), LocalObjects(LockObject)
        self.mine: CloudflareStore = create_cloudflare_store(
            db=WatchedDatabase(self.database, self.seam),
            streams=WatchedNamespace(self.streams, self.seam),
            locks=WatchedNamespace(self.lock_objects, self.seam),
        )
        self.theirs: CloudflareStore = create_cloudflare_store(
            db=self.database, streams=self.streams, locks=self.lock_objects
        )

    @classmethod
    async def open(cls, database: SqliteDatabase | None = None) -> TurnWorld:
        world = cls(database)
        await run_migration(world.database)
        await world.theirs.usage_store.set_budget(BUDGET, 1_000, "tokens")
        await whole(world.theirs, "first")
        return world

    async def left_open(self) -> list[str]:
        """Return the things that an ended turn leaves to the next turn or a sweep, apart from an owed closing chunk."""
        runs: LiteralString = "SELECT turn FROM __agents_runs WHERE completed_at IS NULL"
        opened: LiteralString = (
            "SELECT open_run_count FROM __agents_states WHERE open_run_count > 0 OR open_turn IS NOT NULL"
        )
        results = await self.database.batch([Statement(runs), Statement(opened)])
        return ["a run is left open"] if any(results) else []

    async def wrong(self, *, is_stream_whole: bool = True, is_kept: bool = True) -> list[str]:
        """What does not agree once a sweep has come by. Messages, usage, runs, chunks, budget and lock are compared.

        Args:
            is_stream_whole: nobody else has changed the stream's life.
            is_kept: nobody has deleted the session: what it spent stays settled, and a reservation of it ends by its time.
        """
        await settle()
        if await self.theirs.locks.is_locked(SESSION):
            return ["the lock is held"]
        await self.theirs.sweep_turns(10)
        if not await self.theirs.state_store.exists(SESSION):
            return []
        state = await self.theirs.state_store.load_state(SESSION, required=True)
        answers = [str(message.get("content")) for message in state.messages if message.get("role") == "assistant"]
        entries = await self.theirs.usage_store.get_entries(SESSION)
        chunks = await self._chunks() if is_stream_whole else None
        runs = await self.theirs.state_store.list_runs(SESSION)
        found = [each for run in runs for each in _wrong_run(run, answers, entries, chunks)]
        if len(answers) != len({*answers}):
            found.append(f"an answer twice: {answers}")
        return [*found, *(await self._wrong_budget(entries) if is_kept else [])]

    async def _wrong_budget(self, entries: list[UsageEntry]) -> list[str]:
        budget = await self.theirs.usage_store.get_budget(BUDGET)
        assert budget is not None
        spent = sum(each.tokens.total or 0 for each in entries if each.tokens)
        found = [f"{budget.reserved} stay reserved"] if budget.reserved else []
        return found if budget.settled == spent else [*found, f"{budget.settled} settled, {spent} spent"]

    async def usable(self) -> list[str]:
        """Return whether each Worker can make one more turn."""
        for store, turn_id in ((self.mine, "mine after"), (self.theirs, "theirs after")):
            try:
                async with asyncio.timeout(20):
                    await whole(store, turn_id)
            except (AgentsStoreError, TimeoutError) as error:
                return [f"the next turn fails: {error!r}"]
        return await self.wrong(is_stream_whole=False, is_kept=False)

    async def _chunks(self) -> list[Any]:
        try:
            reader = await self.theirs.stream_manager.create_reader(SESSION, follow=False)
        except StreamNotFoundError:
            return []
        found: list[Any] = []
        try:
            async for chunk in reader:
                found.append(chunk)  # noqa: PERF401 - what came before an error counts
        except AgentsStoreError:
            pass
        await reader.close()
        return found

    def close(self) -> None:
        self.streams.close()
        self.lock_objects.close()
        self.database.close()


def _wrong_run(run: Run, answers: list[str], entries: list[UsageEntry], chunks: list[Any] | None) -> list[str]:
    """Return the disagreements about one run. A failed attempt before another attempt of its turn id has its own name."""
    if run.run_id.startswith("__attempt-"):
        return []
    is_done = run.status == "completed"
    found: list[str] = []
    if run.status not in {"completed", "failed", "interrupted"}:
        found.append(f"run {run.run_id!r} is {run.status!r} after a sweep")
    if answers.count(f"answer of {run.run_id}") != is_done:
        found.append(f"run {run.run_id!r} is {run.status}, its answer is there {answers}")
    if is_done and not [each for each in entries if each.run_id == run.run_id]:
        found.append(f"run {run.run_id!r} is completed without its usage")
    told = [each["type"] for each in chunks or [] if each.get("turnId") == run.run_id]
    if (chunks is not None and told[-1:] != ["turn-end" if is_done else "turn-failed"]) or len(told) != len({*told}):
        found.append(f"run {run.run_id!r} is {run.status}, its readers were told {told}")
    return found


async def whole(store: CloudflareStore, turn_id: str, *, fails: bool = False, commits: bool = False) -> None:
    """Make a turn with a question, chunks, an answer, usage and a budget."""
    question = {"role": "user", "content": f"question of {turn_id}"}
    async with store.turn(SESSION, agent_type="x", turn_id=turn_id, messages=[question], budget=(BUDGET, 10)) as turn:
        await turn.write({"type": "text", "text": turn_id})
        turn.record_tokens(model="m", prompt=3, completion=4)
        if commits:
            await turn.commit()
        if fails:
            raise ZeroDivisionError
        await asyncio.sleep(0)
        turn.add({"role": "assistant", "content": f"answer of {turn_id}"})


TURNS: dict[str, dict[str, bool]] = {"plain": {}, "fails": {"fails": True}, "commits": {"commits": True}}
