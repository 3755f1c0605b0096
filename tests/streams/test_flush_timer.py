"""A writer's flushes in the background: cancelled writes, errors that are not the package's own, and the number of tasks."""

import asyncio
import gc
from collections.abc import Awaitable
from typing import Any

import pytest

from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.streams.writer import DurableObjectStreamWriter
from agents_store_cloudflare.testing import FakeClock, LocalObjects


class Network:
    """Objects whose calls hang while `is_open` is not set, and fail with an error of another program while `is_broken`."""

    def __init__(self) -> None:
        self.objects: LocalObjects = LocalObjects(StreamObject)
        self.is_open: asyncio.Event = asyncio.Event()
        self.is_broken: bool = False
        self.is_open.set()

    async def call(self, name: str, request: str) -> str:
        """Ask an object."""
        await self.is_open.wait()
        if self.is_broken:
            raise RuntimeError("not the package's own")
        return await self.objects.call(name, request)


class Background:
    """A `wait_until` that remembers its tasks."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Future[None]] = []

    def __call__(self, task: Awaitable[None]) -> None:
        assert isinstance(task, asyncio.Future)
        self.tasks.append(task)

    def count(self) -> int:
        """Return how many tasks have not ended."""
        return sum(not task.done() for task in self.tasks)


async def _writer(
    network: Network, background: Background, clock: FakeClock, **options: Any
) -> DurableObjectStreamWriter:
    settings: dict[str, Any] = {"buffer_size": 3, "flush_interval": 1, **options}
    manager = DurableObjectStreamManager(
        network, options=StreamOptions(sleep=clock.sleep, now_ms=clock.now_ms, wait_until=background, **settings)
    )
    return await manager.create_writer("s", "a", "t")


async def _settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def _stored(network: Network) -> list[Any]:
    async with DurableObjectStreamManager(network.objects).create_reader("s", follow=False) as reader:
        return [chunk["n"] async for chunk in reader]


def _chunk(number: int, text: str = "") -> dict[str, Any]:
    return {"type": "x", "n": number, "text": text}


@pytest.mark.parametrize("steps", range(6))
async def test_a_cancelled_write_that_fills_the_buffer_can_be_repeated(steps: int) -> None:
    """SM-10: The caller looks at `pending` some steps later, when the flush may have stored what was in it."""
    network, background, clock = Network(), Background(), FakeClock()
    writer = await _writer(network, background, clock)
    taken: list[int] = []
    for number in range(5):
        writing = asyncio.ensure_future(writer.write(_chunk(number)))
        await asyncio.sleep(0)
        writing.cancel()
        [outcome] = await asyncio.gather(writing, return_exceptions=True)
        for _ in range(steps):
            await asyncio.sleep(0)
        if outcome is not None and number not in [chunk["n"] for chunk in writer.pending]:
            await writer.write(_chunk(number))
        taken.append(number)
    await writer.close()
    assert await _stored(network) == taken


async def test_an_error_of_another_program_in_the_background() -> None:
    """SM-10: The next write sends the chunks again, and no task ends with an error that nobody awaits."""
    unheard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unheard.append(context))
    network, background, clock = Network(), Background(), FakeClock()
    writer = await _writer(network, background, clock)
    network.is_broken = True
    for number in range(3):
        await writer.write(_chunk(number))
    await _settle()
    with pytest.raises(RuntimeError, match="not the package's own"):
        await writer.write(_chunk(3))
    network.is_broken = False
    await writer.write(_chunk(3))
    await writer.close()
    background.tasks.clear()
    gc.collect()
    await _settle()
    assert await _stored(network) == [0, 1, 2, 3]
    assert unheard == []


async def test_a_timer_whose_task_was_cancelled_begins_again() -> None:
    """SM-6: Somebody else has cancelled the task of the interval. The next chunk begins a new interval."""
    network, background, clock = Network(), Background(), FakeClock()
    writer = await _writer(network, background, clock)
    await writer.write(_chunk(0))
    await _settle()
    background.tasks[0].cancel()
    await _settle()
    await writer.write(_chunk(1))
    await _settle()
    await clock.advance(2)
    await _settle()
    assert await _stored(network) == [0, 1]
    await writer.close()


async def test_a_timer_whose_sleep_failed_begins_again() -> None:
    """SM-6: The `sleep` of the options fails once."""
    network, background, clock = Network(), Background(), FakeClock()
    failures = [OSError("no timer")]

    async def sleep(seconds: float) -> None:
        if failures:
            raise failures.pop()
        await clock.sleep(seconds)

    manager = DurableObjectStreamManager(
        network, options=StreamOptions(sleep=sleep, now_ms=clock.now_ms, wait_until=background, flush_interval=1)
    )
    writer = await manager.create_writer("s", "a", "t")
    await writer.write(_chunk(0))
    await _settle()
    await writer.write(_chunk(1))
    await _settle()
    await clock.advance(2)
    await _settle()
    assert await _stored(network) == [0, 1]
    await writer.close()


async def test_one_flush_is_on_its_way_however_many_writes_ask_for_one() -> None:
    """SM-6: While the network hangs, the chunks over half of a call's size do not begin a task each."""
    network, background, clock = Network(), Background(), FakeClock()
    writer = await _writer(network, background, clock, buffer_size=1_000)
    network.is_open.clear()
    for number in range(5):
        await writer.write(_chunk(number, "x" * 500_000))
    for number in range(5, 200):
        await writer.write(_chunk(number))
    await _settle()
    assert background.count() <= 2
    network.is_open.set()
    await _settle()
    assert await _stored(network) == list(range(200))
    await writer.close()


async def test_a_full_buffer_that_drops_the_oldest_does_not_wait_for_the_network() -> None:
    """SM-21: While the network hangs, writes return, and the chunks on their way and the newest ones stay."""
    network, background, clock = Network(), Background(), FakeClock()
    writer = await _writer(network, background, clock, overflow="drop_oldest")
    network.is_open.clear()

    async def write() -> None:
        for number in range(20):
            await writer.write(_chunk(number))

    writing = asyncio.ensure_future(write())
    await _settle()
    assert writing.done()
    assert [chunk["n"] for chunk in writer.pending] == [0, 1, 2, 17, 18, 19]
    network.is_open.set()
    await writer.close()
    assert await _stored(network) == [0, 1, 2, 17, 18, 19]
