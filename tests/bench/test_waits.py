"""How often the bench's turn waits in a row: counted exactly, where the bench finds a slope."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from agents_store_cloudflare import CloudflareStore, SessionOptions, create_cloudflare_store
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.homes.session_object import SessionObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.testing import LocalObjects
from bench.peers.chat import Chat
from tests.turns.network import FarDatabase, FarObjects, Network

GIVEN: Mapping[str, Any] = Chat().input()
GROUPS = len(GIVEN["chunks"]) // GIVEN["groupChunks"]


def _in_d1(network: Network) -> CloudflareStore:
    return create_cloudflare_store(
        db=FarDatabase(network),
        streams=FarObjects(network, LocalObjects(StreamObject)),
        locks=FarObjects(network, LocalObjects(LockObject)),
    )


def _in_homes(network: Network) -> CloudflareStore:
    database = FarDatabase(network)
    return create_cloudflare_store(
        db=database,
        streams=FarObjects(network, LocalObjects(StreamObject)),
        locks=FarObjects(network, LocalObjects(LockObject)),
        sessions=FarObjects(network, LocalObjects(lambda host: SessionObject(host, database=lambda: database.near))),
        session_options=SessionOptions(check_db=False),
    )


async def _turn(store: CloudflareStore, network: Network) -> None:
    """The turn of `make bench ARGS="--part peers"`. The model's pauses are calls on the network too, so flushes arrive in them."""
    async with store.turn("ada", agent_type="bench", messages=[GIVEN["question"]]) as turn:
        for number, chunk in enumerate(GIVEN["chunks"], start=1):
            await turn.write(chunk)
            if number % GIVEN["groupChunks"] == 0:
                await network.hop()
        turn.add(GIVEN["answer"])
        turn.record_tokens(**GIVEN["usage"])


@pytest.mark.parametrize(
    ("make", "waits"),
    [
        (_in_d1, 4),  # lock, enter, commit, release and closing chunk
        (_in_homes, 2),  # enter, commit
    ],
    ids=["D1", "homes"],
)
async def test_a_turn_of_400_chunks_waits_for_few_calls(make: Callable[[Network], CloudflareStore], waits: int) -> None:
    """Beyond the model's own pauses: 4 in D1, 2 in homes. Not a chunk and not a flush is among them."""
    network = Network()
    store = make(network)

    async def history() -> None:
        await store.migrate()
        async with store.turn("ada", agent_type="bench") as turn:
            turn.add(*GIVEN["history"])

    await network.run(history())

    assert await network.run(_turn(store, network)) - GROUPS == waits
    stored: list[Any] = []

    async def read() -> None:
        state = await store.state_store.load_state("ada", required=True)
        stored.extend(state.messages)

    await network.run(read())
    assert len(stored) == len(GIVEN["history"]) + 2
