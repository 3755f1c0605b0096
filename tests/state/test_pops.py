"""Ten thousand pops and appends at once, some with lost replies; and one database that two threads share."""

import asyncio
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agents_store_cloudflare.database import Row, SqlError, Statement, retry
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.testing.faults import LOST

CALLS = 10_000
AT_ONCE = 25
"""Of one session: it remembers the last 32 writes, and a retry comes after the others of its group."""
THREADS, CALLS_EACH = 4, 150


class LosingReplies(SqliteDatabase):
    """Every tenth write happens, but its reply is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.choice: random.Random | None = None

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        rows = await super().batch(statements)
        if self.choice is not None and self.choice.random() < 0.1:
            raise SqlError(LOST)
        return rows


async def test_ten_thousand_pops_and_appends(monkeypatch: pytest.MonkeyPatch) -> None:
    """ST-48, ST-49, ST-29: No message is lost or returned twice, and each call is one batch, whatever replies are lost."""

    async def no_pause(attempt: int) -> None:
        assert attempt < retry.ATTEMPTS

    monkeypatch.setattr(retry, "pause_before_retry", no_pause)
    database, choice = LosingReplies(), random.Random(1)
    await run_migration(database)
    stores = [D1StateStore(database) for _ in range(4)]
    popped: list[Any] = []
    appended: list[int] = []

    async def append(store: D1StateStore, first: int) -> None:
        items = [{"item": first + index} for index in range(choice.randint(1, 3))]
        appended.extend(item["item"] for item in items)
        await store.append_messages("s", items, create="x")

    async def pop(store: D1StateStore) -> None:
        popped.extend(await store.pop_messages("s", choice.randint(1, 3)))

    database.choice = random.Random(2)
    await append(stores[0], 0)
    for begin in range(10, 10 + 10 * CALLS, 10 * AT_ONCE):
        calls = [
            append(choice.choice(stores), number) if choice.random() < 0.5 else pop(choice.choice(stores))
            for number in range(begin, begin + 10 * AT_ONCE, 10)
        ]
        await asyncio.gather(*calls)
    database.choice = None
    left: list[Any] = (await stores[0].load_state("s", required=True)).messages
    taken = [message["item"] for message in popped]
    assert len(taken) > CALLS / 4
    assert sorted([*taken, *(message["item"] for message in left)]) == sorted(appended)


async def test_a_call_is_one_batch() -> None:
    """ST-48, ST-49: An append that may create the session and a pop are one batch each, with and without the session."""
    database = SqliteDatabase()
    await run_migration(database)
    store = D1StateStore(database)
    for _ in range(2):
        database.batches = 0
        await store.append_messages("s", [{}, {}], create="x")
        assert database.batches == 1
        await store.pop_messages("s")
        assert database.batches == 2


def test_two_threads_share_a_database() -> None:
    """ST-29: Batches from threads with their own loops run one after the other, never inside another transaction."""
    database = SqliteDatabase()
    asyncio.run(run_migration(database))
    asyncio.run(D1StateStore(database).create_session("s", agent_type="x"))

    async def appends(name: int) -> None:
        store = D1StateStore(database)
        for number in range(CALLS_EACH):
            await store.append_messages("s", [{"thread": name, "number": number}])

    with ThreadPoolExecutor(THREADS) as threads:
        for ended in [threads.submit(asyncio.run, appends(name)) for name in range(THREADS)]:
            ended.result()
    messages: list[Any] = asyncio.run(D1StateStore(database).load_state("s", required=True)).messages
    for name in range(THREADS):
        own = [message["number"] for message in messages if message["thread"] == name]
        assert own == list(range(CALLS_EACH))
