"""The tasks for code that knows no versions: the same protection, from what the store has read."""

import pytest
from a2a.server.cluster.task_store import ConcurrentTaskModificationError
from a2a.types.a2a_pb2 import ListTasksRequest, TaskState

from agents_store_cloudflare.adapters.a2a import D1TaskStore, PlainTasks
from agents_store_cloudflare.testing import SqliteDatabase
from tests.adapters.a2a.tasks import call_of, task, texts_of

ADA = call_of()


async def test_reads_and_saves(database: SqliteDatabase) -> None:
    """A2-8: a task is saved again and again, read, listed and deleted."""
    tasks = D1TaskStore(database).as_task_store
    for texts in ((), ("a",), ("a", "b")):
        await tasks.save(task("task", *texts), ADA)
    assert await tasks.get("task", ADA) == task("task", "a", "b")
    assert [each.id for each in (await tasks.list(ListTasksRequest(), ADA)).tasks] == ["task"]
    assert await tasks.get("task", call_of("bob")) is None
    await tasks.delete("task", ADA)
    assert await tasks.get("task", ADA) is None
    await tasks.save(task("task", "new"), ADA)


async def test_a_late_worker(database: SqliteDatabase) -> None:
    """A2-8: what others have saved since the task was read here is not overwritten; after a read it may be."""
    a, b = D1TaskStore(database).as_task_store, D1TaskStore(database).as_task_store
    await a.save(task(), ADA)
    with pytest.raises(ConcurrentTaskModificationError):
        await b.save(task("task", "unread"), ADA)
    await b.get("task", ADA)
    await b.save(task("task", "b"), ADA)
    with pytest.raises(ConcurrentTaskModificationError):
        await a.save(task("task", "a"), ADA)
    found = await a.get("task", ADA)
    assert found is not None
    await a.save(task("task", *texts_of(found), "a"), ADA)
    await b.save(task(state=TaskState.TASK_STATE_CANCELED), ADA)
    with pytest.raises(ConcurrentTaskModificationError):
        await a.save(task("task", "late", state=TaskState.TASK_STATE_COMPLETED), ADA)
    found = await b.get("task", ADA)
    assert found is not None
    assert found.status.state == TaskState.TASK_STATE_CANCELED


async def test_so_many_versions_are_remembered(database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A2-8: the newest; a save of an older task is refused until it is read again."""
    monkeypatch.setattr(f"{PlainTasks.__module__}.MOST_KNOWN", 3)
    tasks = D1TaskStore(database).as_task_store
    for number in range(5):
        await tasks.save(task(f"t{number}"), ADA)
    await tasks.save(task("t4", "again"), ADA)
    with pytest.raises(ConcurrentTaskModificationError):
        await tasks.save(task("t0", "again"), ADA)
    await tasks.get("t0", ADA)
    await tasks.save(task("t0", "again"), ADA)
