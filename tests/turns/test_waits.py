"""How often a turn waits for the network, one wait after the other. That number, times the latency, is what a user feels."""

from collections.abc import Awaitable, Callable

import pytest

from agents_store_cloudflare import CloudflareStore, StagedChange, create_cloudflare_store
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.testing import LocalObjects
from tests.turns.network import FarDatabase, FarObjects, Network


@pytest.fixture
async def network() -> Network:
    return Network()


@pytest.fixture
async def store(network: Network) -> CloudflareStore:
    store = create_cloudflare_store(
        db=FarDatabase(network),
        streams=FarObjects(network, LocalObjects(StreamObject)),
        locks=FarObjects(network, LocalObjects(LockObject)),
    )

    async def prepare() -> None:
        await store.migrate()
        await store.usage_store.set_budget("tenant", 1_000, "tokens")
        await _turn(store)

    await network.run(prepare())
    return store


async def _turn(store: CloudflareStore) -> None:
    async with store.turn("ada", agent_type="t", messages=[{"role": "user", "content": "?"}]) as turn:
        await turn.write({"type": "text", "text": "hello"})
        turn.add({"role": "assistant", "content": "hello"})
        turn.record_tokens(model="m", prompt=1, completion=1)


async def _silent(store: CloudflareStore) -> None:
    async with store.turn("quiet", agent_type="t", stream=False) as turn:
        turn.add({"role": "assistant", "content": "hello"})


async def _silent_after_a_streamed_one(store: CloudflareStore) -> None:
    async with store.turn("ada", agent_type="t", stream=False) as turn:
        turn.add({"role": "assistant", "content": "hello"})


async def _in_the_background(store: CloudflareStore) -> None:
    async with store.turn("ada", agent_type="t", wait_until=lambda task: None) as turn:
        await turn.write({"type": "text", "text": "hello"})


async def _budgeted(store: CloudflareStore) -> None:
    async with store.turn("ada", agent_type="t", budget=("tenant", 10)) as turn:
        await turn.write({"type": "text", "text": "hello"})
        turn.record_tokens(model="m", prompt=1, completion=1)


async def _staged(store: CloudflareStore) -> None:
    async with store.turn("ada", agent_type="t", step_id="step") as turn:
        await turn.write({"type": "text", "text": "hello"})


async def _commits_twice(store: CloudflareStore) -> None:
    async with store.turn("ada", agent_type="t") as turn:
        turn.add({"role": "assistant", "content": "one"})
        await turn.commit()
        turn.add({"role": "assistant", "content": "two"})


@pytest.mark.parametrize(
    ("turn", "waits"),
    [
        (_turn, 5),  # lock, enter, the last flush, commit, release and closing chunk
        (_silent, 4),  # no flush
        (_silent_after_a_streamed_one, 5),  # asks the stream whether it has the last turn's closing chunk
        (_in_the_background, 5),
        (_budgeted, 5),  # reserved by the batch that enters
        (_staged, 6),  # a read before the commit
        (_commits_twice, 5),  # lock, enter, commit, commit, release and closing chunk
    ],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
async def test_waits_in_a_row(
    network: Network, store: CloudflareStore, turn: Callable[[CloudflareStore], Awaitable[None]], waits: int
) -> None:
    """TU-9: A turn waits at most five times, once more with staged changes, and once more for each further commit."""
    if turn is _staged:
        staged = StagedChange(tool_call_id="c")
        await network.run(_ignoring(store.state_store.stage_changes("ada", "step", staged)))
    assert await network.run(turn(store)) == waits


async def _ignoring(call: Awaitable[object]) -> None:
    await call


async def test_no_write_waits_for_the_network(network: Network, store: CloudflareStore) -> None:
    """TU-9: the model speaks while a full buffer is on its way; only a second full buffer waits."""
    waits_of_writes: list[int] = []

    async def talkative() -> None:
        async with store.turn("ada", agent_type="t") as turn:
            before = network.waits
            for number in range(199):
                await turn.write({"type": "text", "text": f"{number} "})
            waits_of_writes.append(network.waits - before)

    assert await network.run(talkative()) <= 6  # the buffer that is on its way, then the rest
    assert waits_of_writes == [0]


async def test_a_further_wait_shows(network: Network, store: CloudflareStore) -> None:
    """TU-9: One more call before the end is one more wait."""

    async def longer() -> None:
        await _turn(store)
        await store.locks.is_locked("ada")

    assert await network.run(longer()) == 6
