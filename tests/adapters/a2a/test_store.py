"""A task store that two writers, lost replies, large values and foreign rows cannot break."""

import asyncio
from collections.abc import Sequence
from typing import Any, LiteralString

import pytest
from a2a.server.agent_execution.active_task import TERMINAL_TASK_STATES
from a2a.server.cluster.task_store import ConcurrentTaskModificationError, StoredTask
from a2a.server.cluster.version import TaskVersion
from a2a.types.a2a_pb2 import Artifact, ListTasksRequest, Part, Task, TaskState

from agents_store_cloudflare.adapters.a2a import D1TaskStore, ForeignValueError
from agents_store_cloudflare.contract.errors import D1StateError, InvalidArgumentError, StaleFencingTokenError
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import FaultyDatabase, SqliteDatabase
from agents_store_cloudflare.transfer import export_session, import_session
from tests.adapters.a2a.tasks import CONTEXT, STATES, call_of, task, texts_of
from tests.adapters.two_writers import NEW, OLD, TwoWriters
from tests.homes.worlds import HomeWorld

ROWS = [Statement("SELECT * FROM __agents_a2a_tasks ORDER BY 1, 2, 3"), Statement("SELECT * FROM __agents_fences")]
MISSING = TaskVersion.MISSING
WORKING, DONE, CANCELED = (
    TaskState.TASK_STATE_WORKING,
    TaskState.TASK_STATE_COMPLETED,
    TaskState.TASK_STATE_CANCELED,
)
ADA = call_of()


async def stored(store: D1TaskStore, task_id: str = "task") -> StoredTask:
    found = await store.get(task_id, ADA)
    assert found is not None
    return found


async def save(store: D1TaskStore, what: Task, version: TaskVersion = MISSING) -> TaskVersion:
    return await store.save(what, prev_version=version, context=ADA)


class TestTwoWriters(TwoWriters):
    """A2-3: the holder whose lock was lost is refused by name; A2-4: a lost reply has one effect."""

    conflict = ConcurrentTaskModificationError
    too_large = ForeignValueError

    def writer(self, database: Any, **token: Any) -> D1TaskStore:
        """Return a store of its own."""
        return D1TaskStore(database, **token)

    async def load(self, writer: D1TaskStore) -> StoredTask:
        """Return the task, or a new one."""
        return await writer.get("task", ADA) or StoredTask(task(), MISSING)

    async def write(self, writer: D1TaskStore, loaded: StoredTask, text: str) -> None:
        """Add a text to the history."""
        loaded.task.history.extend(task("task", text).history)
        await save(writer, loaded.task, loaded.version)

    async def texts(self, database: Any) -> list[str]:
        """Return the texts of the history."""
        found = await D1TaskStore(database).get("task", ADA)
        return [] if found is None else texts_of(found.task)

    async def test_the_stalled_holder_deletes_nothing(self, database: SqliteDatabase) -> None:
        """A2-3: A holder whose lock was lost cannot delete what a newer holder wrote."""
        await save(self.writer(database, fencing_token=NEW), task("task", "new"))
        with pytest.raises(StaleFencingTokenError):
            await self.writer(database, fencing_token=OLD).delete("task", ADA)
        assert await self.texts(database) == ["new"]
        await self.writer(database, fencing_token=NEW).delete("task", ADA)
        await self.writer(database, fencing_token=NEW).delete("task", ADA)
        assert await D1TaskStore(database).get("task", ADA) is None


async def test_the_late_writer_is_told(database: SqliteDatabase) -> None:
    """A2-2: Of two writers of one version, the late writer gets the SDK's error, and nothing of its task is stored."""
    a, b = D1TaskStore(database), D1TaskStore(database)
    with pytest.raises(ConcurrentTaskModificationError):
        await save(a, task("task", "never stored"), await save(a, task("other")))
    first = await save(a, task("task", "first"))
    with pytest.raises(ConcurrentTaskModificationError):
        await save(b, task("task", "also first"))
    second = await save(b, task("task", "first", "b"), (await stored(b)).version)
    assert second.is_after(first)
    before = await database.batch(ROWS)
    with pytest.raises(ConcurrentTaskModificationError):
        await save(a, task("task", "first", "a"), first)
    assert await database.batch(ROWS) == before
    assert (await stored(a)).version == second


async def test_a_worker_that_wakes_after_the_cancellation(database: SqliteDatabase) -> None:
    """A2-2: A save after a cancellation is refused with an old version, without one, and with the newest."""
    store = D1TaskStore(database)
    version = await save(store, task())
    ended = await save(D1TaskStore(database), task(state=CANCELED), MISSING)
    for late, known in ((WORKING, version), (DONE, version), (DONE, MISSING), (WORKING, ended), (CANCELED, version)):
        with pytest.raises(ConcurrentTaskModificationError):
            await save(store, task("task", "late", state=late), known)
    assert (await stored(store)).task == task(state=CANCELED)


@pytest.mark.parametrize("state", sorted(TERMINAL_TASK_STATES))
async def test_every_state_that_ends(database: SqliteDatabase, state: Any) -> None:
    """A2-2: After a final state no other state can be stored, with any version. The same final state is accepted with the version."""
    store = D1TaskStore(database)
    version = await save(store, task())
    version = await save(store, task(state=state), version)
    for other in set(STATES) - {state}:
        with pytest.raises(ConcurrentTaskModificationError):
            await save(store, task(state=other), version)
    late = task(state=state)
    late.artifacts.append(Artifact(artifact_id="late", parts=[Part(text="x")]))
    if state == CANCELED:
        with pytest.raises(ConcurrentTaskModificationError):
            await save(store, late, version)
    else:
        await save(store, late, version)
        assert (await stored(store)).task == late


async def test_a_cancellation_needs_no_version(database: SqliteDatabase) -> None:
    """A2-2: A cancellation ends a task that has not ended, and makes no task."""
    store = D1TaskStore(database)
    with pytest.raises(ConcurrentTaskModificationError):
        await save(store, task(state=CANCELED))
    version = await save(store, task())
    await save(store, task("task", "on"), version)
    ended = await save(store, task(state=CANCELED), version)
    assert (await stored(store)).version == ended
    with pytest.raises(ConcurrentTaskModificationError):
        await save(store, task(state=CANCELED), ended)


@pytest.mark.parametrize("state", [WORKING, CANCELED])
async def test_a_reply_that_is_lost(database: SqliteDatabase, state: Any) -> None:
    """A2-4: A save with a lost reply is sent again, has one effect, and returns the version for the next save."""
    store = D1TaskStore(faulty := FaultyDatabase(database))
    version = await save(store, task())
    faulty.fail("after", "after")
    again = await save(store, task("task", "a", state=state), version)
    assert (await stored(store)).version == again
    assert again.is_after(version)
    if state == WORKING:
        await save(store, task("task", "a", "b"), again)


class _SavedMeanwhile:
    """A database in which others save the task so often before the deletion's second batch."""

    def __init__(self, database: SqliteDatabase, saves: int) -> None:
        self._database, self._saves, self._batches = database, saves, 0

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Let the others save, then run the batch."""
        self._batches += 1
        for _ in range(self._saves if self._batches == 2 else 0):
            found = await stored(other := D1TaskStore(self._database))
            await save(other, found.task, found.version)
        return await self._database.batch(statements)


@pytest.mark.parametrize("saves", [15, 16])
async def test_a_deletion_that_others_overtake(database: SqliteDatabase, saves: int) -> None:
    """A2-4: A deletion deletes the task after 15 saves of others. After more it cannot know the task: it deletes nothing, and says so."""
    await save(D1TaskStore(database), task())
    mine = D1TaskStore(_SavedMeanwhile(database, saves))
    if saves == 15:
        await mine.delete("task", ADA)
        assert await mine.get("task", ADA) is None
        return
    with pytest.raises(D1StateError, match="'task' 16 times") as raised:
        await mine.delete("task", ADA)
    assert raised.value.outcome_unknown
    assert await mine.get("task", ADA) is not None


async def test_a_database_that_fails(database: SqliteDatabase) -> None:
    """A2-4: An error of the database never becomes a missing task or an empty list."""
    store = D1TaskStore(faulty := FaultyDatabase(database))
    version = await save(store, task())
    for call in (
        lambda: store.get("task", ADA),
        lambda: store.list(ListTasksRequest(), ADA),
        lambda: store.delete("task", ADA),
        lambda: save(store, task("task", "x"), version),
    ):
        faulty.fail("before", message="internal error; reference = x")
        with pytest.raises(D1StateError):
            await call()
    assert (await stored(store)).task == task()
    with pytest.raises(D1StateError, match="makes the tables"):
        await D1TaskStore(SqliteDatabase()).get("task", ADA)


async def test_a_cancelled_save(database: SqliteDatabase) -> None:
    """A2-4: A cancelled save has its whole effect or none. The next save is stored, or gets an error."""
    for turns in range(6):
        store = D1TaskStore(database)
        name = f"task-{turns}"
        version = await save(store, task(name))
        saving = asyncio.ensure_future(save(store, task(name, "a", "b"), version))
        for _ in range(turns):
            await asyncio.sleep(0)
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
        found = await stored(store, name)
        assert texts_of(found.task) in ([], ["a", "b"])
        await save(store, task(name, "c"), found.version)


async def test_what_a_save_stores_is_fixed_before_it_waits(database: SqliteDatabase) -> None:
    """A2-4: Changes of the SDK's object during a save are not stored."""
    store, what = D1TaskStore(database), task("task", "a")
    saving = asyncio.ensure_future(save(store, what))
    await asyncio.sleep(0)
    what.history.extend(task("task", "b").history)
    await saving
    assert texts_of((await stored(store)).task) == ["a"]


async def test_owners_do_not_meet(database: SqliteDatabase) -> None:
    """A2-1: The same id of another owner is another task."""
    store = D1TaskStore(database)
    await save(store, task("task", "ada's"))
    assert await store.get("task", call_of("bob")) is None
    await store.save(task("task", "bob's"), prev_version=MISSING, context=call_of("bob"))
    await store.delete("task", call_of("bob"))
    assert texts_of((await stored(store)).task) == ["ada's"]
    own = D1TaskStore(database, owner_resolver=lambda call: f"tenant {call.user.user_name}")
    assert await own.get("task", ADA) is None


async def test_a_large_task(database: SqliteDatabase) -> None:
    """A2-5: A task above the 2 MB of a row is refused by name, and the stored task stays."""
    store = D1TaskStore(database)
    version = await save(store, task("task", "x" * 1_900_000))
    with pytest.raises(ForeignValueError, match="2,000,"):
        await save(store, task("task", "x" * 2_000_000), version)
    assert (await stored(store)).version == version


async def test_values_that_json_cannot_hold(database: SqliteDatabase) -> None:
    """A2-5: Values that JSON cannot hold are refused before anything is sent."""
    store, what = D1TaskStore(database), task()
    what.metadata.update({"x": float("nan")})
    with pytest.raises(ForeignValueError, match="task 'task'"):
        await save(store, what)
    bad: Any
    for bad in (task(""), task("a\nb"), task("task", context_id="x" * 600)):
        with pytest.raises(InvalidArgumentError):
            await save(store, bad)
    with pytest.raises(InvalidArgumentError, match="prev_version"):
        await save(store, task(), TaskVersion(7))
    assert (await database.batch(ROWS))[0] == []
    await save(store, task())
    with pytest.raises(InvalidArgumentError, match="context id"):
        await save(store, task(context_id="another"), (await stored(store)).version)


FOREIGN: dict[str, LiteralString] = {
    "no JSON": "UPDATE __agents_a2a_tasks SET body = '{'",
    "no object": "UPDATE __agents_a2a_tasks SET body = '[1]'",
    "another task": "UPDATE __agents_a2a_tasks SET body = '{}'",
    "a newer protocol": "UPDATE __agents_a2a_tasks SET body = json_set(body, '$.novelty', 1)",
}


@pytest.mark.parametrize("change", FOREIGN)
async def test_rows_of_others(database: SqliteDatabase, change: str) -> None:
    """A2-5: Rows of another program are errors that name the task, and stay."""
    store = D1TaskStore(database)
    await save(store, task())
    await database.batch([Statement(FOREIGN[change])])
    before = await database.batch(ROWS)
    with pytest.raises(ForeignValueError, match="task 'task'"):
        await store.get("task", ADA)
    assert await database.batch(ROWS) == before


async def test_tasks_go_with_their_session(database: SqliteDatabase) -> None:
    """A2-6: A deletion removes the tasks of its context, also without a session. A copy has them."""
    store, state = D1TaskStore(database), D1StateStore(database)
    await save(store, task("a"))
    await save(store, task("b", context_id="other"))
    await save(store, task("alone", context_id=""))
    await state.create_session(CONTEXT, agent_type="x")
    copy = await export_session(database, CONTEXT)
    await run_migration(target := SqliteDatabase())
    await import_session(target, copy)
    there, here = await stored(D1TaskStore(target), "a"), await stored(store, "a")
    assert (there.task, there.version) == (here.task, here.version)
    await state.delete_session(CONTEXT)
    await state.delete_session("alone")
    left = [await store.get(name, ADA) for name in ("a", "b", "alone")]
    assert [each is not None for each in left] == [False, True, False]


async def test_homes_are_refused() -> None:
    """A2-6: A store over homes is refused by name when it is made."""
    world = HomeWorld()
    cloud = await world.store()
    homes = cloud.session_homes
    with pytest.raises(InvalidArgumentError, match="cannot live in homes"):
        D1TaskStore(homes)


async def test_setup_makes_the_tables() -> None:
    """A2-6: `setup` makes the tables without a migration of the user's."""
    store = D1TaskStore(SqliteDatabase())
    await store.setup()
    await save(store, task())
    assert (await stored(store)).task == task()
