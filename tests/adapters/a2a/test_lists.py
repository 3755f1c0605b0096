"""Lists of tasks: the same as those of the SDK's store in memory, in bounded pages."""

from random import Random
from typing import Any

import pytest
from a2a.server.agent_execution.active_task import TERMINAL_TASK_STATES
from a2a.server.cluster.version import TaskVersion
from a2a.server.tasks import InMemoryTaskStore
from a2a.types.a2a_pb2 import Artifact, ListTasksRequest, Part, Task, TaskState
from a2a.utils.errors import InvalidParamsError

from agents_store_cloudflare.adapters.a2a import D1TaskStore
from agents_store_cloudflare.testing import SqliteDatabase
from tests.adapters.a2a.tasks import STATES, call_of, task
from tests.lengths import length

USERS = ("ada", "bob", "")
CONTEXTS = ("one", "two", "three", "")
TIMES = (None, 0, -1, 1_700_000_000_000_000_000, 1_700_000_000_000_000_001, 1_800_000_000_123_456_789, -(10**18))


class Both:
    """Makes the same calls to both stores."""

    def __init__(self, database: SqliteDatabase, choice: Random) -> None:
        self.choice = choice
        self.ours, self.theirs = D1TaskStore(database), InMemoryTaskStore()
        self.calls = 0

    async def go_on(self) -> None:
        """Make one call to both, and compare the results."""
        self.calls += 1
        context = call_of(self.choice.choice(USERS))
        task_id = f"t{self.choice.randrange(12)}"
        match self.choice.randrange(5):
            case 0 | 1:
                await self._save(task_id, context)
            case 2:
                found, expected = await self.ours.get(task_id, context), await self.theirs.get(task_id, context)
                assert (found and found.task) == expected
            case 3 if self.choice.random() < 0.3:
                await self.ours.delete(task_id, context)
                await self.theirs.delete(task_id, context)
            case _:
                await self._list(context)

    async def _save(self, task_id: str, context: Any) -> None:
        before = await self.ours.get(task_id, context)
        made = self._task(task_id)
        if before is not None:
            made.context_id = before.task.context_id
            if before.task.status.state in TERMINAL_TASK_STATES:
                return
        elif made.status.state == TaskState.TASK_STATE_CANCELED:
            return
        version = TaskVersion.MISSING if before is None else before.version
        await self.ours.save(made, prev_version=version, context=context)
        await self.theirs.save(made, context)

    async def _list(self, context: Any) -> None:
        wanted = ListTasksRequest(page_size=self.choice.choice((0, 1, 2, 5)))
        if self.choice.random() < 0.4:
            wanted.context_id = self.choice.choice(CONTEXTS)
        if self.choice.random() < 0.4:
            wanted.status = self.choice.choice(STATES)
        time_ns = self.choice.choice(TIMES)
        if time_ns is not None:
            wanted.status_timestamp_after.FromNanoseconds(time_ns)
        for _ in range(40):
            ours, theirs = await self.ours.list(wanted, context), await self.theirs.list(wanted, context)
            assert ours == theirs
            if not ours.next_page_token:
                return
            wanted.page_token = ours.next_page_token
        raise AssertionError("the pages do not end")

    def _task(self, task_id: str) -> Task:
        made = task(
            task_id,
            *(f"wörd {number} \U0001f600" for number in range(self.choice.randrange(3))),
            state=self.choice.choice(STATES),
            context_id=self.choice.choice(CONTEXTS),
            time_ns=self.choice.choice(TIMES),
        )
        if self.choice.random() < 0.5:
            made.metadata.update({"number": 1.5, "list": [1, None, True, {"a": "b"}], "large": 2.0**70})
        if self.choice.random() < 0.5:
            made.artifacts.append(Artifact(artifact_id="a", parts=[Part(raw=b"\x00\xff"), Part(url="https://x")]))
        return made


@pytest.mark.parametrize("seed", range(length(4, 40)))
async def test_random_calls(database: SqliteDatabase, seed: int) -> None:
    """A2-1: Get, list and its pages return the same as the SDK's store in memory, after any saves."""
    both = Both(database, Random(seed))
    for _ in range(500):
        await both.go_on()


async def test_a_page_is_bounded(database: SqliteDatabase) -> None:
    """A2-7: Large tasks come on several pages, each task once. A task that is larger than a page comes too."""
    store, call = D1TaskStore(database), call_of()
    for number in range(7):
        await store.save(
            task(f"t{number}", "x" * 1_500_000, time_ns=number), prev_version=TaskVersion.MISSING, context=call
        )
    seen: list[str] = []
    sizes: list[int] = []
    wanted = ListTasksRequest()
    while True:
        page = await store.list(wanted, call)
        assert page.total_size == 7
        seen += [each.id for each in page.tasks]
        sizes.append(len(page.tasks))
        if not page.next_page_token:
            break
        wanted.page_token = page.next_page_token
    assert seen == [f"t{number}" for number in reversed(range(7))]
    assert sizes == [3, 3, 1]


async def test_what_calls_cost(database: SqliteDatabase) -> None:
    """A2-7: A save, a get and a list cost one batch each, a deletion two."""
    store, call = D1TaskStore(database), call_of()
    database.batches = 0
    await store.save(task(), prev_version=TaskVersion.MISSING, context=call)
    await store.get("task", call)
    await store.list(ListTasksRequest(), call)
    await store.delete("task", call)
    assert database.batches == 5


async def test_a_token_that_is_none(database: SqliteDatabase) -> None:
    """A2-7: A bad token gives the SDK's error for parameters."""
    with pytest.raises(InvalidParamsError):
        await D1TaskStore(database).list(ListTasksRequest(page_token="x"), call_of())


async def test_a_size_that_is_none(database: SqliteDatabase) -> None:
    """A2-7: A negative page size gives the SDK's error for parameters, and nothing is sent."""
    sent = database.batches
    with pytest.raises(InvalidParamsError, match="page_size is -1"):
        await D1TaskStore(database).list(ListTasksRequest(page_size=-1), call_of())
    assert database.batches == sent
