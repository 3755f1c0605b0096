"""The bench's Python side: this package as its documentation shows it.

POST {"job" or "prepare", "key", "repetitions", "count", "input"}; the answer is described in bench/workers.py. The stores are made
anew in every repetition, as every request of a real Worker makes them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    AgentState,
    D1StateStore,
    D1UsageStore,
    DurableObjectLockManager,
    DurableObjectStreamManager,
    LockServer,
    MessagePage,
    StreamServer,
    UsageEntry,
    run_migration,
)
from agents_store_cloudflare.bindings import as_database
from agents_store_cloudflare.database import BatchCost, BatchObserver, Database

__all__ = ["Default", "LockServer", "StreamServer"]

FLUSH_CHUNKS = 50
LOCK_TTL_S = 30
TURNS_BETWEEN_LOADS = 50


@dataclass(kw_only=True)
class Job:
    """One job: `once` is timed, `read_back` says what was stored or read."""

    env: Any
    key: str
    input: Mapping[str, Any]
    observer: BatchObserver | None = None

    def database(self) -> Database:
        return as_database(self.env.AGENT_DB, observer=self.observer)

    async def set_up(self) -> None:
        """Nothing, unless the job says otherwise."""

    async def once(self) -> None:
        raise NotImplementedError

    async def read_back(self) -> object:
        raise NotImplementedError


@dataclass(kw_only=True)
class Save(Job):
    state: AgentState = field(init=False)

    async def set_up(self) -> None:
        self.state = new_state(self.key, self.input)
        await D1StateStore(self.env.AGENT_DB).save(self.state)

    async def once(self) -> None:
        self.state.messages += self.input["added"]
        self.state.step_count += 1
        await D1StateStore(self.database()).save(self.state)

    async def read_back(self) -> object:
        return described(await D1StateStore(self.env.AGENT_DB).load_state(self.key, required=True))


@dataclass(kw_only=True)
class Load(Job):
    state: AgentState = field(init=False)

    async def once(self) -> None:
        self.state = await D1StateStore(self.database()).load_state(self.input["session"], required=True)

    async def read_back(self) -> object:
        return described(self.state)


@dataclass(kw_only=True)
class Page(Job):
    page: MessagePage = field(init=False)

    async def once(self) -> None:
        store = D1StateStore(self.database())
        self.page = await store.get_messages(
            self.input["session"], offset=self.input["offset"], limit=self.input["limit"]
        )

    async def read_back(self) -> object:
        return self.page.to_dict()


@dataclass(kw_only=True)
class StreamWrite(Job):
    written: int = 0

    async def once(self) -> None:
        self.written += 1
        await write_chunks(stream_manager(self.env), self._stream(), self.input["chunks"])

    async def read_back(self) -> object:
        manager = stream_manager(self.env)
        await manager.end_stream(self._stream())
        return {"chunks": await read_chunks(manager, self._stream())}

    def _stream(self) -> str:
        return f"{self.key}-{self.written}"


@dataclass(kw_only=True)
class StreamReplay(Job):
    chunks: list[Any] = field(default_factory=list[Any])

    async def once(self) -> None:
        self.chunks = await read_chunks(stream_manager(self.env), self.input["stream"])

    async def read_back(self) -> object:
        return {"chunks": self.chunks}


@dataclass(kw_only=True)
class AcquireRelease(Job):
    tokens: list[int] = field(default_factory=list[int])

    async def set_up(self) -> None:
        await self.once()

    async def once(self) -> None:
        lock = await DurableObjectLockManager(self.env.LOCKS).acquire(self.key, ttl=LOCK_TTL_S)
        if lock is None or not await lock.release():
            raise RuntimeError("the lease was lost")
        self.tokens.append(lock.fencing_token)

    async def read_back(self) -> object:
        locked = await DurableObjectLockManager(self.env.LOCKS).is_locked(self.key)
        rising = all(earlier < later for earlier, later in pairwise(self.tokens))
        return {"grants": len(self.tokens), "rising": rising, "locked": locked}


@dataclass(kw_only=True)
class RecordUsage(Job):
    async def once(self) -> None:
        entries = [{**entry, "sessionId": self.key} for entry in self.input["entries"]]
        await D1UsageStore(self.database()).record_entries(entries)

    async def read_back(self) -> object:
        store = D1UsageStore(self.env.AGENT_DB)
        stored = await store.get_entries(self.key)
        rollup = await store.get_rollup(self.key)
        return {
            "ids": len({entry.id for entry in stored}),
            "entries": [without_ids(entry) for entry in stored],
            "rollup": {
                "entryCount": rollup.entry_count,
                "prompt": rollup.tokens.prompt,
                "cached": rollup.tokens.cached,
                "total": rollup.tokens.total,
                "durationMs": rollup.tool_stats.total_duration_ms,
            },
        }


JOBS: Mapping[str, type[Job]] = {
    "save": Save,
    "load": Load,
    "page": Page,
    "stream_write": StreamWrite,
    "stream_replay": StreamReplay,
    "acquire_release": AcquireRelease,
    "record_usage": RecordUsage,
}


class Default(WorkerEntrypoint):
    """The door for the host."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Prepare what the jobs read, or run one job."""
        if request.method != "POST":
            return Response("ready")
        order = json.loads(await request.text())
        answer = await prepare(self.env, order) if "prepare" in order else await run(self.env, order)
        return Response(json.dumps(answer))


async def run(env: Any, order: Mapping[str, Any]) -> object:
    """Time one job's repetitions, then read back what it did."""
    costs: list[BatchCost] = []
    observer: Callable[[BatchCost], None] | None = costs.append if order["count"] else None
    job = JOBS[order["job"]](env=env, key=order["key"], input=order["input"], observer=observer)
    await job.set_up()
    started_ms = now_ms()
    for _ in range(order["repetitions"]):
        await job.once()
    elapsed_ms = now_ms() - started_ms
    return {
        "elapsedMs": elapsed_ms,
        "cost": total(costs) if order["count"] else None,
        "result": await job.read_back(),
    }


def now_ms() -> float:
    """The clock that the JavaScript side reads too."""
    from js import performance  # noqa: PLC0415  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    return float(performance.now())  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


async def prepare(env: Any, order: Mapping[str, Any]) -> object:
    """Make the tables, or store what the timed jobs read: a session saved turn by turn, a stream."""
    given: Mapping[str, Any] = order["input"]
    match order["prepare"]:
        case "tables":
            await run_migration(env.AGENT_DB)
        case "session":
            await save_turns(D1StateStore(env.AGENT_DB), given)
        case "stream":
            manager = stream_manager(env)
            await write_chunks(manager, given["stream"], given["chunks"])
            await manager.end_stream(given["stream"])
        case unknown:
            raise ValueError(f"there is nothing called {unknown!r} to prepare")
    return {}


async def save_turns(store: D1StateStore, given: Mapping[str, Any]) -> None:
    """One save a turn, as an agent makes them."""
    state = new_state(given["session"], given)
    for number, turn in enumerate(given["turns"], start=1):
        state.messages += turn
        state.step_count += 1
        await store.save(state)
        if number % TURNS_BETWEEN_LOADS == 0:
            state = await store.load_state(state.session_id, required=True, messages="none")


def stream_manager(env: Any) -> DurableObjectStreamManager:
    """A manager whose writers flush by count alone."""
    return DurableObjectStreamManager(env.STREAMS, buffer_size=FLUSH_CHUNKS, flush_interval=60)


async def write_chunks(manager: DurableObjectStreamManager, stream_id: str, chunks: list[dict[str, Any]]) -> None:
    """Open a writer, write, close."""
    async with manager.create_writer(stream_id, "agent-1", "bench") as writer:
        for chunk in chunks:
            await writer.write(chunk)


async def read_chunks(manager: DurableObjectStreamManager, stream_id: str) -> list[Any]:
    """Every chunk of an ended stream."""
    async with manager.create_reader(stream_id) as reader:
        return [chunk async for chunk in reader]


def new_state(session_id: str, given: Mapping[str, Any]) -> AgentState:
    """A state that was never saved."""
    return AgentState.from_dict({"sessionId": session_id, "agentType": "bench", **given["state"]})


def described(state: AgentState) -> object:
    """What both sides know of a session."""
    return {
        "status": state.status,
        "stepCount": state.step_count,
        "customState": state.custom_state,
        "messages": state.messages,
    }


def without_ids(entry: UsageEntry) -> object:
    """The fields that the entry was given."""
    return {
        key: value for key, value in entry.to_dict().items() if key not in {"id", "sessionId"} and value is not None
    }


def total(costs: list[BatchCost]) -> object:
    """The costs of all batches."""
    return {
        "batches": len(costs),
        "rowsRead": sum(cost.rows_read for cost in costs),
        "rowsWritten": sum(cost.rows_written for cost in costs),
    }
