"""The operations of LangGraph's checkpoints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, cast

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint

from agents_store_cloudflare.adapters.langgraph import D1Saver
from agents_store_cloudflare.database import Statement
from tests.adapters.disturbed.worlds import AdapterWorld, by_others, op, plain_op, role_of
from tests.instruments.operations import plain

__all__ = ["CHECKED_GRAPHS", "GRAPHS"]

THREADS = ("ada", "bob", "copy")
LONG = "long " * 60
LEFT_LINES = Statement(
    """
    SELECT count(*)
    FROM __agents_graph_lines AS l
    WHERE NOT EXISTS (SELECT 1 FROM __agents_graph_checkpoints AS c WHERE c.session_id = l.session_id)
    """
)


def config(thread: str, number: int | None = None) -> Any:
    named = {} if number is None else {"checkpoint_id": f"c{number:02}"}
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", **named}}


def checkpoint(number: int, *texts: str) -> Checkpoint:
    """Return a checkpoint. As in LangGraph, the ids of later ones sort later."""
    made: dict[str, Any] = {
        **empty_checkpoint(),
        "id": f"c{number:02}",
        "ts": f"2026-11-26T16:04:{number:02}+00:00",
        "channel_values": {
            "messages": [HumanMessage(f"{text} {LONG}", id=text) for text in texts],
            "notes": {"all": [*texts]},
            "last": HumanMessage(f"{LONG}{number}", id="last"),
        },
        "channel_versions": dict.fromkeys(("messages", "notes", "last"), number),
        "versions_seen": {"node": {"messages": number}},
    }
    return cast("Checkpoint", made)


async def put(saver: D1Saver, thread: str, parent: int | None, number: int, *texts: str, run_id: str = "run") -> str:
    made = checkpoint(number, *texts)
    return await put_this(saver, made, config(thread, parent), {"source": "loop", "step": 1, "run_id": run_id})


async def put_this(saver: D1Saver, made: Checkpoint, at: Any, metadata: Any) -> str:
    stored: Any = await saver.aput(at, made, metadata, dict(made["channel_versions"]))
    return str(stored["configurable"]["checkpoint_id"])


class Graphs(AdapterWorld):
    """A thread of two checkpoints with writes, and another one. Both savers have read the newest checkpoint."""

    options: ClassVar[dict[str, Any]] = {}

    def client(self, database: Any) -> D1Saver:
        return D1Saver(database, **self.options)

    async def fill(self) -> None:
        await put(self.theirs, "ada", None, 1, "one")
        await self.theirs.aput_writes(config("ada", 1), [("messages", ["two"]), ("__error__", LONG)], "task")
        await put(self.theirs, "ada", 1, 2, "one", "two")
        await put(self.theirs, "bob", None, 1, "one", run_id="another")

    async def picture(self) -> str:
        shown: dict[str, Any] = {}
        for thread in THREADS:
            shown[thread] = [
                (each.checkpoint, each.metadata, each.pending_writes, (each.parent_config or {}).get("configurable"))
                async for each in D1Saver(self.database).alist(config(thread))
            ]
        [[[lines]]] = await self.database.batch([LEFT_LINES])
        return plain([shown, lines])

    async def probe(self, client: D1Saver) -> None:
        await put(client, "probe", None, 1, "x")
        await client.adelete_thread("probe")


class CheckedGraphs(Graphs):
    options: ClassVar[dict[str, Any]] = {"head_check": True}


def read(thread: str = "ada") -> Callable[[Any, Any], Awaitable[Any]]:
    """Return what lets both savers read the newest checkpoint, as every run does, and gives its config."""

    async def act(world: Graphs, client: D1Saver) -> Any:
        await client.aget_tuple(config(thread))
        return config(thread, 2)

    return act


async def write(saver: D1Saver, at: Any, writes: list[tuple[str, Any]]) -> None:
    await saver.aput_writes(at, writes, "task")


async def go_on(saver: D1Saver) -> str:
    """Read whatever is the newest, and put a checkpoint after it."""
    found = await saver.aget_tuple(config("ada"))
    if found is None:
        return await put(saver, "ada", None, 11, "anew")
    values: list[Any] = found.checkpoint["channel_values"]["messages"]
    made = checkpoint(12)
    made["channel_values"]["messages"] = [*values, HumanMessage(f"theirs {LONG}", id="theirs")]
    return await put_this(saver, made, found.config, {"source": "loop", "step": 2})


async def go_on_in_the_copy(saver: D1Saver) -> str:
    found = await saver.aget_tuple(config("copy"))
    if found is None:
        return "no copy"
    made = checkpoint(13)
    values: list[Any] = found.checkpoint["channel_values"]["messages"]
    made["channel_values"]["messages"] = [*values, HumanMessage(f"in the copy {LONG}", id="copy")]
    await saver.aput_writes(found.config, [("last", "written")], "another")
    return await put_this(saver, made, found.config, {"source": "loop", "step": 2})


async def make_again(saver: D1Saver) -> str:
    await saver.adelete_thread("ada")
    return await put(saver, "ada", None, 11, "anew")


OPERATIONS = (
    op("put", put_this, lambda: checkpoint(3, "one", "two", "three"), read(), lambda: {"source": "loop", "step": 2}),
    op("put a first one", put_this, lambda: checkpoint(4, "x"), lambda: config("copy"), lambda: {"source": "input"}),
    op("write", write, read(), lambda: [("messages", [HumanMessage("x", id="x")]), ("last", {"deep": [1]})]),
    op("write much", write, read(), lambda: [("messages", [LONG * 30]), ("__interrupt__", {"deep": [LONG]})]),
    plain_op("delete", lambda saver: saver.adelete_thread("ada")),
    plain_op("delete runs", lambda saver: saver.adelete_for_runs(["run"])),
    plain_op("copy", lambda saver: saver.acopy_thread("ada", "copy")),
    plain_op("prune", lambda saver: saver.aprune(["ada"])),
    by_others("go on", go_on),
    by_others("go on in the copy", go_on_in_the_copy),
    by_others("make again", make_again),
    by_others("delete it", lambda saver: saver.adelete_thread("ada")),
    by_others("delete runs of theirs", lambda saver: saver.adelete_for_runs(["run"])),
    by_others("write too", lambda saver: write(saver, config("ada", 2), [("messages", ["theirs"])])),
)
GRAPHS = role_of("graphs", Graphs, *OPERATIONS)
CHECKED_GRAPHS = role_of("graphs with a head check", CheckedGraphs, *OPERATIONS)
