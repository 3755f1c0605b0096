"""The operations of the Durable Streams protocol on subscriptions."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from agents_store_cloudflare import DurableStreams, HttpRequest, StreamGateway, StreamObject, SubscriptionOptions
from agents_store_cloudflare.testing import FakeClock, LocalObjects
from tests.instruments.operations import NOW_MS, Call, Operation, Role, plain
from tests.instruments.seams import Seam, WatchedNamespace

__all__ = ["SUBSCRIPTIONS", "SubscriptionWorld"]

ROOT = "https://streams.example/v1/stream"
PULL = {"type": "pull-wake", "pattern": "events/*", "wake_stream": "wake/pool", "lease_ttl_ms": 5_000}
_BY_CHANCE = re.compile(r"w_[0-9a-f]{16}|\b[0-9]+\.[0-9a-f]{16}\.[\w-]+|(?<='token': ')[^']*")


async def no_pause(_seconds: float) -> None:
    await asyncio.sleep(0)


class SubscriptionWorld:
    """Two streams of events, a wake stream, and two subscriptions; the workers of `held` have claimed it."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW_MS)
        self.seam = Seam()
        self.objects = LocalObjects(StreamObject, clock=self.clock)
        self.mine = self._client(WatchedNamespace(self.objects, self.seam))
        self.theirs = self._client(self.objects)
        self.held: Any = None

    def _client(self, objects: Any) -> StreamGateway:
        face = DurableStreams(objects, subscriptions=SubscriptionOptions(), sleep=no_pause)
        return StreamGateway(objects, authorize=lambda _request, _stream_id, _action: True, faces=[face])

    @classmethod
    async def open(cls) -> SubscriptionWorld:
        world = cls()
        for path in ("wake/pool", "events/a", "events/b", "named"):
            await ask(world.theirs, "PUT", path, [])
        for name in ("s", "held"):
            await ask(world.theirs, "PUT", f"__ds/subscriptions/{name}", {**PULL, "streams": ["named"]})
        await ask(world.theirs, "POST", "events/a", [1])
        await settle()
        world.held = (await ask(world.theirs, "POST", "__ds/subscriptions/held/claim", {"worker": "w"}))[1]
        return world

    async def picture(self) -> str:
        await settle()
        shown = [await ask(self.theirs, "GET", f"__ds/subscriptions/{name}") for name in ("s", "held", "new")]
        return _BY_CHANCE.sub("*", plain(shown))

    async def left_over(self) -> list[str]:
        return []

    async def probe(self, client: Any) -> None:
        assert (await ask(client, "GET", "__ds/jwks.json"))[0] in (200, 500)

    def close(self) -> None:
        self.objects.close()


async def settle() -> None:
    for _ in range(40):
        await asyncio.sleep(0)


async def ask(client: StreamGateway, method: str, path: str, value: Any = None, token: str | None = None) -> Any:
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
    body = b"" if value is None else json.dumps(value).encode()
    answer = await client.handle(HttpRequest(method=method, url=f"{ROOT}/{path}", headers=headers, body=body))
    is_json = answer.body and answer.headers["content-type"].startswith("application/j")
    return answer.status, json.loads(answer.body) if is_json else None


def _op(name: str, method: str, path: str, value: Any = None) -> Operation:
    async def prepare(_world: SubscriptionWorld, client: StreamGateway) -> Call:
        async def call() -> str:
            return _BY_CHANCE.sub("*", plain(await ask(client, method, f"__ds/subscriptions/{path}", value)))

        return Call(call)

    return Operation(name, (), prepare)


def _of_wake(name: str, verb: str, **more: Any) -> Operation:
    async def prepare(world: SubscriptionWorld, client: StreamGateway) -> Call:
        wake = {"wake_id": world.held["wake_id"], "generation": world.held["generation"], **more}

        async def call() -> str:
            path = f"__ds/subscriptions/held/{verb}"
            return _BY_CHANCE.sub("*", plain(await ask(client, "POST", path, wake, world.held["token"])))

        return Call(call)

    return Operation(name, (), prepare)


SUBSCRIPTIONS = Role(
    "subscriptions",
    (),
    frozenset(),
    False,
    SubscriptionWorld.open,
    (
        _op("make", "PUT", "new", PULL),
        _op("make another of this name", "PUT", "new", {**PULL, "pattern": "events/b"}),
        _op("make what is there", "PUT", "s", {**PULL, "streams": ["named"]}),
        _op("delete", "DELETE", "s"),
        _op("delete the new one", "DELETE", "new"),
        _op("delete the held one", "DELETE", "held"),
        _op("make the held one otherwise", "PUT", "held", {**PULL, "lease_ttl_ms": 6_000}),
        _op("link", "POST", "s/streams", {"streams": ["named", "events/b"]}),
        _op("link what is named", "POST", "s/streams", {"streams": ["named"]}),
        _op("unlink", "DELETE", "s/streams/named"),
        _op("claim", "POST", "s/claim", {"worker": "w1"}),
        _op("claim as another", "POST", "s/claim", {"worker": "w2"}),
        _of_wake("acknowledge", "ack"),
        _of_wake("acknowledge as done", "ack", done=True),
        _of_wake("release", "release"),
    ),
)
