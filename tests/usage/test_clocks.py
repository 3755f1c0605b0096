"""Workers whose clocks are wrong: the database's clock decides over reservations and sessions of others."""

from datetime import timedelta

import pytest

from agents_store_cloudflare import (
    D1StateStore,
    D1UsageStore,
    StateStoreOptions,
    UsageOptions,
    create_cloudflare_store,
    run_migration,
)
from agents_store_cloudflare.database import retry
from agents_store_cloudflare.testing import FakeClock, FaultyDatabase, SqliteDatabase
from agents_store_cloudflare.testing.faults import Moment
from tests.homes.worlds import HomeWorld

HOUR_MS = 3_600_000
WRONG = pytest.mark.parametrize("wrong_ms", [HOUR_MS, -HOUR_MS], ids=["an hour ahead", "an hour behind"])


@pytest.fixture
async def others(database: FaultyDatabase, clock: FakeClock) -> D1UsageStore:
    """A Worker whose clock is right."""
    store = D1UsageStore(database, now_ms=clock.now_ms)
    await store.set_budget("tenant", 100, "tokens")
    return store


@pytest.fixture
def slow_retries(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 20 seconds pass before each retry."""

    async def pause(_: int) -> None:
        await clock.advance(20)

    monkeypatch.setattr(retry, "pause_before_retry", pause)


def _usage(database: FaultyDatabase, clock: FakeClock, wrong_ms: int) -> D1UsageStore:
    return D1UsageStore(database, now_ms=lambda: clock.now_ms() + wrong_ms)


async def _reserved(store: D1UsageStore) -> int:
    budget = await store.get_budget("tenant")
    assert budget is not None
    return budget.reserved


@WRONG
async def test_a_wrong_clock_takes_nothing_from_others(
    others: D1UsageStore, database: FaultyDatabase, clock: FakeClock, wrong_ms: int
) -> None:
    """US-17, US-20: A Worker with a wrong clock sees a live reservation of another one as live, and an expired one as expired."""
    wrong = _usage(database, clock, wrong_ms)
    held = await others.reserve("tenant", 60, ttl=30)
    assert held is not None
    assert await wrong.reserve("tenant", 60) is None
    assert await _reserved(wrong) == 60
    await clock.advance(31)
    assert await _reserved(wrong) == 0
    assert await wrong.reserve("tenant", 60) is not None


@WRONG
async def test_a_reservation_of_a_wrong_clock_lasts_its_time(
    others: D1UsageStore, database: FaultyDatabase, clock: FakeClock, wrong_ms: int
) -> None:
    """US-17, US-20: A reservation lasts its ttl by the database's clock, whatever the clock of its Worker shows."""
    held = await _usage(database, clock, wrong_ms).reserve("tenant", 60, ttl=30)
    assert held is not None
    assert held.expires_at == clock.now_ms() + 30_000
    await clock.advance(29)
    assert await others.reserve("tenant", 60) is None
    await clock.advance(2)
    assert await others.reserve("tenant", 60) is not None


@pytest.mark.usefixtures("slow_retries")
@pytest.mark.parametrize("moment", ["before", "after"])
@WRONG
async def test_a_wrong_clock_and_a_lost_reply(
    others: D1UsageStore,
    database: FaultyDatabase,
    clock: FakeClock,
    wrong_ms: int,
    moment: Moment,
) -> None:
    """US-12, US-17: A Worker with a wrong clock reserves once, and the clock may go on between the attempts."""
    database.fail(moment)
    held = await others.reserve("tenant", 30, ttl=600)
    database.leave_alone(1)  # the answer that the clock is wrong
    database.fail(moment)
    wrong = await _usage(database, clock, wrong_ms).reserve("tenant", 30, ttl=600)
    assert held is not None
    assert wrong is not None
    assert await _reserved(others) == 60
    assert await others.release(wrong)
    assert await _reserved(others) == 30


@WRONG
async def test_a_release_with_a_wrong_clock(
    others: D1UsageStore, database: FaultyDatabase, clock: FakeClock, wrong_ms: int
) -> None:
    """US-20: A repeated release gives its first answer, and the release of an expired reservation gives False."""
    wrong = _usage(database, clock, wrong_ms)
    held, expired = await others.reserve("tenant", 1, ttl=30), await others.reserve("tenant", 1, ttl=5)
    assert held is not None
    assert expired is not None
    assert [await wrong.release(held), await wrong.release(held)] == [True, True]
    await clock.advance(6)
    assert await others.reserve("tenant", 1) is not None  # gives the expired one back
    assert not await wrong.release(expired)


@pytest.mark.parametrize("homes", [False, True], ids=["D1", "homes"])
@WRONG
async def test_a_turn_with_a_wrong_clock(clock: FakeClock, wrong_ms: int, *, homes: bool) -> None:
    """US-17, US-20, TU-3: The reservation of a turn lasts as long as the turn may, and is settled at its end."""
    world = HomeWorld(clock=clock, database=SqliteDatabase(now_ms=clock.now_ms))
    await run_migration(world.database)
    others = D1UsageStore(world.database, now_ms=clock.now_ms)
    await others.set_budget("tenant", 100, "tokens")

    def now_ms() -> int:
        return clock.now_ms() + wrong_ms

    store = create_cloudflare_store(
        db=world.database,
        streams=world.streams,
        locks=world.locks,
        sessions=world.sessions if homes else None,
        state_options=StateStoreOptions(now_ms=now_ms),
        usage_options=UsageOptions(now_ms=now_ms),
    )
    hold = timedelta(minutes=20)
    async with store.turn("s", agent_type="a", budget=("tenant", 60), max_hold=hold, auto_refresh=False) as turn:
        turn.record_tokens(model="m", prompt=7)
        assert await others.reserve("tenant", 60) is None
    await world.pass_time(5)  # a home sends the settlement
    budget = await others.get_budget("tenant")
    assert budget is not None
    assert (budget.reserved, budget.settled) == (0, 7)


@WRONG
async def test_a_wrong_clock_deletes_no_living_session(clock: FakeClock, wrong_ms: int) -> None:
    """ST-23: Sessions expire by the database's clock, unless the caller names the time."""
    database = SqliteDatabase(now_ms=clock.now_ms)
    await run_migration(database)
    store = D1StateStore(database, now_ms=lambda: clock.now_ms() + wrong_ms)
    for name, seconds in (("early", -60), ("late", 60)):
        state = await store.create_session(name, agent_type="a")
        state.expires_at = clock.now_ms() + seconds * 1000
        await store.save(state)
    assert await store.cleanup_expired_sessions() == ["early"]
    assert await store.cleanup_expired_sessions(clock.now_ms() + 60_000) == ["late"]


async def test_a_wrong_clock_deletes_nothing_young(clock: FakeClock) -> None:
    """US-8, US-17, ST-34: Deletions by age count the age by the database's clock, not by the clock of a Worker that is an hour ahead."""
    database = SqliteDatabase(now_ms=clock.now_ms)
    await run_migration(database)
    usage, states = D1UsageStore(database, now_ms=clock.now_ms), D1StateStore(database, now_ms=clock.now_ms)
    await usage.set_budget("tenant", 100, "tokens")
    await usage.record_custom("s", name="n", value=1)
    reservation = await usage.reserve("tenant", 1, ttl=30)
    assert reservation is not None
    await usage.settle(reservation, 1)
    for count in range(2):
        state = (
            await states.create_session("s", agent_type="a")
            if not count
            else await states.load_state("s", required=True)
        )
        await states.save_checkpoint("s", state)

    def ahead() -> int:
        return clock.now_ms() + HOUR_MS

    wrong, wrong_states = D1UsageStore(database, now_ms=ahead), D1StateStore(database, now_ms=ahead)

    async def deleted() -> list[int]:
        return [
            await wrong_states.prune_checkpoints("s", older_than=1_800),
            await wrong.delete_old_entries(1_800),
            await wrong.delete_old_settlements(1_800),
        ]

    assert await deleted() == [0, 0, 0]
    await clock.advance(1_801)
    assert await deleted() == [1, 1, 1]
