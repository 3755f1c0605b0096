"""Restarts, refusals and round trips of the stream client, in process."""

import ast
import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import (
    AgentsStoreError,
    InvalidArgumentError,
    StreamConnectionError,
    StreamError,
)
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.objects.rpc_text import encode_request
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.testing import FakeClock, LocalObjects
from agents_store_cloudflare.testing.faults import FaultyNamespace

SHELL = Path(__file__).parents[2] / "durable_objects" / "stream_server.py"


class SilentNamespace:
    """Objects that answer only while the test lets them."""

    def __init__(self, objects: LocalObjects) -> None:
        self._objects = objects
        self.speaks = asyncio.Event()
        self.speaks.set()

    async def call(self, name: str, request: str) -> str:
        await self.speaks.wait()
        return await self._objects.call(name, request)


async def _no_pause(seconds: float) -> None:
    """Pauses take no time; the wait for room, which nobody should need here, never ends by itself."""
    if seconds < 30:
        await asyncio.sleep(0)
    else:
        await asyncio.get_running_loop().create_future()


def _manager(namespace: object, **options: Any) -> DurableObjectStreamManager:
    given: dict[str, Any] = {"sleep": _no_pause, **options}
    return DurableObjectStreamManager(namespace, options=StreamOptions(**given))


async def _read(manager: DurableObjectStreamManager, stream_id: str = "s") -> list[int]:
    async with manager.create_reader(stream_id) as reader:
        return [chunk["n"] async for chunk in reader]


async def test_everything_stored_survives_a_restart(tmp_path: Path) -> None:
    """SM-28: After the objects have lost their memory, readers, writers, outcome and numbering continue as before."""
    objects = LocalObjects(StreamObject, folder=tmp_path)
    manager = _manager(objects)
    writer = await manager.create_writer("s", "a", "t", fencing_token=4)
    await writer.write({"type": "x", "n": 1})
    await writer.flush()
    reader = await manager.create_reader("s")
    assert (await anext(reader))["n"] == 1
    objects.restart()
    await writer.write({"type": "x", "n": 2})
    assert await writer.flush() == 2
    objects.restart()
    with pytest.raises(AgentsStoreError, match="stale"):
        await manager.create_writer("s", "a", "t", fencing_token=3)
    waiting = asyncio.ensure_future(_rest(reader))
    await asyncio.sleep(0.0)
    objects.close()
    reopened = LocalObjects(StreamObject, folder=tmp_path)
    waiting.cancel()
    again = _manager(reopened)
    await again.end_stream("s")
    reopened.restart()
    assert await _read(again) == [1, 2]
    reopened.close()


async def _rest(reader: Any) -> list[Any]:
    return [chunk async for chunk in reader]


async def test_a_waiting_reader_survives_a_restart() -> None:
    """SM-16, SM-28: When its object is reset, a waiting reader waits on in the new one."""
    objects = LocalObjects(StreamObject)
    manager = _manager(objects)
    async with manager.create_writer("s", "a", "t") as writer:
        await writer.write({"type": "x", "n": 1})
    reader = await manager.create_reader("s")
    rest = asyncio.ensure_future(_rest(reader))
    for _ in range(3):
        for _ in range(20):
            await asyncio.sleep(0)
        objects.restart()
    await manager.end_stream("s")
    assert [chunk["n"] for chunk in await rest] == [1]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_flush_repeated_after_a_restart_stores_once(moment: Any) -> None:
    """SM-9, SM-28: The object loses its memory between a flush with a lost reply and its repetition, and stores once."""
    objects = LocalObjects(StreamObject)
    faulty = FaultyNamespace(objects)
    manager = _manager(faulty)
    writer = await manager.create_writer("s", "a", "t")
    for number in range(1, 6):
        await writer.write({"type": "x", "n": number})
        faulty.fail(*[moment] * 4)
        with pytest.raises(StreamConnectionError):
            await writer.flush()
        objects.restart()
        await writer.write({"type": "x", "n": number * 100})
        assert await writer.flush() == number * 2
    await manager.end_stream("s")
    assert await _read(manager) == [n for number in range(1, 6) for n in (number, number * 100)]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_conditional_write_whose_reply_was_lost_stays_pending(moment: Any) -> None:
    """SM-10, SM-11: With `outcome_unknown` the chunk is in `pending`. The next call settles it once."""
    faulty = FaultyNamespace(LocalObjects(StreamObject))
    manager = _manager(faulty)
    writer = await manager.create_writer("s", "a", "t")
    faulty.fail(*[moment] * 4)
    with pytest.raises(StreamConnectionError) as caught:
        await writer.write({"type": "x", "n": 1}, expected_sequence=1)
    assert caught.value.outcome_unknown
    assert len(writer.pending) == 1
    assert await writer.close() == 1
    await manager.end_stream("s")
    assert await _read(manager) == [1]


async def test_a_cancelled_flush_is_settled_by_the_next_one() -> None:
    """SM-9: A cancelled flush neither loses nor doubles its chunks."""
    manager = _manager(LocalObjects(StreamObject))
    writer = await manager.create_writer("s", "a", "t")
    for number in range(20):
        await writer.write({"type": "x", "n": number})
        flush = asyncio.ensure_future(writer.flush())
        for _ in range(number):
            await asyncio.sleep(0)
        flush.cancel()
        await asyncio.gather(flush, return_exceptions=True)
    assert await writer.close() == 20
    await manager.end_stream("s")
    assert await _read(manager) == list(range(20))


async def test_a_full_buffer_waits_thirty_seconds() -> None:
    """SM-21: With a full buffer a write waits at most 30 s for room. If it fails, its chunk was not taken."""
    namespace = SilentNamespace(LocalObjects(StreamObject))
    faulty = FaultyNamespace(namespace)
    spans: list[float] = []

    async def sleep(seconds: float) -> None:
        spans.append(seconds)
        await asyncio.sleep(0)

    manager = _manager(faulty, buffer_size=2, sleep=sleep)
    writer = await manager.create_writer("s", "a", "t")
    await writer.write({"type": "x", "n": 1})
    faulty.fail("before", "before", "before", "before")
    await writer.write({"type": "x", "n": 2})
    assert [chunk["n"] for chunk in writer.pending] == [1, 2]
    spans.clear()
    namespace.speaks.clear()
    with pytest.raises(StreamConnectionError, match="full") as caught:
        await writer.write({"type": "x", "n": 3})
    assert not caught.value.outcome_unknown
    assert spans == [30.0]
    assert [chunk["n"] for chunk in writer.pending] == [1, 2]
    namespace.speaks.set()
    await writer.write({"type": "x", "n": 3})
    assert await writer.close() == 3
    await manager.end_stream("s")
    assert await _read(manager) == [1, 2, 3]


async def test_a_failure_behind_a_timer_surfaces_at_the_next_call(caplog: pytest.LogCaptureFixture) -> None:
    """SM-10: The next write, flush or close raises the error of a flush by timer."""
    objects = LocalObjects(StreamObject)
    kept: list[Any] = []
    manager = _manager(objects, wait_until=kept.append)
    writer = await manager.create_writer("s", "a", "t")
    await writer.write({"type": "x", "n": 1})
    await _manager(objects).end_stream("s")
    await asyncio.gather(*kept)
    assert "timer" in caplog.text
    calls: list[Callable[[], Any]] = [lambda: writer.write({"type": "x", "n": 2}), writer.flush, writer.close]
    for call in calls:
        with pytest.raises(StreamError, match="ended"):
            await call()
    assert [chunk["n"] for chunk in writer.pending] == [1]


async def test_leaving_the_block_with_an_exception_shows_that_one(caplog: pytest.LogCaptureFixture) -> None:
    """SM-10: A close that fails too does not hide the block's own exception."""
    objects = LocalObjects(StreamObject)
    manager = _manager(objects)
    with pytest.raises(KeyError, match="mine"):  # noqa: PT012
        async with manager.create_writer("s", "a", "t") as writer:
            await writer.write({"type": "x", "n": 1})
            await _manager(objects).end_stream("s")
            raise KeyError("mine")
    assert "closing" in caplog.text
    with pytest.raises(StreamError):
        async with _manager(objects).create_writer("s", "a", "t") as writer:
            await writer.write({"type": "x", "n": 1})


async def test_round_trips() -> None:
    """SM-23: one call per flush; 10,000 chunks are read back in at most 12 calls."""
    objects = LocalObjects(StreamObject)
    manager = _manager(objects, buffer_size=50, flush_interval=60)
    async with manager.create_writer("s", "agent-1", "researcher") as writer:
        for number in range(10_000):
            await writer.write({"type": "text", "n": number, "text": "x" * 60})
    assert objects.calls == 1 + 200
    await manager.end_stream("s")
    objects.calls = 0
    assert await _read(manager) == list(range(10_000))
    assert objects.calls <= 12


async def test_an_overloaded_object_is_not_pressed() -> None:
    """SM-9: A call that the platform refused for overload is not sent again at once."""

    class Overloaded:
        calls = 0

        async def call(self, name: str, request: str) -> str:
            self.calls += 1
            raise ObjectCallError("Durable Object is overloaded.", overloaded=True)

    namespace = Overloaded()
    with pytest.raises(StreamConnectionError, match="overloaded"):
        await _manager(namespace).get_info("s")
    assert namespace.calls == 1


async def test_what_is_not_ours_leaves_the_object_as_an_id(caplog: pytest.LogCaptureFixture) -> None:
    """SM-29: Unknown operations are refused by name. Any other error goes to the given logger, and the caller gets its id."""
    logger = logging.getLogger("mine")
    objects = LocalObjects(lambda host: StreamObject(host, logger=logger))
    assert "invalid_argument" in await objects.call("s", encode_request("nope", {"streamId": "s"}))
    reply = await objects.call("s", "no json")
    assert '"internal"' in reply
    assert "Traceback" not in reply
    assert [record.name for record in caplog.records] == ["mine"]


async def test_events_of_an_object_in_process() -> None:
    """SM-25: `sse_response` answers on CPython too, with a body that a test reads; a namespace without HTTP says so."""
    manager = _manager(LocalObjects(StreamObject))
    missing: Any = await manager.sse_response("s")
    assert (missing.status, json.loads(missing.body)["error"]["code"]) == (404, "stream_not_found")
    async with manager.create_writer("s", "a", "t") as writer:
        await writer.write({"type": "x"})
    answer: Any = await manager.sse_response("s")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert answer.body.read().startswith("id: 1\nevent: chunk\n")

    class CallsOnly:
        async def call(self, name: str, request: str) -> str:
            return ""

    with pytest.raises(StreamError, match="Durable Object binding"):
        await _manager(CallsOnly()).sse_response("s")


class HttpNamespace:
    """Objects whose HTTP answers follow after a number of failures."""

    def __init__(self, failures: int = 0, *, overloaded: bool = False) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._failures = failures
        self._overloaded = overloaded

    async def call(self, name: str, request: str) -> str:
        raise AssertionError("only fetch is asked")

    async def fetch(self, name: str, url: str, headers: Mapping[str, str]) -> object:
        self.asked.append((name, dict(headers)))
        if len(self.asked) <= self._failures:
            raise ObjectCallError("Network connection lost.", retryable=True, overloaded=self._overloaded)
        return "response"


async def test_an_sse_request_is_repeated_like_a_call() -> None:
    """SM-25, SM-30: It is tried four times with pauses, then raises `StreamConnectionError`. An overloaded object is asked once."""
    patient = HttpNamespace(failures=3)
    assert await _manager(patient).sse_response("s", last_event_id=7) == "response"
    assert patient.asked == [("s", {"Last-Event-ID": "7"})] * 4
    for namespace, asked in ((HttpNamespace(failures=4), 4), (HttpNamespace(failures=1, overloaded=True), 1)):
        with pytest.raises(StreamConnectionError, match="connection lost"):
            await _manager(namespace).sse_response("s")
        assert len(namespace.asked) == asked


async def test_a_malformed_position_is_refused_before_anything_is_sent() -> None:
    """SM-25: `sse_response` raises an error with status 400. An empty header counts as none."""
    namespace = HttpNamespace()
    bad_positions: list[Any] = ["1\n2", "x", "-1", -1, 1.5, 2**53, 10**5_000, True]
    for bad in bad_positions:
        with pytest.raises(InvalidArgumentError, match="Last-Event-ID") as caught:
            await _manager(namespace).sse_response("s", last_event_id=bad)
        assert caught.value.http_status == 400
    assert namespace.asked == []
    positions: list[Any] = [None, "", "0", 0]
    for none in positions:
        await _manager(namespace).sse_response("s", last_event_id=none)
    assert namespace.asked == [("s", {"Last-Event-ID": "0"})] * 4


async def test_a_consumer_cancelled_while_its_reader_closes_is_cancelled() -> None:
    """SM-12: `close` ends a waiting iteration, but swallows no cancellation."""
    manager = _manager(LocalObjects(StreamObject))
    await manager.create_writer("s", "a", "t")
    for cancel_first in (False, True):
        reader = await manager.create_reader("s")
        consumer = asyncio.ensure_future(_rest(reader))
        for _ in range(10):
            await asyncio.sleep(0)
        if cancel_first:
            consumer.cancel()
        await reader.close()
        if not cancel_first:
            consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer


def test_only_call_can_be_reached_over_rpc() -> None:
    """SM-29: every function on the class is callable over RPC; there are `call` and the platform's own names."""
    [shell] = [node for node in ast.parse(SHELL.read_text()).body if getattr(node, "name", "") == "StreamServer"]
    assert isinstance(shell, ast.ClassDef)
    functions = {node.name for node in shell.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert functions == {
        *("__init__", "call", "fetch", "alarm"),
        *("webSocketMessage", "webSocketClose", "webSocketError"),  # RPC refuses these names
    }


def test_options_are_checked() -> None:
    """SM-22: Options out of their range are refused by name. Milliseconds given as seconds give an error that names the unit."""
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"buffer_size": 0}, "buffer_size"),
        ({"flush_interval": 100}, "flush_interval_ms"),
        ({"flush_interval_ms": 60_001}, "milliseconds"),
        ({"max_chunk_bytes": 2_000_000}, "max_chunk_bytes"),
        ({"overflow": "drop"}, "overflow"),
    ]
    for options, name in wrong:
        with pytest.raises(InvalidArgumentError, match=name):
            DurableObjectStreamManager(LocalObjects(StreamObject), **options)
    with pytest.raises(TypeError, match="not both"):
        StreamOptions(flush_interval=0.1, flush_interval_ms=100)
    assert StreamOptions().flush_interval == 0.1
    assert StreamOptions().interval_ms() == 100
    assert StreamOptions(flush_interval_ms=250).interval_ms() == 250


async def test_a_failing_callback_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """SM-21: an exception in a `buffer_overflow` callback is logged, and the write goes on."""
    clock = FakeClock()
    faulty = FaultyNamespace(LocalObjects(StreamObject, clock=clock))
    manager = _manager(faulty, buffer_size=1, overflow="drop_oldest", flush_interval=60, now_ms=clock.now_ms)

    def fail(_event: object) -> None:
        raise ValueError("mine")

    told: list[object] = []
    end = manager.on("buffer_overflow", told.append)
    manager.on("buffer_overflow", told.append)
    end()
    end()  # ends its own registration, not the other one
    manager.on("buffer_overflow", fail)
    writer = await manager.create_writer("s", "a", "t")
    faulty.fail("before", "before", "before", "before")
    await writer.write({"type": "x", "n": 1})
    await writer.write({"type": "x", "n": 2})
    assert "callback" in caplog.text
    assert len(told) == 1
    assert [chunk["n"] for chunk in writer.pending] == [2]
    await clock.advance(61)
    await writer.write({"type": "x", "n": 3})
    assert writer.pending == []


async def test_a_use_before_the_opening_is_explained() -> None:
    """`create_writer` without `await` or `async with` says what is missing."""
    manager = DurableObjectStreamManager(stream_namespace=LocalObjects(StreamObject))
    unopened: Any = manager.create_writer("s", "a", "t")
    with pytest.raises(AttributeError, match=r"not open yet.*'write'.*async with"):
        await unopened.write({"type": "text"})
    looped: Any = manager.create_reader("s")
    with pytest.raises(TypeError, match=r"not open yet.*async with"):
        aiter(looped)
