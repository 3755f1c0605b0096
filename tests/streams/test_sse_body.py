"""The Durable Object's `fetch` and its `ReadableStream`, on stand-ins for the few JavaScript names they use."""

import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.objects import ObjectHost
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.testing import FakeClock, LocalObjects

SHELL = "agents_store_cloudflare.durable_objects.stream_server"
EVENT_BODY = "agents_store_cloudflare.cloudflare.event_body"
WEB_SOCKET = "agents_store_cloudflare.cloudflare.web_socket"


class JsError(Exception):
    """`JsException`."""


class Proxy:
    """`create_proxy`; counts those that are alive."""

    alive = 0

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        Proxy.alive += 1

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def destroy(self) -> None:
        Proxy.alive -= 1


class JsStream:
    """`ReadableStream` with its controller in one."""

    def __init__(self, source: dict[str, Any], strategy: dict[str, int]) -> None:
        self.source = source
        self.window = strategy["highWaterMark"]
        self.chunks: list[bytes] = []
        self.received = b""
        self.is_closed = self.is_errored = self.refuses = False
        source["start"](self)

    @property
    def desiredSize(self) -> object:  # noqa: N802 - JavaScript's name
        if self.is_errored:
            return object()  # JavaScript's null, which is not None
        return 0 if self.is_closed else self.window - sum(map(len, self.chunks))

    def enqueue(self, chunk: bytes) -> None:
        if self.is_closed or self.refuses:
            raise JsError("closed")
        self.chunks.append(chunk)

    def close(self) -> None:
        self.is_closed = True

    def error(self, _reason: object) -> None:
        """Fail. A closed stream stays closed, and keeps what it holds."""
        if not self.is_closed:
            self.is_errored = True
            self.chunks.clear()

    def read(self) -> None:
        """Read everything, as a client does; the platform asks for more."""
        self.received += b"".join(self.chunks)
        self.chunks.clear()
        if not self.is_closed:
            self.source["pull"](self)


class Response(SimpleNamespace):
    """`Response`."""


class Entries(dict[str, Any]):
    """`Object.fromEntries`."""

    def to_py(self) -> dict[str, Any]:
        return dict(self)


def _fake(name: str, **names: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(names)
    return module


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module `stream_server`, loaded on the stand-ins."""

    def new_response(body: object, init: dict[str, Any]) -> Response:
        return Response(body=body, **init)

    def to_js(value: object, **_options: object) -> object:
        return value

    js = _fake(
        "js",
        ReadableStream=SimpleNamespace(new=JsStream),
        Response=SimpleNamespace(new=new_response),
        Object=SimpleNamespace(fromEntries=Entries),
        queueMicrotask=_run,
        Error=SimpleNamespace(new=JsError),
    )
    ffi = _fake("pyodide.ffi", JsException=JsError, create_proxy=Proxy, create_once_callable=_same, to_js=to_js)
    workers = _fake("workers", DurableObject=object)
    for module in (js, _fake("pyodide", ffi=ffi), ffi, workers):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in (EVENT_BODY, WEB_SOCKET, SHELL):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(Proxy, "alive", 0)
    yield importlib.import_module(SHELL)
    for name in (EVENT_BODY, WEB_SOCKET, SHELL):
        sys.modules.pop(name, None)


def _same(value: Any) -> Any:
    return value


def _run(task: Callable[[], None]) -> None:
    task()


class Stream:
    """A stream "s" with one chunk, its object, and what listens to it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.manager = DurableObjectStreamManager(LocalObjects(self._make, clock=self.clock))
        self.object: Any = None

    def _make(self, host: ObjectHost) -> StreamObject:
        made = self.object = StreamObject(host)
        self.host: Any = host
        return made

    async def write(self, number: int) -> None:
        async with self.manager.create_writer("s", "a", "t") as writer:
            await writer.write({"type": "x", "n": number})

    def listeners(self) -> int:
        return len(self.object._audience)


async def _get(server: Any, stream: Stream, *, last_event_id: str | None = None) -> Any:
    stream.host.event_body = importlib.import_module(EVENT_BODY).SseBody
    shell = server.StreamServer.__new__(server.StreamServer)
    shell._stream, shell.ctx = stream.object, SimpleNamespace(id=SimpleNamespace(name="s"))
    headers = {} if last_event_id is None else {"last-event-id": last_event_id}
    return await shell.fetch(SimpleNamespace(method="GET", url="https://x/", headers=headers))


def _bodies(server: Any) -> int:
    gc.collect()
    body = importlib.import_module(EVENT_BODY).SseBody
    return sum(type(each) is body for each in gc.get_objects())


async def test_a_refused_request_leaves_nothing_behind(server: Any) -> None:
    """SM-25: A request that gets an error leaves no proxy, no byte stream and no listener."""
    stream = Stream()
    assert await stream.manager.get_info("s") is None
    assert (await _get(server, stream)).status == 404
    await stream.write(1)
    assert (await _get(server, stream, last_event_id="2")).status == 409
    assert (await _get(server, stream, last_event_id="x")).status == 400
    assert (Proxy.alive, _bodies(server), stream.listeners()) == (0, 0, 0)


async def test_a_listener_is_fed_and_let_go(server: Any) -> None:
    """SM-25, SM-27: The events come until the end. Then no proxies and no listeners are left."""
    stream = Stream()
    await stream.write(1)
    body = (await _get(server, stream)).body
    body.source["pull"](body)
    await stream.write(2)
    await stream.manager.end_stream("s")
    body.read()
    assert body.received.count(b"event: chunk") == 2
    assert body.is_closed
    assert (Proxy.alive, stream.listeners()) == (0, 0)


async def test_a_client_that_leaves_is_let_go(server: Any) -> None:
    """SM-27: A client that leaves, by `cancel` or noticed at a push, has its stream closed."""
    stream = Stream()
    await stream.write(1)
    said, closed, errored = [(await _get(server, stream)).body for _ in range(3)]
    for body in (said, closed, errored):
        body.source["pull"](body)
    assert stream.listeners() == 3
    said.source["cancel"]("bye")
    assert stream.listeners() == 2
    closed.refuses = True
    errored.is_errored = True
    await stream.write(2)
    assert (Proxy.alive, stream.listeners()) == (0, 0)


async def test_an_ended_response_that_nobody_reads_is_let_go(server: Any) -> None:
    """SM-27: the deleted stream's text is dropped after a minute, with everything that fed it."""
    stream = Stream()
    await stream.write(1)
    read, unread = [(await _get(server, stream)).body for _ in range(2)]
    for body in (read, unread):
        body.source["pull"](body)
    await stream.manager.delete_stream("s")
    assert unread.chunks
    assert not unread.is_closed
    read.read()
    assert read.is_closed
    assert read.received.count(b"event: chunk") == 1
    await stream.clock.advance(90)
    assert (unread.is_errored, unread.chunks) == (True, [])
    assert not read.is_errored
    assert (Proxy.alive, stream.listeners()) == (0, 0)


async def test_a_log_that_cannot_be_read_raises_nothing_into_javascript(
    server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """SM-26, SM-29: `pull` closes the response instead. The traceback stays in the object's log."""
    stream = Stream()
    await stream.write(1)
    body = (await _get(server, stream)).body

    def broken(*_arguments: Any, **_options: Any) -> None:
        raise OSError("disk")

    monkeypatch.setattr("agents_store_cloudflare.streams.log.StreamLog.read", broken)
    body.source["pull"](body)
    assert body.is_closed
    assert (Proxy.alive, stream.listeners()) == (0, 0)
    assert "disk" in caplog.text
