"""What turns of a graph cost: round trips, rows and bytes, on sqlite; the Worker's own count is in tests/costs."""

import random
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from agents_store_cloudflare.adapters.langgraph import D1Saver
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.testing import SqliteDatabase
from tests.adapters.langgraph.graphs import chat, config_of

TURNS = 200
CHOICE = random.Random(1)
WORDS = ["".join(CHOICE.choice("abcdefghiklmnoprstuvw") for _ in range(CHOICE.randint(2, 9))) for _ in range(3_000)]
SIZES = [
    Statement("SELECT * FROM __agents_graph_checkpoints"),
    Statement("SELECT * FROM __agents_graph_lines"),
]


def _text(words: int = 60) -> str:
    return " ".join(CHOICE.choice(WORDS) for _ in range(words))


async def _answer(state: Any) -> dict[str, Any]:
    return {"messages": [AIMessage(_text())]}


async def _changes(database: SqliteDatabase) -> int:
    [[[changes]]] = await database.batch([Statement("SELECT total_changes()")])
    assert isinstance(changes, int)
    return changes


async def _turn(database: SqliteDatabase, saver: D1Saver, durability: str = "async") -> tuple[int, int, Any]:
    """Run one turn. Return its batches, the rows that it wrote, and the state."""
    before = await _changes(database)
    database.batches = 0
    question = {"messages": [{"role": "user", "content": _text()}]}
    state = await chat(saver, _answer, _answer).ainvoke(question, config_of("t" * 36), durability=durability)
    batches = database.batches
    return batches, await _changes(database) - before, state


@pytest.mark.parametrize("fresh", [False, True], ids=["one saver", "a saver a turn"])
@pytest.mark.parametrize(("durability", "batches", "rows"), [("async", 5, 10), ("sync", 5, 10), ("exit", 2, 2)])
async def test_a_turn_of_two_nodes(
    database: SqliteDatabase, durability: str, batches: int, rows: int, fresh: bool
) -> None:
    """LG-15: A turn is 5 batches and 10 rows, or 2 and 2 with durability "exit". The first turns also store the channels' names."""
    saver = D1Saver(database)
    for _ in range(3):
        await _turn(database, saver, durability)
    spent = await _turn(database, D1Saver(database) if fresh else saver, durability)
    assert spent[:2] == (batches, rows)


async def test_bytes_of_two_hundred_turns(database: SqliteDatabase) -> None:
    """LG-15: 200 turns take at most twice the bytes of their messages, keys included."""
    saver = D1Saver(database)
    state: Any = None
    for _ in range(TURNS):
        _, _, state = await _turn(database, saver)
    raw = sum(len(message.model_dump_json().encode()) for message in state["messages"])
    tables = await database.batch(SIZES)
    stored = sum(len(str(value).encode()) for rows in tables for row in rows for value in row if value is not None)
    assert len(state["messages"]) == 3 * TURNS
    assert stored <= 2.0 * raw, stored / raw
    assert stored >= 1.5 * raw, "cheaper than stated: say so"


async def test_reads(database: SqliteDatabase) -> None:
    """LG-15: A checkpoint is read in one batch, and 100 of a history in one."""
    saver = D1Saver(database)
    for _ in range(60):
        await _turn(database, saver)
    database.batches = 0
    assert await D1Saver(database).aget_tuple(config_of("t" * 36)) is not None
    assert database.batches == 1
    count = 0
    async for _ in D1Saver(database).alist(config_of("t" * 36, checkpoint_ns=""), limit=100):
        count += 1
    assert (count, database.batches) == (100, 2)


async def test_new_elements_alone_are_encoded(database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """LG-3: When a list of any length is put again, only its new elements are encoded."""
    from agents_store_cloudflare.adapters.langgraph import typed_json

    saver, encoded = D1Saver(database), list[Any]()
    dump = typed_json.TypedJsonSerializer.dump

    def counted(self: typed_json.TypedJsonSerializer, value: Any) -> str:
        encoded.append(value)
        return dump(self, value)

    for _ in range(50):
        await _turn(database, saver)
    monkeypatch.setattr(typed_json.TypedJsonSerializer, "dump", counted)
    await _turn(database, saver)
    assert len(encoded) < 40
