"""Requests to the subscription index whose replies are lost, and what others do before they come again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.durable_streams.subscriptions.index_object import INDEX_NAME, PREFIX
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.objects.rpc_text import decode_reply, encode_request
from tests.durable_streams.test_subscriptions import HOOK, PULL, Answer, Site, settled

OTHER = {**PULL, "pattern": "others/*"}
SUBSCRIPTION = "__ds/subscriptions/s"


@pytest.fixture
async def site() -> Site:
    site = Site()
    await site.ask("PUT", "wake/pool", [])
    await site.ask("PUT", "named", [])
    return site


async def disturbed(site: Site, op: str, ask: Callable[[], Awaitable[Answer]], others: Callable[[], Any]) -> Answer:
    """Return the answer to a request whose first reply from the index is lost. `others` run before the request is sent again."""
    call, losses = site.objects.call, [op]

    async def lossy(name: str, request: str) -> str:
        reply = await call(name, request)
        if losses and f'"{PREFIX}{losses[0]}"' in request:
            losses.pop()
            await others()
            raise ObjectCallError("Network connection lost.", retryable=True)
        return reply

    site.objects.call = lossy  # type: ignore[method-assign]
    task = asyncio.ensure_future(ask())
    for _ in range(200):
        await settled()
        if task.done():
            break
        await site.clock.advance(0.1)
    site.objects.call = call  # type: ignore[method-assign]
    return await task


async def test_a_creation_that_comes_again_after_a_deletion(site: Site) -> None:
    """DS-15: The answer is the first one, and the subscription stays deleted."""

    async def others() -> None:
        assert (await site.ask("GET", SUBSCRIPTION))[0] == 200
        assert (await site.ask("DELETE", SUBSCRIPTION))[0] == 204

    status, made = await disturbed(site, "put", lambda: site.ask("PUT", SUBSCRIPTION, PULL), others)
    assert (status, made["pattern"]) == (201, "events/*")
    assert (await site.ask("GET", SUBSCRIPTION))[0] == 404


async def test_a_creation_that_comes_again_after_another_one(site: Site) -> None:
    """DS-15: The subscription was made, deleted and made differently.

    The first request gets its first answer, and the second subscription stays.
    """

    async def others() -> None:
        await site.ask("DELETE", SUBSCRIPTION)
        assert (await site.ask("PUT", SUBSCRIPTION, OTHER))[0] == 201

    status, made = await disturbed(site, "put", lambda: site.ask("PUT", SUBSCRIPTION, HOOK), others)
    assert (status, made["type"], made["webhook"]["url"]) == (201, "webhook", "https://hooks.example/wake")
    assert (await site.ask("GET", SUBSCRIPTION))[1]["pattern"] == "others/*"


async def test_a_creation_that_comes_again(site: Site) -> None:
    """DS-15: A repetition of the request that created it gets 201 again."""

    async def others() -> None:
        assert (await site.ask("PUT", SUBSCRIPTION, PULL))[0] == 200

    assert (await disturbed(site, "put", lambda: site.ask("PUT", SUBSCRIPTION, PULL), others))[0] == 201


async def test_a_deletion_that_comes_again(site: Site) -> None:
    """DS-15: A subscription that somebody has made since stays."""
    await site.subscribe(PULL)

    async def others() -> None:
        assert (await site.ask("PUT", SUBSCRIPTION, OTHER))[0] == 201

    assert (await disturbed(site, "delete", lambda: site.ask("DELETE", SUBSCRIPTION), others))[0] == 204
    assert (await site.ask("GET", SUBSCRIPTION))[1]["pattern"] == "others/*"


async def test_links_that_come_again(site: Site) -> None:
    """DS-15: A stream that was removed since stays removed, and a stream that was added since stays."""
    await site.subscribe(PULL)
    streams, named = f"{SUBSCRIPTION}/streams", f"{SUBSCRIPTION}/streams/named"

    async def unlink() -> None:
        assert list(await site.acked()) == ["named"]
        assert (await site.ask("DELETE", named))[0] == 204

    async def link() -> None:
        assert (await site.ask("POST", streams, {"streams": ["named"]}))[0] == 204

    async def remove() -> None:
        assert (await site.ask("DELETE", SUBSCRIPTION))[0] == 204

    linking = {"streams": ["named"]}
    assert (await disturbed(site, "link", lambda: site.ask("POST", streams, linking), unlink))[0] == 204
    assert await site.acked() == {}
    await link()
    assert (await disturbed(site, "unlink", lambda: site.ask("DELETE", named), link))[0] == 204
    assert list(await site.acked()) == ["named"]
    for op, ask in (
        ("link", lambda: site.ask("POST", streams, {"streams": ["more"]})),
        ("unlink", lambda: site.ask("DELETE", named)),
    ):
        assert (await disturbed(site, op, ask, remove))[0] == 204
        await site.subscribe({**PULL, "streams": ["named"]})


async def test_a_claim_that_comes_again_after_the_subscription_was_made_anew(site: Site) -> None:
    """DS-15: The wake of a deleted subscription is not the wake of the next one with its id."""
    await site.subscribe(PULL)
    await site.ask("PUT", "events/a", [1])

    async def others() -> None:
        await site.ask("DELETE", SUBSCRIPTION)
        await site.subscribe({**PULL, "pattern": "events/a"})
        await site.ask("POST", "events/a", [2])

    claim = f"{SUBSCRIPTION}/claim"
    status, _ = await disturbed(site, "claim", lambda: site.ask("POST", claim, {"worker": "w1"}), others)
    assert status == 404
    assert (await site.ask("POST", claim, {"worker": "w2"}))[0] == 200


async def test_each_life_of_a_subscription_writes_its_own_events(site: Site) -> None:
    """DS-15: A subscription made anew in the same millisecond wakes its workers again."""
    for _ in range(2):
        await site.subscribe(PULL)
        await site.ask("PUT", "events/a", [1])
        await site.ask("POST", "events/a", [2])
        await site.ask("DELETE", SUBSCRIPTION)
    _, events = await site.ask("GET", "wake/pool")
    assert [event["generation"] for event in events] == [1, 1]


async def test_a_name_of_a_request_belongs_to_it(site: Site) -> None:
    """DS-15: Another request under the name of an earlier one is refused."""

    async def delete(subscription_id: str) -> Any:
        arguments = {"streamId": INDEX_NAME, "id": subscription_id, "commitId": "c1"}
        return decode_reply(await site.objects.call(INDEX_NAME, encode_request(f"{PREFIX}delete", arguments)))

    await site.subscribe(PULL)
    await delete("s")
    await delete("s")
    with pytest.raises(InvalidArgumentError, match="used for another call"):
        await delete("t")


async def test_many_requests_between(site: Site) -> None:
    """DS-15: The index still remembers a request after a hundred others, and after a restart."""
    await site.subscribe(PULL)

    async def others() -> None:
        await site.ask("PUT", SUBSCRIPTION, OTHER)
        for number in range(50):
            await site.ask("PUT", f"__ds/subscriptions/more{number}", PULL)
            await site.ask("DELETE", f"__ds/subscriptions/more{number}")

    assert (await disturbed(site, "delete", lambda: site.ask("DELETE", SUBSCRIPTION), others))[0] == 204
    assert (await site.ask("GET", SUBSCRIPTION))[1]["pattern"] == "others/*"
