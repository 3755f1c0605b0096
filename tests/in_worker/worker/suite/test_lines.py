"""Calls in a row go over a function that the object hands out, a line: faster, and with nothing else that a caller could notice."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pyodide.ffi import to_js

from agents_store_cloudflare.cloudflare import namespace as namespace_module
from agents_store_cloudflare.cloudflare.namespace import IDLE_S, CloudflareNamespace
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager

CREATE = '{"op":"create","streamId":"s","fencingToken":null,"retention":[null,null,null]}'
INFO = '{"op":"info","streamId":"s"}'


class CountingBinding:
    """A Durable Object binding that counts the calls of methods. A call over a line does not count."""

    def __init__(self, binding: Any) -> None:
        self._binding = getattr(binding, "_binding", binding)
        self.calls = 0

    def getByName(self, name: str) -> Any:  # noqa: N802 - the platform's name
        self.calls += 1
        return self._binding.getByName(name)


@pytest.fixture
def binding(env: Any) -> CountingBinding:
    return CountingBinding(env.STREAMS)


@pytest.fixture
def namespace(binding: CountingBinding) -> CloudflareNamespace:
    return CloudflareNamespace(binding)


async def _in_a_row(namespace: CloudflareNamespace, name: str, *, calls: int) -> None:
    await namespace.call(name, CREATE)
    for _ in range(calls - 1):
        assert (await namespace.call(name, INFO)).startswith('{"ok":{')


def _manager(namespace: object) -> DurableObjectStreamManager:
    return DurableObjectStreamManager(namespace, buffer_size=10, flush_interval=60)


async def test_flushes_in_a_row_go_over_a_line(
    binding: CountingBinding, namespace: CloudflareNamespace, unique: str
) -> None:
    """SM-39: Many flushes make two calls of a method. The read data equals the written data, long replies included."""
    manager = _manager(namespace)
    texts = [f"ü {number} " + "x" * 1_000 for number in range(200)]
    async with manager.create_writer(unique, "a", "t") as writer:
        for text in texts:
            await writer.write({"type": "text", "text": text})
    assert binding.calls == 2
    await manager.end_stream(unique)
    async with manager.create_reader(unique) as reader:
        assert [chunk["text"] async for chunk in reader] == texts


async def test_a_line_is_given_back_when_it_is_not_used(
    binding: CountingBinding, namespace: CloudflareNamespace, unique: str
) -> None:
    """SM-39: A line ends within half a second of its last use, or at once if the caller knows that nothing follows."""
    await _in_a_row(namespace, unique, calls=5)
    assert binding.calls == 2
    await asyncio.sleep(2.5 * IDLE_S)
    await namespace.call(unique, INFO)
    assert binding.calls == 3
    await namespace.call(unique, INFO)
    namespace.hang_up(unique)
    await namespace.call(unique, INFO)
    assert binding.calls == 5


async def test_calls_that_are_not_in_a_row_need_no_line(
    binding: CountingBinding, namespace: CloudflareNamespace, unique: str
) -> None:
    """SM-39: Between the flushes of a slow writer its object sleeps."""
    await namespace.call(unique, CREATE)
    for calls in (2, 3, 4):
        await asyncio.sleep(0.05)
        await namespace.call(unique, INFO)
        assert binding.calls == calls


async def test_a_last_call_opens_no_line(binding: CountingBinding, namespace: CloudflareNamespace, unique: str) -> None:
    """SM-39: The call after a word that none follows asks for no line. A line that is open already is used and stays."""
    await namespace.call(unique, CREATE)
    namespace.open_no_line(unique)
    await namespace.call(unique, INFO)
    assert vars(namespace)["_lines"] == {}
    await namespace.call(unique, INFO)
    assert binding.calls == 3
    namespace.open_no_line(unique)
    await namespace.call(unique, INFO)
    await namespace.call(unique, INFO)
    assert binding.calls == 3


def _deaf(line: Any) -> Callable[[str], Awaitable[str]]:
    """Make the line's call lose its reply: it breaks after the object has acted."""
    whole = line.call

    async def call(request: str) -> str:
        await whole(request)
        line.close()
        reply: str = await whole(request)
        return reply

    return call


async def test_a_line_that_breaks_is_a_lost_reply(
    binding: CountingBinding, namespace: CloudflareNamespace, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SM-9, SM-39: The flush is sent again in another way and stored once, whether it had arrived or not."""
    manager = _manager(namespace)
    lines: dict[str, Any] = vars(namespace)["_lines"]
    async with manager.create_writer(unique, "a", "t") as writer:
        for number in range(100):
            if number == 55:
                monkeypatch.setattr(lines[unique], "call", _deaf(lines[unique]))
            if number == 85:
                lines[unique].close()
            await writer.write({"type": "n", "n": number})
    await manager.end_stream(unique)
    async with manager.create_reader(unique) as reader:
        assert [chunk["n"] async for chunk in reader] == list(range(100))


async def test_a_closed_line_raises_as_any_lost_call(namespace: CloudflareNamespace, unique: str) -> None:
    """SM-39: A closed line raises the error of a lost call, and the next call works."""
    await _in_a_row(namespace, unique, calls=3)
    vars(namespace)["_lines"][unique].close()
    with pytest.raises(ObjectCallError):
        await namespace.call(unique, INFO)
    assert (await namespace.call(unique, INFO)).startswith('{"ok":{')


async def test_a_call_may_wait_on_a_line(namespace: CloudflareNamespace, unique: str) -> None:
    """SM-39: While a call waits, the line answers others. A long reply that had to wait comes completely."""
    manager = _manager(namespace)
    await _in_a_row(namespace, unique, calls=3)
    read = '{"op":"read","streamId":"s","fromSequence":0,"maxBytes":100000,"waitMs":5000,"waitFor":"chunks"}'
    reading = asyncio.ensure_future(namespace.call(unique, read))
    await asyncio.sleep(2.5 * IDLE_S)
    assert not reading.done()
    assert unique in vars(namespace)["_lines"]
    async with manager.create_writer(unique, "a", "t") as writer:
        await writer.write({"type": "text", "text": "ü" * 5_000})
    head, _, body = (await reading).partition("\n")
    assert '"count":1' in head
    assert "ü" * 5_000 in body


async def test_rows_are_counted_over_a_line(namespace: CloudflareNamespace, unique: str) -> None:
    """SM-39: A meter gets the rows that the object counted."""
    await _in_a_row(namespace, unique, calls=3)
    reply = await namespace.call(unique, '{"countRows":true,' + INFO[1:])
    assert reply.startswith('{"rows":[')


async def test_calls_that_are_cancelled_leave_no_line(
    namespace: CloudflareNamespace, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SM-39: If a reply comes after the cancellation, its line is given back."""
    given_back: list[Any] = []
    let_go = vars(namespace_module)["_let_go"]

    def counting(answer: Any) -> None:
        given_back.append(answer)
        let_go(answer)

    monkeypatch.setattr(namespace_module, "_let_go", counting)
    await namespace.call(unique, CREATE)
    calls = [asyncio.ensure_future(namespace.call(unique, INFO)) for _ in range(5)]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*calls, return_exceptions=True))
    await asyncio.sleep(0.2)
    assert len(given_back) == 5
    assert all(hasattr(answer, "at") for answer in given_back)
    assert vars(namespace)["_lines"] == {}


@pytest.mark.parametrize("objects", ["STREAMS", "LOCKS"])
async def test_what_is_no_request_is_answered_without_a_traceback(env: Any, unique: str, objects: str) -> None:
    """SM-29, LK-20: Numbers, bytes, nothing, too much, no JSON, and JSON that is no request get an error reply."""
    binding = getattr(env, objects)
    stub = getattr(binding, "_binding", binding).getByName(unique)
    for arguments in (
        (5,),
        (to_js(b""),),
        (),
        (None, "{}"),
        (INFO, 5),
        ("",),
        ("[]",),
        ("{}",),
        ('{"op":5}',),
        ("\ud800" * 5_000,),
        ('{"op":' + "[" * 100_000,),
    ):
        reply = await stub.call(*arguments)
        assert isinstance(reply, str), arguments
        assert len(reply) < 1_000
        assert "Traceback" not in reply
        assert ".py" not in reply
