"""Sessions as they must be: what turns have acknowledged, and what everybody else must see of it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from agents_store_cloudflare import CloudflareStore

__all__ = ["AMOUNT", "SPENT", "RunModel", "SessionModel"]

SPENT = 3
AMOUNT = 50
ENDED = ("completed", "suspended")


@dataclass(slots=True)
class RunModel:
    """One attempt at a turn.

    Attributes:
        chunks: the texts whose flush was acknowledged by a commit.
        spent: the tokens that commits have stored.
        has_stream: False where its Worker died before the session's stream was made. Then there may be nobody to tell.
    """

    turn: int
    turn_id: str
    status: str = "running"
    chunks: list[str] = field(default_factory=list[str])
    spent: int = 0
    has_stream: bool = True

    @property
    def is_open(self) -> bool:
        return self.status == "running"


@dataclass(slots=True)
class SessionModel:
    """One session, from its making to its deletion.

    Attributes:
        scope: the budget of its turns.
        last: what the last commit wrote into the custom state.
        committed: how many messages there were at the last commit.
        is_told: whether every end must be in the stream: nothing went wrong since a sweep, or since a turn was entered.
    """

    name: str
    scope: str
    exists: bool = False
    messages: list[str] = field(default_factory=list[str])
    last: str | None = None
    committed: int | None = None
    suspended_by: str | None = None
    runs: list[RunModel] = field(default_factory=list[RunModel])
    is_told: bool = True

    @property
    def open_run(self) -> RunModel | None:
        """Return the run that has no end yet."""
        return self.runs[-1] if self.runs and self.runs[-1].is_open else None

    def attempts(self, turn_id: str) -> list[RunModel]:
        """Return all attempts of one turn id."""
        return [run for run in self.runs if run.turn_id == turn_id]

    def has_ended(self, turn_id: str) -> bool:
        """Return whether this turn id has succeeded."""
        return any(run.status in ENDED for run in self.attempts(turn_id))

    def entered(self, turn_id: str) -> RunModel:
        """Note that a turn was entered. An open run belonged to a dead Worker."""
        if self.open_run is not None:
            self.open_run.status = "interrupted"
        if not self.attempts(turn_id):
            self.messages.append(f"question {turn_id}")
        self.exists = True
        self.runs.append(RunModel(turn=len(self.runs) + 1, turn_id=turn_id))
        return self.runs[-1]

    def commit(self, run: RunModel, said: list[str], chunks: list[str], spent: int, status: str) -> None:
        """Note that a commit was acknowledged, or found stored."""
        self.messages += said
        self.last = said[-1] if said else self.last
        self.committed = len(self.messages)
        self.suspended_by = run.turn_id if status == "suspended" else None
        self.ended(run, chunks, spent, status)

    def ended(self, run: RunModel, chunks: list[str], spent: int, status: str) -> None:
        """Note the writes of a failed turn."""
        run.chunks += chunks
        run.spent += spent
        run.status = status

    async def check(self, store: CloudflareStore) -> None:
        """Compare everything that a reader sees: messages, checkpoint, runs, usage, budget, stream."""
        state = await store.state_store.load_state(self.name)
        assert (state is not None) == self.exists
        if state is None:
            return
        assert [message.get("content") for message in state.messages] == self.messages, self
        assert state.custom_state.get("last") == self.last
        assert (state.status == "suspended") == (self.suspended_by is not None)
        await self._check_checkpoint(store)
        runs = (await store.state_store.list_runs(self.name))[::-1]
        found = [(run.turn, run.run_id.rpartition("-")[2], run.status) for run in runs]
        assert found == [(run.turn, run.turn_id, run.status) for run in self.runs], self
        await self._check_usage(store)
        await self._check_stream(store)

    async def _check_checkpoint(self, store: CloudflareStore) -> None:
        checkpoint = await store.state_store.get_latest_checkpoint(self.name)
        assert (checkpoint is not None) == (self.committed is not None)
        if checkpoint is not None:
            assert checkpoint.message_count == self.committed
            assert checkpoint.state is not None
            assert checkpoint.state.custom_state.get("last") == self.last

    async def _check_usage(self, store: CloudflareStore) -> None:
        spent: Counter[str] = Counter()
        for run in self.runs:
            spent[run.turn_id] += run.spent
        for turn_id, tokens in spent.items():
            rollup = await store.usage_store.get_rollup(self.name, run_id=turn_id)
            assert rollup.tokens.total == tokens, (turn_id, self)
        assert (await store.usage_store.get_rollup(self.name)).tokens.total == sum(spent.values())
        budget = await store.usage_store.get_budget(self.scope)
        assert budget is not None
        settled = sum(run.spent for run in self.runs if not run.is_open)
        assert (budget.reserved, budget.settled) == (AMOUNT if self.open_run else 0, settled), self

    async def _check_stream(self, store: CloudflareStore) -> None:
        chunks = await _chunks(store, self.name)
        ends = [(chunk["turn"], chunk["status"]) for chunk in chunks if chunk["type"].startswith("turn-")]
        told = {turn for turn, _ in ends}
        ended = [
            (run.turn, run.status) for run in self.runs if not run.is_open and (run.has_stream or run.turn in told)
        ]
        assert ends == ended[: len(ends)], (ends, self)
        assert not self.is_told or ends == ended, (ends, self)
        for run in self.runs:
            self._check_run(run, chunks)

    def _check_run(self, run: RunModel, chunks: list[Any]) -> None:
        """Check that a run's acknowledged chunks are there once, in order, before its closing chunk."""
        texts = [chunk["text"] for chunk in chunks if chunk["type"] == "text"]
        assert [text for text in texts if text in run.chunks] == run.chunks, self
        places = [number for number, chunk in enumerate(chunks) if chunk.get("text") in run.chunks]
        ends = [number for number, chunk in enumerate(chunks) if chunk.get("turn") == run.turn and "status" in chunk]
        assert not places or not ends or max(places) < min(ends), self
        for number in ends:
            assert chunks[number]["type"] == ("turn-end" if run.status in ENDED else "turn-failed")


async def _chunks(store: CloudflareStore, name: str) -> list[Any]:
    if await store.stream_manager.get_info(name) is None:
        return []
    async with store.stream_manager.create_reader(name, follow=False) as reader:
        return [chunk async for chunk in reader]
