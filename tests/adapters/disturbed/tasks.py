"""The operations of A2A's tasks."""

from __future__ import annotations

from typing import Any, cast

from a2a.server.cluster.version import TaskVersion
from a2a.types.a2a_pb2 import ListTasksRequest, Task, TaskState

from agents_store_cloudflare.adapters.a2a import D1TaskStore
from tests.adapters.a2a.tasks import call_of, task, texts_of
from tests.adapters.disturbed.worlds import AdapterWorld, by_others, op, plain_op, role_of
from tests.instruments.operations import plain

__all__ = ["TASKS", "add"]

ADA = call_of()
CANCELED, DONE = TaskState.TASK_STATE_CANCELED, TaskState.TASK_STATE_COMPLETED


class Tasks(AdapterWorld):
    """A task with two saves."""

    def client(self, database: Any) -> D1TaskStore:
        return D1TaskStore(database)

    async def fill(self) -> None:
        await add(self.theirs, "one")
        await add(self.theirs, "two")

    async def picture(self) -> str:
        found = await self.theirs.list(ListTasksRequest(), ADA)
        shown: list[Any] = []
        for each in found.tasks:
            stored = await self.theirs.get(each.id, ADA)
            assert stored is not None
            number = repr(stored.version).partition(".")[0]
            shown.append((each.id, texts_of(each), each.status.state, dict(each.metadata), number))
        return plain(shown)

    async def probe(self, client: D1TaskStore) -> None:
        await save(client, task("probe"), TaskVersion.MISSING)
        await client.delete("probe", ADA)


async def save(store: D1TaskStore, what: Task, version: TaskVersion) -> str:
    """Save a task, and return how many saves its version counts."""
    saved = await store.save(what, prev_version=version, context=ADA)
    return repr(saved).partition(".")[0]


async def add(store: D1TaskStore, text: str) -> str:
    """Read the task, or make it, and add a text."""
    found = await store.get("task", ADA)
    what, version = (task(), TaskVersion.MISSING) if found is None else (found.task, found.version)
    what.history.extend(task("task", text).history)
    return await save(store, what, version)


async def _version(world: Tasks, client: Any) -> TaskVersion:
    found = await world.theirs.get("task", ADA)
    assert found is not None
    return cast("TaskVersion", found.version)


async def often(store: D1TaskStore) -> list[str]:
    return [await add(store, str(number)) for number in range(14)]


async def make_again(store: D1TaskStore) -> str:
    await store.delete("task", ADA)
    return await add(store, "anew")


async def cancel(store: D1TaskStore) -> str:
    return await save(store, task(state=CANCELED), TaskVersion.MISSING)


async def go_on(store: D1TaskStore) -> str | None:
    found = await store.get("new", ADA)
    return None if found is None else await save(store, task("new", "x", "y"), found.version)


TASKS = role_of(
    "tasks",
    Tasks,
    op("save", save, lambda: task("task", "one", "two", "three"), _version),
    op("save a new one", save, lambda: task("new", "x"), lambda: TaskVersion.MISSING),
    op("end", save, lambda: task("task", "one", state=DONE), _version),
    op("cancel", cancel),
    plain_op("delete", lambda store: store.delete("task", ADA)),
    by_others("add", lambda store: add(store, "theirs")),
    by_others("add often", often),
    by_others("go on with the new one", go_on),
    by_others("cancel it", cancel),
    by_others("delete it", lambda store: store.delete("task", ADA)),
    by_others("make again", make_again),
)
