"""The lock and the stream that bear a home's name: the suites of streams and locks over them, and where they are."""

import pytest

from agents_store_cloudflare import InvalidArgumentError, StaleFencingTokenError
from agents_store_cloudflare.durable_streams import StreamObject
from agents_store_cloudflare.homes.places import HomeParts, Places
from agents_store_cloudflare.homes.session_object import SessionObject
from agents_store_cloudflare.locks import LockObject, LockOptions
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.testing import FakeClock, LocalObjects
from agents_store_cloudflare.testing.conformance.locks import LockConformance
from agents_store_cloudflare.testing.conformance.stream_life import StreamLifeConformance
from agents_store_cloudflare.testing.conformance.stream_readers import StreamReaderConformance
from agents_store_cloudflare.testing.conformance.stream_repeats import StreamRepeatConformance
from agents_store_cloudflare.testing.conformance.streams import StreamConformance
from tests.homes.worlds import HomeWorld


class InHomes:
    """The objects under test: homes, and nothing elsewhere."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def stream_namespace(self, clock: FakeClock) -> HomeParts:
        return in_homes(clock)

    @pytest.fixture
    def lock_namespace(self, clock: FakeClock) -> HomeParts:
        return in_homes(clock, "lock")

    @pytest.fixture
    def stream_options(self, clock: FakeClock) -> StreamOptions:
        return StreamOptions(now_ms=clock.now_ms, sleep=clock.sleep)

    @pytest.fixture
    def lock_options(self, clock: FakeClock) -> LockOptions:
        return LockOptions(now_s=lambda: clock.now_ms() / 1000, sleep=clock.sleep)


def in_homes(clock: FakeClock, kind: str = "stream") -> HomeParts:
    """Return the streams, or the locks, of homes. Shards of locks have objects of their own."""
    streams, locks = LocalObjects(StreamObject, clock=clock), LocalObjects(LockObject, clock=clock)
    sessions = LocalObjects(SessionObject, clock=clock)
    return HomeParts(
        Places(sessions, streams, locks, in_homes=True, asks=False), streams if kind == "stream" else locks
    )


class TestStreams(InHomes, StreamConformance): ...


class TestStreamLife(InHomes, StreamLifeConformance): ...


class TestStreamRepeats(InHomes, StreamRepeatConformance): ...


class TestStreamReaders(InHomes, StreamReaderConformance): ...


class TestLocks(InHomes, LockConformance): ...


@pytest.fixture
def world() -> HomeWorld:
    return HomeWorld()


async def test_a_turn_is_in_one_object(world: HomeWorld) -> None:
    """HM-3: A home has its state, lock and stream in one object. The separate objects are asked once and stay empty."""
    store = await world.store()
    for _ in range(2):
        async with store.turn("ada", agent_type="x") as turn:
            await turn.write({"type": "text"})
    assert (world.streams.calls, world.locks.calls) == (1, 1)
    info = await store.stream_manager.get_info("ada")
    assert info is not None
    assert info.last_sequence == 4
    again = await world.store()
    async with again.turn("ada", agent_type="x"):
        pass
    assert (world.streams.calls, world.locks.calls) == (1, 1)


async def test_a_child_has_objects_of_its_own(world: HomeWorld) -> None:
    """HM-3: A child's stream and lock have objects of their own, because a home does not answer for its whole tree."""
    store = await world.store()
    await store.state_store.create_session("ada", agent_type="x")
    async with store.turn("ada//child", agent_type="x", parent_session_id="ada") as turn:
        await turn.write({"type": "text"})
    assert world.streams.calls > 0
    assert world.locks.calls > 0
    assert world.sql("ada").exec("SELECT name FROM sqlite_master WHERE name = 'blocks'") == []


@pytest.mark.parametrize("first", ["stream", "lock"])
async def test_what_was_there_before(world: HomeWorld, first: str) -> None:
    """HM-3: A stream or held lease from before the homes stays in its place, for every store and for good."""
    before = await world.store(home_streams=False)
    lock = await before.locks.acquire("ada", ttl=60) if first == "lock" else None
    async with before.stream_manager.create_writer("ada" if first == "stream" else "bob", "a", "x") as writer:
        await writer.write({"type": "text", "n": 1})
    store = await world.store()
    if lock is not None:
        assert await store.locks.acquire("ada") is None
        await lock.release()
    await store.state_store.create_session("ada", agent_type="x")
    async with (await world.store()).turn("ada", agent_type="x", wait=1) as turn:
        await turn.write({"type": "text", "n": 2})
    assert world.sql("ada").exec("SELECT name FROM sqlite_master WHERE name = 'blocks'") == []
    info = await before.stream_manager.get_info("ada")
    assert info is not None
    assert info.last_sequence == (3 if first == "stream" else 2)


async def test_apart_for_good(world: HomeWorld) -> None:
    """HM-3: The choice of a home's first Worker holds for Workers with the other option too, in both directions."""
    apart, here = await world.store(home_streams=False), await world.store()
    await apart.state_store.create_session("ada", agent_type="x")
    await here.state_store.create_session("bob", agent_type="x")
    for first, second in ((apart, here), (here, apart)):
        home = "ada" if first is apart else "bob"
        lock = await first.locks.acquire(home, ttl=60)
        assert lock is not None
        assert await second.locks.acquire(home) is None
        async with first.stream_manager.create_writer(home, "a", "x", fencing_token=lock) as writer:
            await writer.write({"type": "text"})
        with pytest.raises(StaleFencingTokenError):
            async with second.stream_manager.create_writer(home, "a", "x", fencing_token=1) as writer:
                await writer.write({"type": "text"})
    assert world.sql("ada").exec("SELECT name FROM sqlite_master WHERE name = 'blocks'") == []


async def test_a_name_of_another_home(world: HomeWorld) -> None:
    """HM-3: A home refuses calls for a stream with another name."""
    await (await world.store()).state_store.create_session("ada", agent_type="x")
    reply = await world.sessions.call("ada", '{"op":"info","streamId":"bob"}')
    assert InvalidArgumentError.code in reply


async def test_one_alarm(world: HomeWorld) -> None:
    """HM-7: The stream's retention does not delay the home's changes to D1, also after the object has slept."""
    store = await world.store()
    await store.state_store.create_session("ada", agent_type="x")
    world.sessions.restart()
    async with store.stream_manager.create_writer("ada", "a", "x") as writer:
        await writer.write({"type": "text"})
    await world.pass_time(2)
    assert len((await store.state_store.list_sessions()).items) == 1
    await store.stream_manager.end_stream("ada")
    await store.state_store.update_status("ada", "completed")
    await world.pass_time(86_400 + 60)
    assert await store.stream_manager.get_info("ada") is None
    assert [state.status for state in (await store.state_store.list_sessions()).items] == ["completed"]


async def test_so_many_names_are_remembered(world: HomeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """HM-3: Names beyond the limit are forgotten and asked for again, with the same answers."""
    monkeypatch.setattr(f"{Places.__module__}.MOST_NAMES", 3)
    names = [f"ada{number}" for number in range(5)]
    apart, here = await world.store(home_streams=False), await world.store()
    for name in names:
        await apart.state_store.create_session(name, agent_type="x")
    clock = FakeClock()
    places = Places(world.sessions, LocalObjects(StreamObject, clock=clock), None, in_homes=True, asks=True)
    for _ in range(2):
        assert [await places.is_here(name) for name in names] == [False] * 5
        assert sum(not places.may_be_home(name) for name in names) <= 3
    for name in names:
        lock = await here.locks.acquire(name)
        assert lock is not None
        assert await apart.locks.acquire(name) is None
