"""`D1SpendStore`: budgets that all Workers share."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from agents_store_cloudflare.adapters.pydantic_ai_harness import D1SpendStore, ForeignValueError
from agents_store_cloudflare.contract.errors import InvalidArgumentError, StaleFencingTokenError, StateSizeExceededError
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import FakeClock, FaultyDatabase, SqliteDatabase
from tests.adapters.pydantic_ai_harness.harness_types import SpendEntry, Spent
from tests.adapters.two_writers import THREAD, TwoWriters
from tests.homes.worlds import HomeWorld

HOUR = timedelta(hours=1)


def store_of(database: Any, **options: Any) -> D1SpendStore[Spent]:
    return D1SpendStore(THREAD, database, spent=Spent, **options)


def response(token: str | None = None, usd: str = "0.25") -> list[SpendEntry]:
    """Return what one response adds to a window of a day and to one of a month."""
    return [
        SpendEntry(key=key, usd=Decimal(usd), tokens=10, requests=1, token=token, ttl=ttl)
        for key, ttl in (("day", 24 * HOUR), ("month", None))
    ]


class TestTwoWriters(TwoWriters):
    """HS-2, HS-3: the holder whose lock was lost is refused by name. Without a lock both amounts count."""

    too_large = StateSizeExceededError

    def writer(self, database: Any, **token: Any) -> D1SpendStore[Spent]:
        """Return a store of its own."""
        return store_of(database, **token)

    async def load(self, writer: D1SpendStore[Spent]) -> Any:
        """Return the counters."""
        return await writer.get_many(["day"])

    async def write(self, writer: D1SpendStore[Spent], loaded: Any, text: str) -> None:
        """Count one response in the window of this name."""
        await writer.add_many([SpendEntry(key=text, requests=1)])

    async def texts(self, database: Any) -> list[str]:
        """Return the windows that counted a response, once."""
        state = await D1StateStore(database).load_state(THREAD)
        windows: dict[str, Any] = {} if state is None else state.custom_state.get("windows", {})
        assert all(window[2] == 1 for window in windows.values())
        return list(windows)


async def test_all_windows_of_a_response(database: SqliteDatabase) -> None:
    """HS-1: A response counts in all of its windows, exactly, and the totals come back."""
    store = store_of(database)
    assert await store.get_many(["day"]) == {"day": Spent()}
    assert await store.add_many([]) == {}
    await store.add_many(response(usd="0.1"))
    told = await store.add_many(response(usd="0.2"))
    assert told == {key: Spent(usd=Decimal("0.3"), tokens=20, requests=2) for key in ("day", "month")}
    assert await store_of(database).get_many(["month", "year"]) == {"month": told["month"], "year": Spent()}
    correction = SpendEntry(key="day", usd=Decimal("-0.3"), unpriced=1)
    assert (await store.add_many([correction, correction]))["day"] == Spent(
        usd=Decimal("-0.3"), tokens=20, requests=2, unpriced_requests=2
    )


async def test_a_token_counts_once(database: SqliteDatabase) -> None:
    """HS-2: A response that comes again under its token changes nothing, in any Worker, for an hour."""
    clock = FakeClock()
    first, second = (store_of(database, now_ms=clock.now_ms) for _ in range(2))
    told = await first.add_many([*response("r1"), *response("r1")])
    assert told["day"].requests == 1
    assert await second.add_many(response("r1")) == await first.add_many(response("r1")) == told
    assert (await second.add_many([SpendEntry(key="week", requests=1, token="r1")]))["week"].requests == 1
    await clock.advance(3_600)
    assert (await first.add_many(response("r1")))["month"].requests == 2
    forgetful = store_of(database, remember=None)
    assert (await forgetful.add_many(response("r2")))["month"].requests == 3
    assert (await forgetful.add_many(response("r2")))["month"].requests == 4


async def test_a_window_ends(database: SqliteDatabase) -> None:
    """HS-1: A window counts until its time to live after its last write. Then its row goes with the next write."""
    clock = FakeClock()
    store = store_of(database, now_ms=clock.now_ms)
    await store.add_many([SpendEntry(key="day", requests=1, ttl=HOUR, token="r1"), SpendEntry(key="all", requests=1)])
    await clock.advance(3_600)
    assert await store.get_many(["day", "all"]) == {"day": Spent(), "all": Spent(requests=1)}
    await store.add_many([SpendEntry(key="all", requests=1)])
    state = await D1StateStore(database).load_state(THREAD, required=True)
    assert list(state.custom_state["windows"]) == ["all"]
    assert state.custom_state["applied"] == {}


async def test_many_workers_at_once(database: SqliteDatabase) -> None:
    """HS-2, HS-3: Of twenty responses, each sent by two of eight Workers at once, each counts once, in all of its windows."""
    stores = [store_of(database) for _ in range(8)]
    await asyncio.gather(*(stores[n % 8].add_many(response(f"r{n // 2}")) for n in range(40)))
    told = await store_of(database).get_many(["day", "month"])
    assert told == {key: Spent(usd=Decimal(5), tokens=200, requests=20) for key in ("day", "month")}


async def test_what_it_costs(database: SqliteDatabase) -> None:
    """HS-1: A store that has counted before counts in one batch, and reads in one."""
    store = store_of(database)
    await store.add_many(response())
    before = database.batches
    await store.add_many(response())
    assert database.batches == before + 1
    await store.get_many(["day", "month"])
    assert database.batches == before + 2


async def test_a_failed_write_counts_nothing(database: SqliteDatabase) -> None:
    """HS-2: After an error nothing has counted, and the next write counts."""
    faulty = FaultyDatabase(database)
    store = store_of(faulty)
    await store.add_many(response("r1"))
    faulty.fail("before", message="internal error; reference = x")
    with pytest.raises(Exception, match="internal error"):
        await store.add_many(response("r2"))
    assert (await store.add_many(response("r3")))["day"].requests == 2


@pytest.mark.parametrize(
    "damage", [{"windows": {"day": ["x", 1, 1, 1, None]}}, {"windows": {"day": 1}}, {"applied": 3}]
)
async def test_foreign_counters(database: SqliteDatabase, damage: Any) -> None:
    """HS-4: Counters of another program are an error that names their session. They stay."""
    await D1StateStore(database).create_session(THREAD, agent_type="x", initial_state=damage)
    with pytest.raises(ForeignValueError, match=f"{THREAD}.*another program"):
        await store_of(database).add_many(response())
    assert (await D1StateStore(database).load_state(THREAD, required=True)).custom_state == damage


async def test_bad_input(database: SqliteDatabase) -> None:
    """HS-4: Bad input gives a clear error, and nothing is counted."""
    store: Any = store_of(database)
    for entry, error, words in [
        (SpendEntry(key="day", usd=Decimal("NaN")), ForeignValueError, "finite"),
        (SpendEntry(key="day", usd=0.5), ForeignValueError, "Decimal"),  # type: ignore[arg-type]
        (SpendEntry(key="day", tokens=True), InvalidArgumentError, "tokens"),
        (SpendEntry(key=5), TypeError, "key"),  # type: ignore[arg-type]
    ]:
        with pytest.raises(error, match=words):
            await store.add_many([*response(), entry])
    assert await store.get_many(["day"]) == {"day": Spent()}


async def test_over_homes() -> None:
    """HS-5: Over homes the counters live in the home of their session, behind its fence."""
    store = await HomeWorld().store()
    await store_of(store.session_homes, fencing_token=4).add_many(response("r1"))
    with pytest.raises(StaleFencingTokenError):
        await store_of(store.session_homes, fencing_token=3).add_many(response("r2"))
    assert (await store_of(store.session_homes).add_many(response("r1")))["day"].requests == 1
    await store.delete_session(THREAD)
    assert await store_of(store.session_homes).get_many(["day"]) == {"day": Spent()}
