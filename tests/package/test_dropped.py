"""A dropped writer, reader or lock says what it still held, and each of them tells what it is. A block leaves nothing to say."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from agents_store_cloudflare import CloudflareStore, TurnError, create_cloudflare_store
from agents_store_cloudflare.durable_streams import StreamObject
from agents_store_cloudflare.locks import LockObject
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase

CHUNK = {"type": "text", "text": "hello"}


class Requests:
    """One database and its objects; each request has a store of its own, which goes with it."""

    def __init__(self) -> None:
        self.database = SqliteDatabase()
        self.streams = LocalObjects(StreamObject)
        self.locks = LocalObjects(LockObject)

    async def run(self, handler: Callable[[CloudflareStore], Awaitable[object]]) -> list[str]:
        """Run one request to its end, and return the warnings about dropped objects."""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", ResourceWarning)
            with suppress(RuntimeError):
                await handler(create_cloudflare_store(db=self.database, streams=self.streams, locks=self.locks))
            for _ in range(3):
                await asyncio.sleep(0)
            gc.collect()
        # Another test's garbage may be collected here; its ids are others.
        return [text for warning in told if "'dropped-" in (text := str(warning.message)) and " was dropped " in text]


@pytest.fixture
async def requests() -> AsyncIterator[Requests]:
    requests = Requests()
    await create_cloudflare_store(db=requests.database, streams=requests.streams).migrate()
    yield requests
    requests.database.close()


async def test_a_dropped_writer_tells_what_it_held(requests: Requests) -> None:
    """SM-44: The warning names the stream, the lost chunks and the remedy."""

    async def handler(store: CloudflareStore) -> None:
        writer = await store.stream_manager.create_writer("dropped-news", "a", "t")
        await writer.write(CHUNK)

    (told,) = await requests.run(handler)
    assert "writer of stream 'dropped-news' was dropped without close()" in told
    assert "1 chunk" in told
    assert "async with" in told


async def test_a_dropped_reader_tells_where_it_stood(requests: Requests) -> None:
    """SM-44: A reader that is dropped before the end of its stream warns with its position."""

    async def handler(store: CloudflareStore) -> None:
        async with store.stream_manager.create_writer("dropped-news", "a", "t") as writer:
            await writer.write(CHUNK)
            await writer.write(CHUNK)
        reader = await store.stream_manager.create_reader("dropped-news")
        await anext(aiter(reader))

    (told,) = await requests.run(handler)
    assert "reader of stream 'dropped-news' was dropped before its end, at sequence 1" in told


async def test_a_dropped_lock_tells_how_long_the_key_stays_closed(requests: Requests) -> None:
    """LK-29: The warning says that the key stays closed until the ttl ends."""

    async def handler(store: CloudflareStore) -> None:
        assert await store.locks.acquire("dropped-ada", ttl=20)

    (told,) = await requests.run(handler)
    assert "lock 'dropped-ada' was dropped while it was held" in told
    assert "19." in told


async def _blocks(store: CloudflareStore) -> None:
    async with store.locks.lock("dropped-ada") as lock:
        async with store.stream_manager.create_writer("dropped-news", "a", "t", fencing_token=lock) as writer:
            await writer.write(CHUNK)
        await store.stream_manager.end_stream("dropped-news")
    async with await store.stream_manager.create_reader("dropped-news") as reader:
        await anext(aiter(reader))


async def _read_to_the_end(store: CloudflareStore) -> None:
    await _blocks(store)
    assert [chunk["text"] async for chunk in await store.stream_manager.create_reader("dropped-news")] == ["hello"]


async def _a_turn(store: CloudflareStore) -> None:
    async with store.turn("dropped-ada", agent_type="t", messages=[{"role": "user", "content": "?"}]) as turn:
        await turn.write(CHUNK)


async def _a_turn_that_fails(store: CloudflareStore) -> None:
    async with store.turn("dropped-ada", agent_type="t") as turn:
        await turn.write(CHUNK)
        raise RuntimeError("model down")


async def _a_turn_that_is_refused(store: CloudflareStore) -> None:
    await _a_turn(store)
    with pytest.raises(TurnError, match="agent type"):
        async with store.turn("dropped-ada", agent_type="other"):
            pass


async def _a_cancelled_turn(store: CloudflareStore) -> None:
    async def turn() -> None:
        async with store.turn("dropped-ada", agent_type="t") as turn:
            await turn.write(CHUNK)
            await asyncio.get_running_loop().create_future()

    task = asyncio.ensure_future(turn())
    await asyncio.sleep(0.05)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


HANDLERS = [_blocks, _read_to_the_end, _a_turn, _a_turn_that_fails, _a_turn_that_is_refused, _a_cancelled_turn]


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda call: call.__name__)
async def test_blocks_leave_nothing(
    requests: Requests, handler: Callable[[CloudflareStore], Awaitable[object]]
) -> None:
    """SM-44, LK-29: A block, a read to the end and a turn that ends in any way leave no warning."""
    assert await requests.run(handler) == []


async def test_reprs_tell_what_and_where(requests: Requests) -> None:
    """The repr of a result has its name, its state and its place."""

    async def handler(store: CloudflareStore) -> None:
        assert repr(store) == "<CloudflareStore: state, streams, usage, locks>"
        async with store.turn(
            "dropped-ada", agent_type="t", turn_id="one", messages=[{"role": "user", "content": "?"}]
        ) as turn:
            assert repr(turn) == "<Turn 1 of 'dropped-ada', id 'one': running, 1 messages>"
            assert repr(turn.lock).startswith(f"<Lock 'dropped-ada' token {turn.lock.fencing_token} owner")
        assert repr(turn) == "<Turn 1 of 'dropped-ada', id 'one': completed, 1 messages>"
        async with store.stream_manager.create_writer("dropped-news", "a", "t") as writer:
            await writer.write(CHUNK)
            assert repr(writer) == "<StreamWriter of 'dropped-news' open: sequence 0, 1 pending>"
        assert repr(writer) == "<StreamWriter of 'dropped-news' closed: sequence 1, 0 pending>"
        async with await store.stream_manager.create_reader("dropped-news") as reader:
            assert repr(reader) == "<StreamReader of 'dropped-news' active: at sequence 0 of 1>"

    assert await requests.run(handler) == []
