"""A session, the turns that Workers take in it, and the check that everything they left behind agrees."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from agents_store_cloudflare import CloudflareStore, MergeChanges, Run, StagedChange, TurnEndedError
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase
from agents_store_cloudflare.turns import Turn
from tests.turns.faulty_worker import FaultyWorker, Outcome

__all__ = ["FOLLOWERS", "KINDS", "World", "agent", "check"]

SPENT = 3
KINDS = ("plain", "commits", "staged", "suspends", "resumes")
"""What the turns of a world do beside asking and answering."""

ENDED = {"completed", "suspended"}


class World:
    """The things that outlive a Worker."""

    def __init__(self, kind: str) -> None:
        self.clock = FakeClock()
        self.database = SqliteDatabase(now_ms=self.clock.now_ms)
        self.streams = LocalObjects(StreamObject, clock=self.clock)
        self.locks = LocalObjects(LockObject, clock=self.clock)
        self.kind = kind

    @classmethod
    async def of(cls, kind: str) -> "World":
        """Return a session with a first turn, a budget, and the things that this kind of turn needs."""
        world = cls(kind)
        await run_migration(world.database)
        store = world.worker().store
        await store.usage_store.set_budget("b", 1000, "tokens")
        async with store.turn("s", agent_type="a", auto_refresh=False, messages=[_said("before")]) as turn:
            if kind == "resumes":
                await turn.suspend({"by": "first"})
        if kind == "staged":
            change = StagedChange(tool_call_id="c", patches=[], merge_changes=MergeChanges(values={"staged": 1}))
            await store.state_store.stage_changes("s", "step", change)
        return world

    def worker(self, faults: Mapping[int, Outcome] | None = None) -> FaultyWorker:
        """Return a new Worker."""
        return FaultyWorker(self.database, self.streams, self.locks, self.clock, faults or {})

    async def later(self) -> None:
        """Let the leases of dead Workers end."""
        await self.clock.advance(60)


async def agent(store: CloudflareStore, kind: str, turn_id: str) -> None:
    """Make one turn: a question, a chunk, usage under a budget, an answer."""
    async with store.turn(
        "s",
        agent_type="a",
        turn_id=turn_id,
        messages=[_said(f"question {turn_id}")],
        budget=("b", 100),
        step_id="step" if kind == "staged" else None,
        auto_refresh=False,
    ) as turn:
        await turn.write({"type": "text", "text": turn_id})
        turn.record_tokens(model="m", prompt=SPENT)
        turn.state.custom_state["last"] = turn_id
        await _middle(turn, kind)
        if not turn.is_over:
            turn.add(_said(f"answer {turn_id}"))


async def _middle(turn: Turn, kind: str) -> None:
    if kind == "commits":
        turn.add(_said(f"step {turn.id}"))
        await turn.commit()
    elif kind == "suspends" and turn.id == "t":
        await turn.suspend({"by": "t"})
    elif turn.resumed_from is not None:
        turn.state.custom_state["resumed"] = turn.resumed_from


async def _same(world: World) -> None:
    """Send the same request again, as a queue does."""
    with suppress(TurnEndedError):
        await agent(world.worker().store, world.kind, "t")


async def _other(world: World) -> None:
    """Let another Worker begin another turn."""
    await agent(world.worker().store, world.kind, "u")


async def _sweep(world: World) -> None:
    """Run the cron trigger."""
    await world.worker().store.sweep_turns()


FOLLOWERS: list[Callable[[World], Awaitable[None]]] = [_same, _other, _sweep]


async def check(world: World, *, wants: set[str]) -> None:
    """Check that messages, state, checkpoint, usage, budget, runs, stream and lock agree.

    Args:
        wants: the turns that must have ended well.
    """
    store = world.worker().store
    runs = (await store.state_store.list_runs("s"))[::-1]
    assert {run.status for run in runs} <= ENDED | {"failed", "interrupted"}
    ended = [run.run_id for run in runs if run.status in ENDED]
    assert wants <= set(ended)
    await _check_state(world, store, runs)
    await _check_usage(store, world.kind, runs)
    await _check_stream(store, runs)
    assert (await store.sweep_turns()).told == 0
    assert not await store.locks.is_locked("s")


async def _check_state(world: World, store: CloudflareStore, runs: list[Run]) -> None:
    state = await store.state_store.load_state("s", required=True)
    said = [str(message.get("content")) for message in state.messages]
    assert said[0] == "before"
    done = [run.run_id for run in runs if run.status in ENDED and run.run_id in {"t", "u"}]
    committed = list(done)
    for name in ("t", "u"):
        attempts = [run for run in runs if run.run_id.rpartition("-")[2] == name]
        assert said.count(f"question {name}") == bool(attempts)
        answers = [run for run in attempts if run.status == "completed"]
        assert said.count(f"answer {name}") == len(answers)
        steps = said.count(f"step {name}")
        assert len(answers) <= steps <= len(attempts) if world.kind == "commits" else steps == 0
    if world.kind == "commits":
        committed = [text[5:] for text in said if text.startswith("step ")]
    assert state.custom_state.get("last") == (committed[-1] if committed else None)
    assert ("staged" in state.custom_state) == (world.kind == "staged" and bool(done))
    assert len(await store.state_store.get_staged_changes("s")) == (world.kind == "staged" and not done)
    await _check_checkpoint(store, state.custom_state, committed)
    suspended = [run for run in runs if run.status == "suspended"]
    resumed = [run for run in runs if suspended and run.turn > suspended[-1].turn]
    assert all(run.resumes == suspended[-1].run_id for run in resumed[:1])
    answered = [run for run in resumed if run.status == "completed"]
    assert (state.status == "suspended") == (bool(suspended) and not answered)
    if answered:
        assert state.custom_state["resumed"] == {"by": "t" if suspended[-1].run_id == "t" else "first"}


async def _check_checkpoint(store: CloudflareStore, custom_state: Mapping[str, Any], committed: list[str]) -> None:
    checkpoint = await store.state_store.get_latest_checkpoint("s")
    assert checkpoint is not None
    assert checkpoint.state is not None
    assert checkpoint.state.custom_state == custom_state
    assert not committed or checkpoint.run_id == committed[-1]


async def _check_usage(store: CloudflareStore, kind: str, runs: list[Run]) -> None:
    state = await store.state_store.load_state("s", required=True)
    said = [str(message.get("content")) for message in state.messages]
    total = 0
    for name in ("t", "u"):
        attempts = [run for run in runs if run.run_id.rpartition("-")[2] == name]
        well = len([run for run in attempts if run.status in ENDED])
        stored = said.count(f"step {name}") if kind == "commits" else well
        failed = len([run for run in attempts if run.status == "failed"])  # they have stored what they had recorded
        spent = (await store.usage_store.get_rollup("s", run_id=name)).tokens.total
        assert spent in range(SPENT * stored, SPENT * (stored + failed) + 1, SPENT)
        total += spent
    assert (await store.usage_store.get_rollup("s")).tokens.total == total
    budget = await store.usage_store.get_budget("b")
    assert budget is not None
    assert (budget.reserved, budget.settled) == (0, total)


async def _check_stream(store: CloudflareStore, runs: list[Run]) -> None:
    info = await store.stream_manager.get_info("s")
    assert info is not None
    state = await store.state_store.load_state("s", required=True)
    assert info.status in {"active", "paused"}
    if runs[-1].status == "suspended":
        assert info.status == "paused"
    elif (
        state.status != "suspended"
    ):  # between an attempt to resume and the turn that resumes, the stream may be either
        assert info.status == "active"
    async with store.stream_manager.create_reader("s", follow=False) as reader:
        chunks: list[Any] = [chunk async for chunk in reader]
    assert [chunk["turn"] for chunk in chunks if chunk["type"].startswith("turn-")] == [run.turn for run in runs]
    closings = {chunk["turn"]: chunk for chunk in chunks if chunk["type"].startswith("turn-")}
    for run in runs:
        assert closings[run.turn]["status"] == run.status
        assert closings[run.turn]["type"] == ("turn-end" if run.status in ENDED else "turn-failed")
        texts = [
            place
            for place, chunk in enumerate(chunks)
            if chunk["type"] == "text" and chunk["agentId"] == f"a-{run.turn}"
        ]
        assert len(texts) <= 1
        assert len(texts) == 1 or run.status not in ENDED or run.turn == 1
        assert not texts or chunks.index(closings[run.turn]) == max(texts) + 1


def _said(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
