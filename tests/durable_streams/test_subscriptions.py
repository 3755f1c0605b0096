"""Subscriptions in process: a namespace whose webhooks are recorded."""

import asyncio
import json
from typing import Any

import pytest

from agents_store_cloudflare import (
    DurableObjectStreamManager,
    DurableStreams,
    HttpRequest,
    StreamGateway,
    StreamObject,
    SubscriptionOptions,
)
from agents_store_cloudflare.durable_streams.offsets import offset_of
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.testing import FakeClock, LocalObjects
from tests.durable_streams.outbound import World

ROOT = "https://streams.example/v1/stream"
HOOK = {
    "type": "webhook",
    "pattern": "events/*",
    "webhook": {"url": "https://hooks.example/wake"},
    "lease_ttl_ms": 5_000,
}
PULL = {"type": "pull-wake", "pattern": "events/*", "wake_stream": "wake/pool", "lease_ttl_ms": 5_000}
Answer = tuple[int, Any]


class Site:
    """A gateway whose subscriptions are on."""

    def __init__(self) -> None:
        self.clock, self.world = FakeClock(), World()
        self.objects = LocalObjects(StreamObject, clock=self.clock, outbound=self.world)
        self.denied: set[tuple[str, str]] = set()
        face = DurableStreams(self.objects, subscriptions=SubscriptionOptions(), sleep=self.clock.sleep)
        self.gateway = StreamGateway(self.objects, authorize=self.may, faces=[face])

    def may(self, _request: object, stream_id: str, action: str) -> bool:
        return (stream_id, action) not in self.denied

    async def ask(self, method: str, path: str, value: Any = None, token: str | None = None) -> Answer:
        headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
        body = b"" if value is None else json.dumps(value).encode()
        request = HttpRequest(method=method, url=f"{ROOT}/{path}", headers=headers, body=body)
        answer = await self.gateway.handle(request)
        await settled()
        is_json = answer.body and answer.headers["content-type"].startswith("application/j")
        return answer.status, json.loads(answer.body) if is_json else None

    async def subscribe(self, config: dict[str, Any], name: str = "s") -> Any:
        status, subscription = await self.ask("PUT", f"__ds/subscriptions/{name}", config)
        assert status == 201, subscription
        return subscription

    async def acked(self, name: str = "s") -> dict[str, str]:
        _, subscription = await self.ask("GET", f"__ds/subscriptions/{name}")
        return {link["path"]: link["acked_offset"] for link in subscription["streams"]}


async def settled() -> None:
    """Let all begun work run until it waits."""
    for _ in range(60):
        await asyncio.sleep(0)


@pytest.fixture
def site() -> Site:
    return Site()


async def test_a_webhook_that_is_done(site: Site) -> None:
    """DS-15: New data causes one wake. The answer `done` acknowledges the shown data."""
    site.world.answer = '{"done": true}'
    await site.ask("PUT", "events/old", [1, 2])
    await site.subscribe(HOOK)
    assert await site.acked() == {"events/old": offset_of(2)}
    await site.ask("PUT", "events/new", [1])
    await site.ask("PUT", "other", [1])
    [wake] = site.world.sent
    assert [link["path"] for link in wake["streams"] if link["has_pending"]] == ["events/new"]
    assert wake["callback_url"] == f"{ROOT}/__ds/subscriptions/s/callback"
    assert site.world.headers[0]["webhook-signature"].startswith(f"t={site.clock.now_ms() // 1000},kid=ds_")
    assert (await site.acked())["events/new"] == offset_of(1)
    await site.ask("POST", "events/old", 3)
    assert [wake["generation"] for wake in site.world.sent] == [1, 2]


async def test_a_webhook_that_calls_back(site: Site) -> None:
    """DS-15: While it works, nothing wakes it. Then the data of the meantime does. Calls of other wakes are fenced."""
    await site.subscribe(HOOK)
    await site.ask("PUT", "events/a", [1])
    await site.ask("POST", "events/a", 2)
    [wake] = site.world.sent
    spoken = {"wake_id": wake["wake_id"], "generation": wake["generation"]}
    path, token = "__ds/subscriptions/s/callback", wake["callback_token"]
    assert (await site.ask("POST", path, spoken))[0] == 401
    assert (await site.ask("POST", path, spoken, token + "x"))[0] == 401
    assert (await site.ask("POST", path, {**spoken, "acks": [{"stream": "events/a", "offset": offset_of(9)}]}, token))[
        0
    ] == 400
    acks = [{"stream": "events/a", "offset": offset_of(1)}]
    assert await site.ask("POST", path, {**spoken, "acks": acks}, token) == (200, {"ok": True, "next_wake": False})
    done = {**spoken, "acks": acks, "done": True}
    assert await site.ask("POST", path, done, token) == (200, {"ok": True, "next_wake": True})
    status, error = await site.ask("POST", path, done, token)
    assert (status, error["error"]["code"]) == (409, "FENCED")
    assert len(site.world.sent) == 2
    assert await site.acked() == {"events/a": offset_of(1)}


async def test_a_lease_that_runs_out(site: Site) -> None:
    """DS-15: A worker that does not answer in time is woken anew."""
    await site.subscribe(HOOK)
    await site.ask("PUT", "events/a", [1])
    await site.clock.advance(4.9)
    await settled()
    assert len(site.world.sent) == 1
    await site.clock.advance(0.2)
    await settled()
    assert [wake["generation"] for wake in site.world.sent] == [1, 2]


async def test_deliveries_that_fail(site: Site) -> None:
    """DS-15: The same wake is sent again after growing pauses, also by a restarted object."""
    site.world.status = 302
    await site.subscribe(HOOK)
    await site.ask("PUT", "events/a", [1])
    assert (await site.ask("GET", "__ds/subscriptions/s"))[1]["status"] == "failed"
    for seconds in (1.3, 2.5, 4.9):
        site.objects.restart()
        await site.clock.advance(seconds)
        await settled()
    assert [wake["generation"] for wake in site.world.sent] == [1] * 4
    site.world.status = 200
    await site.clock.advance(12)
    await settled()
    assert (await site.ask("GET", "__ds/subscriptions/s"))[1]["status"] == "active"


async def test_a_target_that_has_moved(site: Site) -> None:
    """DS-16: Its addresses are checked before each delivery. Nothing is sent to an address that is not public."""
    await site.subscribe(HOOK)
    site.world.addresses = ["93.184.216.34", "10.0.0.1"]
    await site.ask("PUT", "events/a", [1])
    assert site.world.sent == []
    site.world.addresses = ["93.184.216.34"]
    await site.clock.advance(1.3)
    await settled()
    assert len(site.world.sent) == 1


async def test_refused_targets(site: Site) -> None:
    """DS-16: A bad target is refused with its own code when the subscription is made."""
    for url in ("http://hooks.example/", "https://169.254.169.254/", "http://127.0.0.1/"):
        status, error = await site.ask("PUT", "__ds/subscriptions/s", {**HOOK, "webhook": {"url": url}})
        assert (status, error["error"]["code"]) == (400, "WEBHOOK_URL_REJECTED")


async def test_the_public_key(site: Site) -> None:
    """DS-16: `jwks.json` has the public half of the signing key, and never the private half."""
    subscription = await site.subscribe(HOOK)
    status, keys = await site.ask("GET", "__ds/jwks.json")
    assert (status, keys["keys"][0]["kid"]) == (200, subscription["webhook"]["signing"]["kid"])
    assert "secret" not in json.dumps([keys, subscription])


async def test_pulling(site: Site) -> None:
    """DS-15: Each wake is one event with one holder. Data that is left after a release wakes again."""
    await site.ask("PUT", "wake/pool", [])
    await site.subscribe(PULL)
    claim = "__ds/subscriptions/s/claim"
    assert (await site.ask("POST", claim, {"worker": "w1"}))[1]["error"]["code"] == "NO_PENDING_WORK"
    await site.ask("PUT", "events/a", [1])
    await site.ask("POST", "events/a", 2)
    _, events = await site.ask("GET", "wake/pool")
    assert [(event["type"], event["stream"], event["generation"]) for event in events] == [("wake", "events/a", 1)]
    _, held = await site.ask("POST", claim, {"worker": "w1"})
    status, busy = await site.ask("POST", claim, {"worker": "w2"})
    assert (status, busy["error"]["code"], busy["error"]["current_holder"]) == (409, "ALREADY_CLAIMED", "w1")
    spoken = {"wake_id": held["wake_id"], "generation": held["generation"]}
    assert (await site.ask("POST", "__ds/subscriptions/s/release", spoken, held["token"]))[0] == 204
    assert len((await site.ask("GET", "wake/pool"))[1]) == 2
    _, again = await site.ask("POST", claim, {"worker": "w2"})
    assert (again["generation"], again["streams"][0]["tail_offset"]) == (2, offset_of(2))
    assert (await site.ask("POST", "__ds/subscriptions/s/ack", spoken, held["token"]))[1]["error"]["code"] == "FENCED"
    await site.clock.advance(5.1)
    await settled()
    assert len((await site.ask("GET", "wake/pool"))[1]) == 3


@pytest.mark.parametrize("leave", ["events/a", "named"])
async def test_an_ack_of_a_stream_that_is_gone(site: Site, leave: str) -> None:
    """DS-15: A stream that was deleted since the wake keeps no ack of the other streams from its effect."""
    await site.ask("PUT", "wake/pool", [])
    await site.subscribe({**PULL, "streams": ["named"]})
    paths = ("events/a", "events/b", "named")
    for path in paths:
        await site.ask("PUT", path, [1])
    _, held = await site.ask("POST", "__ds/subscriptions/s/claim", {"worker": "w1"})
    assert (await site.ask("DELETE", leave))[0] == 204
    acks = [{"stream": path, "offset": offset_of(1)} for path in paths]
    spoken = {"wake_id": held["wake_id"], "generation": held["generation"]}
    ack = "__ds/subscriptions/s/ack"
    unknown = [*acks, {"stream": "other", "offset": offset_of(1)}]
    assert (await site.ask("POST", ack, {**spoken, "acks": unknown}, held["token"]))[0] == 400
    status, answer = await site.ask("POST", ack, {**spoken, "acks": acks, "done": True}, held["token"])
    assert (status, answer) == (200, {"ok": True, "next_wake": False})
    acked = await site.acked()
    assert {path: acked[path] for path in paths if path != leave} == {
        path: offset_of(1) for path in paths if path != leave
    }
    assert ("events/a" in acked) is (leave != "events/a")


async def test_a_webhook_whose_stream_is_deleted_meanwhile(site: Site) -> None:
    """DS-15: Its answer `done` acknowledges the other streams, and it is not sent again."""
    await site.ask("PUT", "events/b", [1])
    await site.subscribe(HOOK)
    face = DurableStreams(site.objects, subscriptions=SubscriptionOptions(), sleep=site.clock.sleep)
    beside = StreamGateway(site.objects, authorize=site.may, faces=[face])

    async def delete() -> None:
        site.world.while_working = None
        await beside.handle(HttpRequest(method="DELETE", url=f"{ROOT}/events/a"))

    site.world.answer, site.world.while_working = '{"done": true}', delete
    await site.ask("PUT", "events/a", [1])
    assert await site.acked() == {"events/b": offset_of(1)}
    await site.clock.advance(60)
    await settled()
    assert len(site.world.sent) == 1


async def test_configurations(site: Site) -> None:
    """DS-15: An equal configuration again is 200, a different one 409. Streams are added and removed by name."""
    await site.subscribe({**HOOK, "streams": ["b", "a"]})
    assert (await site.ask("PUT", "__ds/subscriptions/s", {**HOOK, "streams": ["a", "b"]}))[0] == 200
    assert (await site.ask("PUT", "__ds/subscriptions/s", HOOK))[0] == 409
    assert (await site.ask("POST", "__ds/subscriptions/s/streams", {"streams": ["events/x", "c/d"]}))[0] == 204
    assert (await site.ask("DELETE", "__ds/subscriptions/s/streams/c%2Fd"))[0] == 204
    assert sorted(await site.acked()) == ["a", "b", "events/x"]
    assert (await site.ask("DELETE", "__ds/subscriptions/s"))[0] == 204
    assert (await site.ask("GET", "__ds/subscriptions/s"))[0] == 404
    for broken in (
        {},
        {"type": "webhook", "pattern": "x"},
        {**PULL, "lease_ttl_ms": 10},
        {**PULL, "wake_stream": "__x"},
    ):
        assert (await site.ask("PUT", "__ds/subscriptions/t", broken))[0] == 400


async def test_who_may_subscribe(site: Site) -> None:
    """DS-17: `authorize` is asked for the subscription, its streams and its wake stream."""
    for denial in (("__ds/subscriptions/s", "create"), ("a", "read"), ("wake/pool", "append")):
        site.denied = {denial}
        assert (await site.ask("PUT", "__ds/subscriptions/s", {**PULL, "streams": ["a"]}))[0] == 403
    site.denied = {("__ds/subscriptions/s", "read"), ("__ds/subscriptions/s", "delete"), ("x", "read")}
    await site.subscribe(PULL)
    for method, path in (("GET", ""), ("DELETE", "")):
        assert (await site.ask(method, f"__ds/subscriptions/s{path}"))[0] == 403
    assert (await site.ask("POST", "__ds/subscriptions/s/claim", {"worker": "w"}))[0] == 403
    assert (await site.ask("POST", "__ds/subscriptions/s/streams", {"streams": ["x"]}))[0] == 403


async def test_the_index_forgets_streams_that_are_gone(site: Site) -> None:
    """DS-15: Streams that expired or were deleted by native calls are neither listed nor woken for."""
    await site.ask("PUT", "wake/pool", [])
    await site.subscribe({**PULL, "streams": ["named"]})
    headers = {"content-type": "application/json", "stream-ttl": "1"}
    request = HttpRequest(method="PUT", url=f"{ROOT}/events/expires", headers=headers, body=b"[1]")
    assert (await site.gateway.handle(request)).status == 201
    await site.ask("PUT", "events/deleted", [1])
    await site.ask("PUT", "events/stays", [1])
    await site.ask("DELETE", "events/deleted")
    assert sorted(await site.acked()) == ["events/expires", "events/stays", "named"]
    await site.clock.advance(2 * 3_600)
    await settled()
    assert sorted(await site.acked()) == ["events/stays", "named"]
    await DurableObjectStreamManager(site.objects).delete_stream("events/stays")
    await site.clock.advance(8 * 86_400)
    await settled()
    await site.clock.advance(8 * 86_400)
    await settled()
    assert sorted(await site.acked()) == ["named"]


async def test_an_append_while_a_subscription_is_made(site: Site) -> None:
    """DS-15: An append after the index has asked for the stream's position is reported."""
    async with DurableObjectStreamManager(site.objects).create_writer("s", "a", "t"):
        pass
    await site.ask("PUT", "wake/pool", [])
    call, go = site.objects.call, asyncio.Event()

    async def slow_reply(name: str, request: str) -> str:
        reply = await call(name, request)
        if name == "s":
            await go.wait()
        return reply

    site.objects.call = slow_reply  # type: ignore[method-assign]
    config = {"type": "pull-wake", "streams": ["s"], "wake_stream": "wake/pool"}
    making = asyncio.ensure_future(site.ask("PUT", "__ds/subscriptions/s", config))
    await settled()
    appending = asyncio.ensure_future(site.ask("POST", "s", [{"type": "new"}]))
    await settled()
    go.set()
    assert [(await making)[0], (await appending)[0]] == [201, 204]
    await settled()
    assert [event["stream"] for event in (await site.ask("GET", "wake/pool"))[1]] == ["s"]


@pytest.mark.parametrize("lost", ["claim", "acknowledge"])
async def test_a_request_whose_reply_is_lost(site: Site, lost: str) -> None:
    """DS-15, SM-9: A repeated claim or ack gets its first answer, also after the lease has another holder."""
    await site.ask("PUT", "wake/pool", [])
    await site.subscribe(PULL)
    await site.ask("PUT", "events/a", [1])
    call, losses = site.objects.call, [lost]

    async def lossy(name: str, request: str) -> str:
        reply = await call(name, request)
        if losses and f'"subscriptions.{losses[0]}"' in request:
            losses.pop()
            raise ObjectCallError("Network connection lost.", retryable=True)
        return reply

    async def asked(path: str, value: Any, token: str | None = None) -> Answer:
        task = asyncio.ensure_future(site.ask("POST", f"__ds/subscriptions/s/{path}", value, token))
        await settled()
        await site.clock.advance(1)
        return await task

    site.objects.call = lossy  # type: ignore[method-assign]
    status, held = await asked("claim", {"worker": "w1"})
    assert status == 200
    spoken = {"wake_id": held["wake_id"], "generation": held["generation"]}
    acks = [{"stream": "events/a", "offset": offset_of(1)}]
    answer = await asked("ack", {**spoken, "acks": acks, "done": True}, held["token"])
    assert answer == (200, {"ok": True, "next_wake": False})


async def test_off_they_cost_nothing() -> None:
    """DS-14: Without the option there is nothing below `__ds`, and an append calls only its own object."""
    objects = LocalObjects(StreamObject, clock=FakeClock())
    gateway = StreamGateway(
        objects, authorize=lambda _request, _stream_id, _action: True, faces=[DurableStreams(objects)]
    )
    headers = {"content-type": "application/json"}
    for method, path, status in (
        ("PUT", "events/a", 201),
        ("POST", "events/a", 204),
        ("PUT", "__ds/subscriptions/s", 404),
    ):
        request = HttpRequest(method=method, url=f"{ROOT}/{path}", headers=headers, body=b"1")
        assert (await gateway.handle(request)).status == status
    assert objects.calls == 0
