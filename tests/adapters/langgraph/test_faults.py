"""Every failing statement, every lost reply, cancellation, large values, foreign rows, a newer schema: one outcome, and a named error."""

import asyncio
import copy
import json
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from agents_store_cloudflare.adapters.langgraph import D1Saver, ForeignValueError
from agents_store_cloudflare.contract.errors import D1StateError, InvalidArgumentError, MigrationError
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import FaultyDatabase, SqliteDatabase
from agents_store_cloudflare.testing.faults import Moment
from tests.adapters.langgraph.graphs import config_of, texts, turn

AFTER: tuple[Moment, ...] = ("after", "after", "after")
UNKNOWN = "internal error; reference = x"
ROWS = [
    Statement("SELECT * FROM __agents_graph_checkpoints ORDER BY 1, 2, 3"),
    Statement("SELECT * FROM __agents_graph_lines ORDER BY 1, 2, 3, 4"),
    Statement("SELECT session_id, token FROM __agents_fences ORDER BY 1"),
]
LONG = "ё" * 3_000
IDS = [str(uuid6()) for _ in range(4)]


def _checkpoint(number: int, values: dict[str, Any]) -> Checkpoint:
    return {
        **empty_checkpoint(),
        "id": IDS[number],
        "ts": "2026-11-26T16:04:24.123456+00:00",
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, number + 1),
    }


async def _put(saver: D1Saver, number: int, values: dict[str, Any]) -> Any:
    parent = {"checkpoint_id": IDS[number - 1]} if number else {}
    metadata: Any = {"source": "loop", "step": number, "parents": {}, "run_id": "run"}
    checkpoint = _checkpoint(number, values)
    config = config_of("t", checkpoint_ns="", **parent)
    return await saver.aput(config, checkpoint, metadata, checkpoint["channel_versions"])


def _config(number: int) -> Any:
    return config_of("t", checkpoint_ns="", checkpoint_id=IDS[number])


async def _step(saver: D1Saver) -> None:
    """Store writes of two tasks, and the checkpoint that they make, in one batch."""
    tasks = [
        asyncio.ensure_future(saver.aput_writes(_config(1), [("list", [f"{LONG}3"]), ("long", LONG)], "one", "~a")),
        asyncio.ensure_future(saver.aput_writes(_config(1), [("other", {"x": LONG})], "two", "~b")),
    ]
    await asyncio.sleep(0)
    await asyncio.gather(*tasks, _put(saver, 2, {"list": ["1", f"{LONG}2", f"{LONG}3"], "long": LONG, "short": 5}))


Write = Callable[[D1Saver], Awaitable[object]]
WRITES: dict[str, Write] = {
    "put": lambda saver: _put(saver, 2, {"list": ["1", f"{LONG}2", "3"], "long": LONG, "other": [LONG] * 3}),
    "put_writes": lambda saver: saver.aput_writes(
        _config(1), [("list", ["x"]), ("long", LONG), ("__error__", "e")], "t"
    ),
    "a step": _step,
    "delete_thread": lambda saver: saver.adelete_thread("t"),
    "delete_for_runs": lambda saver: saver.adelete_for_runs(["run"]),
    "copy_thread": lambda saver: saver.acopy_thread("t", "copy"),
    "prune": lambda saver: saver.aprune(["t"]),
}
writes = pytest.mark.parametrize("write", WRITES)
READ_FIRST = {"prune", "delete_for_runs"}
"""Their first batch reads."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with a thread of two checkpoints."""
    path = tmp_path_factory.mktemp("graphs") / "template.sqlite"
    asyncio.run(_prepare(path))
    return path


async def _prepare(path: Path) -> None:
    database = SqliteDatabase(path)
    await run_migration(database)
    saver = D1Saver(database, fencing_token=5)
    await _put(saver, 0, {"list": ["1"], "__start__": {"text": LONG}})
    await saver.aput_writes(_config(0), [("list", [f"{LONG}2"]), ("long", LONG)], "first")
    await _put(saver, 1, {"list": ["1", f"{LONG}2"], "long": LONG})
    database.close()


class World:
    """A database file, and a saver on it that has loaded the thread. Tests order its faults."""

    def __init__(self, template: Path, path: Path) -> None:
        shutil.copy(template, path)
        self.file = SqliteDatabase(path)
        self.faults = FaultyDatabase(self.file)
        self.saver = D1Saver(self.faults, fencing_token=6)

    async def load(self) -> None:
        await self.saver.aget_tuple(config_of("t"))
        self.faults.sent.clear()

    async def rows(self) -> list[list[Row]]:
        return await self.file.batch(ROWS)

    async def seen(self) -> list[Any]:
        """Return what a new reader finds in all threads, without the names of logs."""
        reader = D1Saver(self.file)
        found: list[Any] = []
        for thread in ("t", "copy"):
            found += [tuple(each) async for each in reader.alist(config_of(thread))]
        return found


@pytest.fixture
async def made(template: Path, tmp_path: Path) -> Callable[[str], Awaitable[World]]:
    async def make(name: str) -> World:
        world = World(template, tmp_path / f"{name}.sqlite")
        await world.load()
        return world

    return make


@writes
async def test_every_statement(made: Callable[[str], Awaitable[World]], write: str) -> None:
    """LG-7: Whichever statement fails, before or after its effect, nothing has happened. A second call has one effect."""
    expected = await made("expected")
    await WRITES[write](expected.saver)
    wanted, batches = await expected.seen(), list(expected.faults.sent)
    moments: tuple[Moment, ...] = ("before", "after")
    for index in range(batches[1] if write in READ_FIRST else batches[-1]):
        for moment in moments:
            world = await made(f"{index}{moment}")
            before = await world.rows()
            if write in READ_FIRST:
                world.faults.leave_alone(1)
            world.faults.break_statement(index, moment)
            with pytest.raises(D1StateError, match="broken on demand"):
                await WRITES[write](world.saver)
            if len(batches) == 1:
                assert await world.rows() == before
            await WRITES[write](world.saver)
            assert await world.seen() == wanted


@writes
@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_lost_replies(made: Callable[[str], Awaitable[World]], write: str, lost: int) -> None:
    """LG-7: A batch that was sent again after a lost reply has one effect."""
    expected = await made("expected")
    await WRITES[write](expected.saver)
    world = await made("world")
    world.faults.fail(*AFTER[:lost])
    await WRITES[write](world.saver)
    assert await world.seen() == await expected.seen()


@writes
async def test_unknown_outcomes(made: Callable[[str], Awaitable[World]], write: str) -> None:
    """LG-7: If the outcome is unknown, the error says so. A second call has one effect."""
    expected = await made("expected")
    await WRITES[write](expected.saver)
    world = await made("world")
    if write in READ_FIRST:
        world.faults.leave_alone(1)
    world.faults.fail("after", message=UNKNOWN)
    with pytest.raises(D1StateError) as raised:
        await WRITES[write](world.saver)
    assert raised.value.outcome_unknown
    await WRITES[write](world.saver)
    assert await world.seen() == await expected.seen()


@writes
async def test_cancellation(made: Callable[[str], Awaitable[World]], write: str) -> None:
    """LG-7: A call that is cancelled at any moment has its whole effect or none. A second call has one effect."""
    expected = await made("expected")
    untouched = await expected.seen()
    await WRITES[write](expected.saver)
    wanted = await expected.seen()
    for turns in range(20):
        world = await made(f"at {turns}")
        call = asyncio.ensure_future(_called(WRITES[write], world.saver))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        if write != "a step":  # of several calls
            assert await world.seen() in (untouched, wanted)
        await WRITES[write](world.saver)
        assert await world.seen() == wanted


async def _called(write: Write, saver: D1Saver) -> None:
    await write(saver)


async def test_runs_take_their_lines_along(made: Callable[[str], Awaitable[World]]) -> None:
    """LG-11: A deletion of runs whose reply was lost leaves no lines."""
    world = await made("world")
    world.faults.leave_alone(1)
    world.faults.fail("after")
    await world.saver.adelete_for_runs(["run"])
    assert (await world.rows())[:2] == [[], []]


class _Meanwhile:
    """A database before whose next batch somebody acts."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self.act: Callable[[], Awaitable[object]] | None = None

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Let somebody act once, then run the batch."""
        act, self.act = self.act, None
        if act is not None:
            await act()
        return await self._database.batch(statements)


@pytest.mark.parametrize("others", ["append", "delete"])
async def test_a_put_that_others_overtake_stores_what_it_was_given(database: SqliteDatabase, others: str) -> None:
    """LG-7: Values that change while a put waits are stored as they were, also when it must be laid out again."""
    other = D1Saver(database)
    message = HumanMessage(LONG, id="m")
    await _put(other, 0, {"list": ["1", LONG]})
    values: dict[str, Any] = {
        "list": ["1", LONG, message],
        "note": {"deep": [LONG]},
        "last": HumanMessage(LONG, id="l"),
    }
    wanted = copy.deepcopy(values)

    async def act() -> None:
        await (other.adelete_thread("t") if others == "delete" else _put(other, 3, {"list": ["1", LONG, "theirs"]}))
        message.content = "changed"
        values["list"].append("late")
        values["note"]["deep"].append("late")
        values["last"].content = "changed"

    saver = D1Saver(mine := _Meanwhile(database))
    await saver.aget_tuple(_config(0))
    mine.act = act
    await _put(saver, 1, values)
    found = await D1Saver(database).aget_tuple(_config(1))
    assert found is not None
    assert found.checkpoint["channel_values"] == wanted


async def test_a_copy_that_goes_on_loses_nothing(database: SqliteDatabase) -> None:
    """LG-11: What a copy has stays when it is copied again. A copy that has gone on, as its source has, is refused by name."""
    saver = D1Saver(database)
    await _put(saver, 0, {"list": ["1", LONG]})
    await saver.acopy_thread("t", "copy")
    in_copy = config_of("copy", checkpoint_ns="", checkpoint_id=IDS[0])
    found = await saver.aget_tuple(in_copy)
    assert found is not None
    made = _checkpoint(1, {"list": [*found.checkpoint["channel_values"]["list"], "in the copy"]})
    await saver.aput(in_copy, made, {"source": "loop", "step": 1, "parents": {}}, made["channel_versions"])
    await saver.acopy_thread("t", "copy")
    await saver.aget_tuple(_config(0))
    made = _checkpoint(2, {"list": ["1", LONG, "in the source"]})
    await saver.aput(_config(0), made, {"source": "loop", "step": 1, "parents": {}}, made["channel_versions"])
    with pytest.raises(InvalidArgumentError, match=r"'copy'.*gone on"):
        await saver.acopy_thread("t", "copy")
    last = await D1Saver(database).aget_tuple(config_of("copy"))
    assert last is not None
    assert last.checkpoint["channel_values"] == {"list": ["1", LONG, "in the copy"]}


async def test_a_copy_of_what_was_pruned_meanwhile(database: SqliteDatabase) -> None:
    """LG-11: A source that has forgotten old lines is copied again into a copy that has not gone on."""
    saver = D1Saver(database)
    await _put(saver, 0, {"list": ["1", LONG * 3]})
    await saver.acopy_thread("t", "copy")
    await _put(saver, 1, {"list": ["1", LONG * 3, LONG]})
    await _put(saver, 2, {"list": ["2", LONG]})
    await saver.aprune(["t"])
    await saver.acopy_thread("t", "copy")
    found = await D1Saver(database).aget_tuple(config_of("copy"))
    assert found is not None
    assert found.checkpoint["channel_values"] == {"list": ["2", LONG]}


async def test_a_copy_of_writes_that_came_first(database: SqliteDatabase) -> None:
    """LG-11: A copy that has only the writes of a checkpoint gets the checkpoint when it is copied again."""
    saver = D1Saver(database)
    await _put(saver, 0, {"list": ["1"]})
    await saver.aput_writes(_config(1), [("list", "w")], "task")
    await saver.acopy_thread("t", "copy")
    await _put(saver, 1, {"list": ["2"]})
    await saver.acopy_thread("t", "copy")
    found = await D1Saver(database).aget_tuple(config_of("copy"))
    assert found is not None
    assert found.checkpoint["channel_values"] == {"list": ["2"]}
    assert found.pending_writes == [("task", "list", "w")]


async def test_a_known_value_that_changes_while_a_put_waits(database: SqliteDatabase) -> None:
    """LG-7: A value that the parent has too is stored as it was, also when others append first and it is laid out again."""
    other = D1Saver(database)
    saver = D1Saver(mine := _Meanwhile(database))
    message = HumanMessage(LONG, id="m")
    values: dict[str, Any] = {"list": ["1", LONG, message], "note": {"deep": [LONG]}}
    await _put(saver, 0, values)
    wanted = copy.deepcopy(values)
    wanted["list"].append("mine")

    async def act() -> None:
        await _put(other, 3, {"list": ["1", LONG, "theirs"]})
        message.content = "changed"
        values["note"]["deep"].append("late")

    mine.act = act
    await _put(saver, 1, {**values, "list": [*values["list"], "mine"]})
    found = await D1Saver(database).aget_tuple(_config(1))
    assert found is not None
    assert found.checkpoint["channel_values"] == wanted


@pytest.mark.parametrize("size", [1_499_990, 2_100_000, 4_000_000])
async def test_large_values(database: SqliteDatabase, size: int) -> None:
    """LG-8: Values over the 2 MB of a row come back: a value, an element of a list, a write, also after more checkpoints."""
    saver = D1Saver(database)
    long = "x" * size + "ё"
    values: dict[str, Any] = {"list": ["1", long, "3"], "text": long, "__start__": {"a": long}}
    await _put(saver, 0, values)
    await saver.aput_writes(_config(0), [("list", [long]), ("text", long)], "task")
    await _put(saver, 1, {"list": [*values["list"], "4", long], "text": "short"})
    await D1Saver(database).aget_tuple(_config(1))
    await _put(saver, 2, {"list": [*values["list"], "4", long, "6"], "text": long})
    for number, count in ((0, 3), (1, 5), (2, 6)):
        found = await D1Saver(database).aget_tuple(_config(number))
        assert found is not None
        stored = found.checkpoint["channel_values"]
        assert stored["list"] == [*values["list"], "4", long, "6"][:count]
        assert stored["text"] in (long, "short")
        assert [write[2] for write in found.pending_writes or []] == ([[long], long] if number == 0 else [])


FOREIGN: dict[str, tuple[str, str]] = {
    "no JSON": ("body", "{"),
    "another form": ("body", "{}"),
    "a newer form": ("body", '[2,"something new"]'),
    "an unknown kind": ("body", '[1,0,["",[1],[],null],[[0,9,"?"]]]'),
    "no such lines": ("refs", '[["gone",0,1]]'),
    "writes of another program": ("writes", '{"task":{"0":["list"]}}'),
    "writes of a newer version": ("writes", '{"task":{"0":["list",{"new":1}]}}'),
    "metadata of another program": ("metadata", "x"),
}


@pytest.mark.parametrize("name", FOREIGN)
async def test_foreign_rows(database: SqliteDatabase, name: str) -> None:
    """LG-9: A row of another program is an error that names the checkpoint. The row stays, and other rows are readable."""
    saver = D1Saver(database)
    await _put(saver, 0, {"list": ["1", "2" * 99]})
    await _put(saver, 1, {"list": ["1", "2" * 99, "3"]})
    column, text = FOREIGN[name]
    updates = {
        "body": Statement("UPDATE __agents_graph_checkpoints SET body = ?1 WHERE checkpoint_id = ?2", (text, IDS[1])),
        "refs": Statement("UPDATE __agents_graph_checkpoints SET refs = ?1 WHERE checkpoint_id = ?2", (text, IDS[1])),
        "writes": Statement(
            "UPDATE __agents_graph_checkpoints SET writes = ?1 WHERE checkpoint_id = ?2", (text, IDS[1])
        ),
        "metadata": Statement(
            "UPDATE __agents_graph_checkpoints SET metadata = ?1 WHERE checkpoint_id = ?2", (text, IDS[1])
        ),
    }
    await database.batch([updates[column]])
    before = await database.batch(ROWS)
    for reader in (saver, D1Saver(database)):
        with pytest.raises(ForeignValueError, match=IDS[1]):
            await reader.aget_tuple(config_of("t"))
        with pytest.raises(ForeignValueError):
            [each async for each in reader.alist(config_of("t"))]
        assert await reader.aget_tuple(_config(0)) is not None
    assert await database.batch(ROWS) == before


async def test_lines_that_somebody_deleted(database: SqliteDatabase) -> None:
    """LG-9: Deleted lines give an error that names them. A saver that still has the values stores them again."""
    saver = D1Saver(database)
    values = {"list": ["1" * 99, "2" * 99], "text": "t" * 99}
    await _put(saver, 0, values)
    await database.batch([Statement("DELETE FROM __agents_graph_lines")])
    with pytest.raises(ForeignValueError, match="lacks lines"):
        await D1Saver(database).aget_tuple(config_of("t"))
    await _put(saver, 1, {"list": [*values["list"], "3"], "text": values["text"]})
    found = await D1Saver(database).aget_tuple(config_of("t"))
    assert found is not None
    assert found.checkpoint["channel_values"] == {"list": [*values["list"], "3"], "text": values["text"]}


async def test_without_tables() -> None:
    """LG-9: Without tables the error says how to make them, and `setup` makes them."""
    saver = D1Saver(SqliteDatabase())
    with pytest.raises(D1StateError, match="run_migration"):
        await _put(saver, 0, {"list": ["1"]})
    with pytest.raises(D1StateError, match="run_migration"):
        await saver.aget_tuple(config_of("t"))
    await saver.setup()
    await turn(saver, "t", "hello")
    assert await texts(saver, "t") == ["hello", "answer 1", "review 2"]


async def test_a_newer_schema(database: SqliteDatabase) -> None:
    """LG-9: `setup` refuses a database of a newer version, and nothing is lost."""
    saver = D1Saver(database)
    await turn(saver, "t", "hello")
    await database.batch([Statement("INSERT INTO __agents_schema (version, name) VALUES (99, 'x')")])
    with pytest.raises(MigrationError, match="newer"):
        await saver.setup()
    assert len(await texts(saver, "t")) == 3


async def test_bad_arguments(database: SqliteDatabase) -> None:
    """LG-9: A config without a thread, bad ids and an unknown strategy are refused before anything is sent."""
    saver = D1Saver(database)
    database.batches = 0
    nothing: Any = {"configurable": {}}
    with pytest.raises(InvalidArgumentError, match="thread_id"):
        await saver.aget_tuple(nothing)
    with pytest.raises(InvalidArgumentError, match="checkpoint_id"):
        await saver.aput_writes(config_of("t"), [("list", [1])], "task")
    with pytest.raises(InvalidArgumentError, match="strategy"):
        await saver.aprune(["t"], strategy="keep")
    with pytest.raises(InvalidArgumentError):
        await saver.adelete_thread("")
    with pytest.raises(TypeError, match="head_check"):
        D1Saver(database, head_check=1)  # type: ignore[arg-type]
    assert database.batches == 0


async def test_a_deleted_session_takes_its_thread_along(database: SqliteDatabase) -> None:
    """LG-10: `delete_session` deletes the checkpoints of its id, also without a session. Other checkpoints stay."""
    store, saver = D1StateStore(database), D1Saver(database)
    await store.create_session("with", agent_type="x")
    for thread in ("with", "without", "other"):
        await turn(saver, thread, "hello")
    assert await store.delete_session("with")
    assert not await store.delete_session("without")
    for thread, count in (("with", 0), ("without", 0), ("other", 3)):
        assert len(await texts(D1Saver(database), thread)) == count
    [[rows], [lines]] = await database.batch(
        [
            Statement("SELECT count(DISTINCT session_id) FROM __agents_graph_checkpoints"),
            Statement("SELECT count(DISTINCT session_id) FROM __agents_graph_lines"),
        ]
    )
    assert (rows, lines) == ([1], [1])


async def test_an_expired_session_takes_its_thread_along(database: SqliteDatabase) -> None:
    """LG-10: `cleanup_expired_sessions` deletes the checkpoints of expired sessions."""
    store, saver = D1StateStore(database), D1Saver(database)
    state = await store.create_session("old", agent_type="x")
    state.expires_at = 1
    await store.save(state)
    await turn(saver, "old", "hello")
    await turn(saver, "young", "hello")
    assert await store.cleanup_expired_sessions() == ["old"]
    assert await texts(D1Saver(database), "old") == []
    assert len(await texts(D1Saver(database), "young")) == 3


async def test_a_copied_session_has_its_thread(database: SqliteDatabase) -> None:
    """LG-10: `export_session` and `import_session` copy the checkpoints of the session's id."""
    from agents_store_cloudflare.transfer import export_session, import_session

    await D1StateStore(database).create_session("s", agent_type="x")
    await turn(D1Saver(database), "s", "hello")
    copy = json.loads(json.dumps(await export_session(database, "s")))
    target = SqliteDatabase()
    await run_migration(target)
    await import_session(target, copy)
    assert await texts(D1Saver(target), "s") == ["hello", "answer 1", "review 2"]
    assert len(await turn(D1Saver(target), "s", "more")) == 6
