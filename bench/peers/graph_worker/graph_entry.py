"""A LangGraph graph of many steps in D1, by this package's `D1Saver` and by `WorkerCloudflareD1Saver` of another package.

POST {"saver", "thread", "steps", "delays"}: the whole run behind delays, what it cost in D1, and the state that a new saver reads back.
"""

# pyright: basic, reportMissingModuleSource=false
# The other package has no types.

from dataclasses import dataclass, field
from functools import partial
from operator import add
from typing import Annotated, Any, TypedDict

from agents_store_cloudflare.adapters.langgraph import D1Saver  # isort: skip - before LangGraph

from delays import Delays
from door import answered
from langgraph.graph import END, START, StateGraph
from langgraph_checkpoint_cloudflare_d1.worker import (  # type: ignore[import-not-found]
    WorkerCloudflareD1Saver,  # pyright: ignore[reportMissingImports]
)
from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import run_migration
from agents_store_cloudflare.cloudflare.d1 import as_database

__all__ = ["Default"]

TEXT = "What was stored is read back the same. " * 25


class Notes(TypedDict):
    """A list that grows by one note a step."""

    notes: Annotated[list[str], add]
    steps: int


@dataclass
class Counted:
    """D1 behind delays; it counts round trips and rows.

    The other package calls the binding, this one the seam: each gets its own.
    """

    binding: Any
    delays: Delays
    cost: dict[str, int] = field(default_factory=lambda: {"batches": 0, "rowsRead": 0, "rowsWritten": 0})

    def prepare(self, sql: str) -> "CountedStatement":
        """As the binding does."""
        return CountedStatement(self, self.binding.prepare(sql))

    async def batch(self, statements: Any) -> Any:
        """As the seam does."""
        await self.delays.hop()
        self.cost["batches"] += 1
        return await as_database(self.binding, observer=self._rows).batch(statements)

    def _rows(self, cost: Any) -> None:
        self.count(cost.rows_read, cost.rows_written)

    def count(self, read: int, written: int) -> None:
        """Add the rows of one round trip."""
        self.cost["rowsRead"] += read
        self.cost["rowsWritten"] += written


@dataclass
class CountedStatement:
    """One statement of the binding."""

    database: Counted
    statement: Any

    def bind(self, *values: Any) -> "CountedStatement":
        """As the binding does."""
        return CountedStatement(self.database, self.statement.bind(*values))

    async def all(self) -> Any:
        """As the binding does."""
        await self.database.delays.hop()
        answer = await self.statement.all()
        self.database.cost["batches"] += 1
        self.database.count(answer.meta.rows_read, answer.meta.rows_written)
        return answer

    async def raw(self, options: Any) -> Any:
        """As the binding does. The answer has no counts: where they are asked for, the read is made again."""
        await self.database.delays.hop()
        answer = await self.statement.raw(options)
        self.database.cost["batches"] += 1
        if self.database.delays.ms == 0:
            meta = (await self.statement.all()).meta
            self.database.count(meta.rows_read, meta.rows_written)
        return answer


@dataclass
class SeamOnly:
    """What this package takes for a database: `batch` alone."""

    counted: Counted

    async def batch(self, statements: Any) -> Any:
        """As the seam does."""
        return await self.counted.batch(statements)


class Run:
    """One thread, and one run of the graph on it by one saver."""

    def __init__(self, env: Any, order: dict[str, Any], delays: Delays) -> None:
        self.counted = Counted(raw(env), delays)
        self.saver: str = order["saver"]
        self.steps: int = order["steps"]
        self.config: Any = {"configurable": {"thread_id": order["thread"]}, "recursion_limit": self.steps + 5}
        self.graph = self._compiled()

    async def set_up(self) -> None:
        """Nothing: the thread is new."""

    async def once(self) -> None:
        """The whole run."""
        await self.graph.ainvoke({"notes": [], "steps": 0}, self.config)

    async def costs(self) -> dict[str, float]:
        """What was counted so far, and the size of the whole database, in whole pages."""
        stored_bytes = (await self.counted.binding.prepare("SELECT 1").all()).meta.size_after
        return {**self.counted.cost, "storedBytes": int(stored_bytes)}

    async def read_back(self) -> object:
        """What a new saver reads."""
        again = self._compiled()
        state = await again.aget_state(self.config)
        history = [each async for each in again.aget_state_history(self.config)]
        return {"notes": [note.split(":")[0] for note in state.values["notes"]], "checkpoints": len(history)}

    def _compiled(self) -> Any:
        return _graph(self.steps).compile(checkpointer=self._saver())

    def _saver(self) -> Any:
        if self.saver == "D1Saver":
            return D1Saver(SeamOnly(self.counted))
        saver = WorkerCloudflareD1Saver(self.counted)
        saver.is_setup = True  # its tables exist: it would ask for them at each of its first calls
        return saver


class Default(WorkerEntrypoint):
    """The door for the host."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Make the tables, or run one graph."""
        return await answered(request, prepare=self._prepare, job=partial(Run, self.env))

    async def _prepare(self) -> None:
        await run_migration(self.env.AGENT_DB)
        await WorkerCloudflareD1Saver(raw(self.env)).setup()


def raw(env: Any) -> Any:
    """The binding without the SDK's wrapper."""
    return getattr(env.AGENT_DB, "_binding", env.AGENT_DB)


def _graph(steps: int) -> Any:
    async def step(state: Notes) -> dict[str, Any]:
        return {"notes": [f"{state['steps']}: {TEXT}"], "steps": state["steps"] + 1}

    def further(state: Notes) -> str:
        return "step" if state["steps"] < steps else END

    return StateGraph(Notes).add_node("step", step).add_edge(START, "step").add_conditional_edges("step", further)
