"""What native writers, timers and expiries change in a stream that a subscription covers is told when it is stored."""

import asyncio
import json
from typing import Any

import pytest

from agents_store_cloudflare import DurableObjectStreamManager, HttpRequest
from agents_store_cloudflare.durable_streams.offsets import offset_of
from agents_store_cloudflare.durable_streams.subscriptions.index_object import INDEX_NAME
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.streams.options import StreamOptions
from tests.durable_streams.test_subscriptions import PULL, ROOT, Site, settled

SUBSCRIPTION = "__ds/subscriptions/s"


@pytest.fixture
async def site() -> Site:
    site = Site()
    await site.ask("PUT", "wake/pool", [])
    return site


def manager(site: Site, **more: Any) -> DurableObjectStreamManager:
    options = StreamOptions(now_ms=site.clock.now_ms, sleep=site.clock.sleep, **more)
    return DurableObjectStreamManager(site.objects, options=options)


async def subscribe(site: Site, **more: Any) -> None:
    await site.subscribe({**PULL, **more})
    await moment(site)


async def moment(site: Site) -> None:
    """Let the due alarms ring."""
    await site.clock.advance(0.001)
    await settled()


async def append(site: Site, path: str, *texts: str) -> None:
    async with manager(site).create_writer(path, "a", "t") as writer:
        for text in texts:
            await writer.write({"type": "text", "text": text})


async def events(site: Site) -> list[str]:
    return [event["stream"] for event in (await site.ask("GET", "wake/pool"))[1]]


@pytest.mark.parametrize("is_first", [True, False], ids=["stream first", "subscription first"])
async def test_a_native_append_to_a_stream_of_the_protocol(site: Site, is_first: bool) -> None:
    """DS-15: Subscriptions hear of a native append before its writer has its answer, without an append over the protocol."""
    if is_first:
        await site.ask("PUT", "events/a", [])
        await subscribe(site)
    else:
        await subscribe(site)
        await site.ask("PUT", "events/a", [])
        await moment(site)
    await append(site, "events/a", "one")
    await settled()
    assert await events(site) == ["events/a"]
    claimed = (await site.ask("POST", f"{SUBSCRIPTION}/claim", {"worker": "w"}))[1]
    assert [link["tail_offset"] for link in claimed["streams"]] == [offset_of(1)]


async def test_a_native_stream_that_is_named(site: Site) -> None:
    """DS-15: A named stream is covered if it exists, and also if it is created later."""
    await append(site, "here", "old")
    await subscribe(site, streams=["here", "later"], pattern=None)
    await append(site, "here", "new")
    await settled()
    assert await events(site) == ["here"]
    await site.ask("DELETE", SUBSCRIPTION)
    await subscribe(site, streams=["later"], pattern=None)
    await append(site, "later", "first")
    await settled()
    assert await events(site) == ["here", "later"]


async def test_what_a_timer_stores(site: Site) -> None:
    """DS-15: Chunks that are shown before they are stored are reported when they are stored."""
    await site.ask("PUT", "events/a", [])
    await subscribe(site)
    writer = await manager(site, adaptive=True, loss_window=2).create_writer("events/a", "a", "t")
    await writer.write({"type": "text", "text": "shown"})
    await settled()
    assert json.loads((await site.gateway.handle(_get("events/a"))).body or "")[0]["text"] == "shown"
    assert await events(site) == []
    for _ in range(3):
        await site.clock.advance(1)
        await settled()
    assert await events(site) == ["events/a"]
    await writer.close()


def _get(path: str) -> HttpRequest:
    return HttpRequest(url=f"{ROOT}/{path}")


async def test_an_index_that_gives_no_answer(site: Site) -> None:
    """DS-15: The append succeeds. The stream's alarm reports it later, after a restart too."""
    await site.ask("PUT", "events/a", [])
    await subscribe(site)
    call = site.objects.call

    async def deaf(name: str, request: str) -> str:
        if name == INDEX_NAME:
            raise ObjectCallError("Network connection lost.", retryable=True)
        return await call(name, request)

    site.objects.call = deaf  # type: ignore[method-assign]
    await append(site, "events/a", "one")
    site.objects.call = call  # type: ignore[method-assign]
    assert await events(site) == []
    site.objects.restart()
    await site.clock.advance(61)
    await settled()
    assert await events(site) == ["events/a"]


async def test_native_deletions(site: Site) -> None:
    """DS-15: A deletion is reported at once. The path's next stream is a new one, and its data is new."""
    await site.ask("PUT", "events/a", [1, 2])
    await subscribe(site)
    assert list(await site.acked()) == ["events/a"]
    await manager(site).delete_stream("events/a")
    assert await site.acked() == {}
    await append(site, "events/a", "again")
    await settled()
    assert await events(site) == ["events/a"]


async def test_a_deletion_that_is_told_again(site: Site) -> None:
    """DS-15: A repeated report after the creation of the path's next stream changes nothing."""
    await site.ask("PUT", "events/a", [1, 2])
    await subscribe(site)
    call, losses = site.objects.call, [1]

    async def lossy(name: str, request: str) -> str:
        reply = await call(name, request)
        if losses and '"subscriptions.gone"' in request:
            losses.pop()
            await site.ask("PUT", "events/a", [3])
            raise ObjectCallError("Network connection lost.", retryable=True)
        return reply

    site.objects.call = lossy  # type: ignore[method-assign]
    task = asyncio.ensure_future(site.ask("DELETE", "events/a"))
    for _ in range(100):
        await asyncio.sleep(0.005)  # the object's own pause between attempts
        await settled()
        await site.clock.advance(0.1)
        if task.done():
            break
    assert (await task)[0] == 204
    assert list(await site.acked()) == ["events/a"]
    assert await events(site) == ["events/a"]


async def test_the_event_of_a_wake_wakes_nobody(site: Site) -> None:
    """DS-15: If a pattern covers the wake stream, a wake causes no further wake."""
    await site.subscribe({**PULL, "pattern": "**"})
    await site.ask("PUT", "events/a", [1])
    await moment(site)
    for _ in range(3):
        _, claimed = await site.ask("POST", f"{SUBSCRIPTION}/claim", {"worker": "w"})
        acks = [{"stream": link["path"], "offset": link["tail_offset"]} for link in claimed["streams"]]
        wake = {"wake_id": claimed["wake_id"], "generation": claimed["generation"], "acks": acks, "done": True}
        status, answer = await site.ask("POST", f"{SUBSCRIPTION}/ack", wake, claimed["token"])
        assert status == 200
        if not answer["next_wake"]:
            break
        await moment(site)
    else:
        pytest.fail("wakes go on for ever")
    assert len(await events(site)) <= 2


async def test_streams_that_nobody_watches_ask_nobody(site: Site) -> None:
    """DS-14: After a stream's last subscription is gone, one more append is reported, and then none."""
    await site.ask("PUT", "events/a", [])
    await subscribe(site)
    await site.ask("DELETE", SUBSCRIPTION)
    await append(site, "events/a", "one")
    calls = site.objects.calls
    async with manager(site).create_writer("events/a", "a", "t") as writer:
        await writer.write({"type": "text", "text": "two"})
        opened = site.objects.calls
        await writer.flush()
        assert site.objects.calls == opened + 1
    assert opened > calls
