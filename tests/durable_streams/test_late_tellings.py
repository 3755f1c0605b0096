"""Tellings and answers that reach the subscription index late: what they say is of a stream that is gone since."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agents_store_cloudflare import HttpRequest
from agents_store_cloudflare.database import SqlError
from agents_store_cloudflare.durable_streams.offsets import offset_of
from agents_store_cloudflare.durable_streams.subscriptions.index_object import INDEX_NAME
from tests.durable_streams.test_native_appends import SUBSCRIPTION, append, events, manager, moment, subscribe
from tests.durable_streams.test_subscriptions import PULL, ROOT, Site, settled

Act = Callable[[], Awaitable[Any]]


@pytest.fixture
async def site() -> Site:
    site = Site()
    await site.ask("PUT", "wake/pool", [])
    await site.ask("PUT", "sources/a", [1, 2])
    return site


async def overtaken(site: Site, text: str, late: Act, others: Act, *, is_reply: bool = False) -> None:
    """Run `late`. Its request with this text reaches its object after `others`, or with `is_reply` its reply comes after them."""
    call, held = site.objects.call, [text]

    async def slow(name: str, request: str) -> str:
        if not held or f'"{held[0]}"' not in request:
            return await call(name, request)
        held.clear()
        reply = await call(name, request) if is_reply else None
        waiting.set()
        await go.wait()
        return await call(name, request) if reply is None else reply

    waiting, go = asyncio.Event(), asyncio.Event()
    site.objects.call = slow  # type: ignore[method-assign]
    task = asyncio.ensure_future(late())
    await asyncio.wait_for(waiting.wait(), 5)
    await others()
    go.set()
    await task
    site.objects.call = call  # type: ignore[method-assign]
    await settled()


async def put(site: Site, path: str, **headers: str) -> None:
    request = HttpRequest(
        method="PUT", url=f"{ROOT}/{path}", headers={"content-type": "application/json", **headers}, body=b"[1]"
    )
    assert (await site.gateway.handle(request)).status == 201
    await settled()


async def paths_of_a_new_pattern(site: Site) -> list[str]:
    """Return the streams that a new subscription begins with."""
    name = f"n{site.objects.calls}"
    await site.subscribe({**PULL, "pattern": "events/*"}, name)
    return sorted(await site.acked(name))


def known_rows(site: Site) -> int:
    """Return how many rows of streams the index has, or 0 without an index."""
    sql = site.objects._host(INDEX_NAME).sql  # pyright: ignore[reportPrivateUsage]
    try:
        return int(str(sql.exec("SELECT COUNT(*) FROM streams")[0][0]))
    except SqlError:
        return 0


async def test_a_native_append_that_is_told_after_the_deletion(site: Site) -> None:
    """DS-15: The deleted stream stays forgotten and wakes nobody."""
    await site.ask("PUT", "events/a", [])
    await subscribe(site)
    await overtaken(
        site,
        "subscriptions.appended",
        lambda: append(site, "events/a", "one"),
        lambda: manager(site).delete_stream("events/a"),
    )
    assert await site.acked() == {}
    assert await events(site) == []
    assert await paths_of_a_new_pattern(site) == []


async def test_an_append_that_the_worker_tells_after_the_deletion(site: Site) -> None:
    """DS-15: The same holds for a stream without a subscription, and before the first subscription."""

    async def make_and_delete(path: str) -> None:
        await overtaken(
            site, "subscriptions.appended", lambda: site.ask("PUT", path, [1]), lambda: site.ask("DELETE", path)
        )

    await make_and_delete("events/a")
    await subscribe(site, pattern="others/*")
    await make_and_delete("events/b")
    assert await paths_of_a_new_pattern(site) == []


async def test_a_telling_after_an_expiry(site: Site) -> None:
    """DS-15: An expired stream stays forgotten too."""
    await put(site, "events/a", **{"stream-ttl": "5"})
    await subscribe(site)

    async def expire() -> None:
        await site.clock.advance(10)
        assert (await site.ask("GET", "events/a"))[0] == 404
        await site.clock.advance(61)
        await settled()

    await overtaken(site, "subscriptions.appended", lambda: append(site, "events/a", "one"), expire)
    assert await site.acked() == {}
    assert await events(site) == ["events/a"]  # an alarm has told while the stream was there
    assert await paths_of_a_new_pattern(site) == []


async def test_a_fork_that_is_told_after_its_deletion(site: Site) -> None:
    """DS-15: A deleted fork stays forgotten too."""
    await subscribe(site)
    await overtaken(
        site,
        "subscriptions.appended",
        lambda: put(site, "events/fork", **{"stream-forked-from": "/v1/stream/sources/a"}),
        lambda: site.ask("DELETE", "events/fork"),
    )
    assert await site.acked() == {}
    assert await events(site) == []


async def test_a_telling_of_an_earlier_life(site: Site) -> None:
    """DS-15: A late report does not change the path's next stream, whose first data is new. Neither does a late deletion."""
    await site.ask("PUT", "events/a", [1, 2])
    await subscribe(site)

    async def begin_anew() -> None:
        await manager(site).delete_stream("events/a")
        await site.ask("PUT", "events/a", [])

    await overtaken(site, "subscriptions.appended", lambda: append(site, "events/a", "late"), begin_anew)
    assert await events(site) == []
    assert await site.acked() == {"events/a": offset_of(3, is_start=True)}
    await overtaken(
        site,
        "subscriptions.gone",
        lambda: manager(site).delete_stream("events/a"),
        lambda: site.ask("PUT", "events/a", [4]),
    )
    assert list(await site.acked()) == ["events/a"]
    assert await events(site) == ["events/a"]


async def test_an_unsubscription_before_the_telling(site: Site) -> None:
    """DS-15: A deleted stream stays unknown to the next subscription, whoever watched it before."""
    await site.ask("PUT", "events/a", [])
    await subscribe(site)

    async def leave() -> None:
        assert (await site.ask("DELETE", SUBSCRIPTION))[0] == 204
        assert (await site.ask("DELETE", "events/a"))[0] == 204

    await overtaken(site, "subscriptions.appended", lambda: append(site, "events/a", "one"), leave)
    assert await paths_of_a_new_pattern(site) == []


@pytest.mark.parametrize("asks", ["a name", "a pattern", "a check"])
async def test_an_answer_that_is_older_than_the_deletion(site: Site, asks: str) -> None:
    """DS-15: The stream is deleted while its answer to the index is on the way, and stays forgotten."""
    await subscribe(site, pattern="others/*")
    await append(site, "events/a", "one")
    if asks == "a check":
        await site.ask("POST", "events/a", 2)
        await subscribe_more(site)

    async def delete() -> None:
        assert (await site.ask("DELETE", "events/a"))[0] == 204

    async def ask() -> None:
        if asks == "a name":
            await site.subscribe({**PULL, "pattern": None, "streams": ["events/a"]}, "t")
        elif asks == "a pattern":
            await site.subscribe(PULL, "t")
            await site.ask("POST", "events/a", 2)
            await moment(site)
        else:
            await site.clock.advance(8 * 86_400)
        await settled()

    await overtaken(site, "protocol.stand", ask, delete, is_reply=True)
    found = await site.acked("t")
    assert found in ({}, {"events/a": offset_of(1, is_start=True)}), found
    assert await paths_of_a_new_pattern(site) == []
    await site.ask("PUT", "events/a", ["new"])
    assert (await site.ask("POST", "__ds/subscriptions/t/claim", {"worker": "w"}))[0] == 200


async def subscribe_more(site: Site) -> None:
    await site.subscribe(PULL, "t")
    await moment(site)


async def test_the_traces_of_streams_that_are_gone_go(site: Site) -> None:
    """DS-15: The index remembers an ended life for an hour, and a name as long as a subscription has it."""
    await subscribe(site, streams=["named"])
    before = known_rows(site)
    for number in range(5):
        await site.ask("PUT", f"events/{number}", [1])
        await site.ask("DELETE", f"events/{number}")
    assert await site.acked() == {"named": offset_of(0)}
    assert known_rows(site) == before + 5
    await site.clock.advance(2 * 3_600)
    await settled()
    assert known_rows(site) == before
