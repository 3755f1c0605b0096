"""Response bodies of listeners, on the runtime's own streams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pyodide.ffi import JsException

if TYPE_CHECKING:
    from agents_store_cloudflare.cloudflare.event_body import SseBody


class Source:
    """What feeds a body; the body tells it when its client is gone."""

    def __init__(self) -> None:
        self.pulls = 0
        self.is_cancelled = False

    def pull(self) -> None:
        self.pulls += 1

    def cancel(self) -> None:
        self.is_cancelled = True


def _new() -> tuple[SseBody, Source]:
    from agents_store_cloudflare.cloudflare.event_body import SseBody

    body, source = SseBody(), Source()
    body.feed_from(source)
    return body, source


def _full() -> tuple[SseBody, Source, int]:
    """A body that is full, its source, and how many bytes it holds."""
    body, source = _new()
    held_bytes = 0
    while body.push("x" * 60_000):
        held_bytes += 60_000
    assert held_bytes >= 256 * 1024
    return body, source, held_bytes


async def _rest(reader: Any) -> int:
    """How many bytes come until the body ends."""
    received = 0
    while not (part := await asyncio.wait_for(reader.read(), 5)).done:
        received += part.value.byteLength
    return received


async def test_an_ended_body_gives_what_it_holds_and_ends() -> None:
    """SM-27: its end follows the last read at once; then nothing of it is left."""
    body, source, held_bytes = _full()
    reader = body.stream.getReader()
    body.close()
    assert not body.push("more")
    assert not body.has_ended()
    assert await _rest(reader) == held_bytes
    assert body.has_ended()
    assert source.is_cancelled


async def test_a_waiting_reader_gets_the_end_at_once() -> None:
    """SM-27: a client that has read everything when the body is ended."""
    body, _ = _new()
    reader = body.stream.getReader()
    reading = asyncio.ensure_future(_rest(reader))
    await asyncio.sleep(0)
    assert body.push("x" * 100)
    body.close()
    assert await reading == 100
    assert body.has_ended()


async def test_an_ended_body_that_nobody_reads_can_be_broken_off() -> None:
    """SM-27: what it held is dropped, and a late read fails."""
    body, source, _ = _full()
    body.close()
    body.has_read()
    assert not body.has_read()
    body.break_off()
    assert body.has_ended()
    assert source.is_cancelled
    with pytest.raises(JsException, match="nothing was read"):
        await body.stream.getReader().read()


async def test_a_client_that_leaves_an_ended_body() -> None:
    """SM-27: a cancelled body has ended."""
    body, source, _ = _full()
    body.close()
    await body.stream.cancel()
    assert body.has_ended()
    assert source.is_cancelled
