"""The subscription index in its object: it answers the face, sends webhooks, and writes to wake streams."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from agents_store_cloudflare.contract.errors import AgentsStoreError, InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.subscriptions.config import SubscriptionConfig
from agents_store_cloudflare.durable_streams.subscriptions.deliveries import Webhooks, is_done
from agents_store_cloudflare.durable_streams.subscriptions.table import Subscription, SubscriptionTable, WakeState
from agents_store_cloudflare.objects import ObjectCallError, ObjectHost, with_retry
from agents_store_cloudflare.objects.rpc_text import WireMessage, decode_reply, encode_reply, encode_request

__all__ = ["INDEX_NAME", "PREFIX", "SubscriptionIndex"]

INDEX_NAME: Final = "__ds"
"""The reserved object; no stream's id begins with `__`."""

PREFIX: Final = "subscriptions."


class SubscriptionIndex:
    """All subscriptions of a namespace. What it has to send is in its tables first: an alarm sends what a crash has left."""

    def __init__(self, host: ObjectHost, logger: logging.Logger) -> None:
        self._host = host
        self._logger = logger
        self._table = SubscriptionTable(host.sql)
        self._webhooks = Webhooks(host.outbound, self._table, now_ms=host.now_ms)
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm_ms: int | None = None
        self._operations: Mapping[str, Callable[[dict[str, Any]], Awaitable[JsonValue]]] = {
            "put": self._put,
            "get": self._get,
            "delete": self._delete,
            "link": self._link,
            "unlink": self._unlink,
            "appended": self._appended,
            "gone": self._gone,
            "claim": self._claim,
            "acknowledge": self._acknowledge,
            "keys": self._keys,
        }

    def is_there(self) -> bool:
        """Whether this object is the index: it has its tables."""
        return self._table.is_there()

    async def answer(self, message: WireMessage) -> str:
        """The reply to one call whose name begins with `PREFIX`; a refusal is in the reply."""
        arguments: dict[str, Any] = dict(message.head)
        operation = self._operations.get(arguments["op"].removeprefix(PREFIX))
        if operation is None:
            raise InvalidArgumentError("the index has no such operation; does the Worker run an older version?")
        try:
            self._send(self._table.expire(self._host.now_ms()))
            return encode_reply({"value": await operation(arguments)})
        except Refusal as refusal:
            response = refusal.response()
            answer: JsonObject = {
                "status": response.status,
                "headers": dict(response.headers),
                "body": str(response.body),
            }
            return encode_reply({"answer": answer})
        finally:
            self._set_alarm()

    async def alarm(self) -> None:
        """Leases that ran out, deliveries to try again."""
        self._alarm_ms = None
        self._send(self._table.expire(self._host.now_ms()))
        self._set_alarm()

    async def _put(self, arguments: dict[str, Any]) -> JsonValue:
        config = SubscriptionConfig.from_json(arguments["config"])
        key = await self._webhooks.key() if config.type == "webhook" else None
        tails = {path: await self._tail(path) for path in config.streams}
        state = WakeState(
            created_ms=self._host.now_ms(), root_url=arguments["rootUrl"], allow_loopback=arguments["allowLoopback"]
        )
        is_new = self._table.put(arguments["id"], config, tails, state)
        return {"isNew": is_new, "subscription": self._described(self._table.existing(arguments["id"]), key)}

    async def _get(self, arguments: dict[str, Any]) -> JsonValue:
        found = self._table.existing(arguments["id"])
        key = await self._webhooks.key() if found.config.type == "webhook" else None
        return self._described(found, key)

    async def _delete(self, arguments: dict[str, Any]) -> JsonValue:
        self._table.delete(arguments["id"])
        return None

    async def _link(self, arguments: dict[str, Any]) -> JsonValue:
        tails = {path: await self._tail(path) for path in arguments["streams"]}
        self._table.existing(arguments["id"])
        self._host.sql.transaction(lambda: self._table.link(arguments["id"], tails))
        return None

    async def _unlink(self, arguments: dict[str, Any]) -> JsonValue:
        self._table.existing(arguments["id"])
        self._table.unlink(arguments["id"], arguments["path"])
        return None

    async def _appended(self, arguments: dict[str, Any]) -> JsonValue:
        woken = self._table.appended(
            arguments["path"], arguments["tail"], is_new=arguments["isNew"], now_ms=self._host.now_ms()
        )
        self._send(woken)
        return None

    async def _gone(self, arguments: dict[str, Any]) -> JsonValue:
        if self._table.is_there():
            self._table.gone(arguments["path"])
        return None

    async def _claim(self, arguments: dict[str, Any]) -> JsonValue:
        held, token = self._table.claim(arguments["id"], arguments["worker"], self._host.now_ms())
        return {
            "wake_id": held.state.wake_id,
            "generation": held.state.generation,
            "token": token,
            "streams": [link.to_wake_json() for link in self._table.links(held.id)],
            "lease_ttl_ms": held.config.lease_ttl_ms,
        }

    async def _acknowledge(self, arguments: dict[str, Any]) -> JsonValue:
        following = self._table.acknowledge(
            arguments["id"],
            arguments["token"],
            arguments["wake"],
            self._host.now_ms(),
            is_release=arguments["isRelease"],
        )
        if following is not None:
            self._send([following])
        return {"ok": True, "next_wake": following is not None}

    async def _keys(self, _arguments: dict[str, Any]) -> JsonValue:
        return [(await self._webhooks.key()).public()]

    def _described(self, subscription: Subscription, key: Any) -> JsonObject:
        config, state = subscription.config, subscription.state
        webhook: JsonValue = None
        if key is not None:
            signing: JsonObject = {"alg": "ed25519", "kid": key.kid, "jwks_url": f"{state.root_url}/__ds/jwks.json"}
            webhook = {"url": config.webhook_url, "signing": signing}
        return {
            "id": subscription.id,
            "subscription_id": subscription.id,
            "type": config.type,
            "pattern": config.pattern,
            "streams": [link.to_json() for link in self._table.links(subscription.id)],
            "webhook": webhook,
            "wake_stream": config.wake_stream,
            "lease_ttl_ms": config.lease_ttl_ms,
            "created_at": _instant(state.created_ms),
            "status": "failed" if state.attempts else "active",
            "description": config.description,
        }

    def _send(self, woken: list[Subscription]) -> None:
        """Begin to deliver; each delivery is written down already, and an alarm stands for it."""
        for wake in woken:
            task = asyncio.ensure_future(self._deliver(wake))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, wake: Subscription) -> None:
        try:
            await (self._webhook(wake) if wake.config.type == "webhook" else self._wake_stream(wake))
        except Exception:
            self._logger.exception("a wake was not delivered: incident %s", secrets.token_hex(6))
        self._set_alarm()

    async def _webhook(self, wake: Subscription) -> None:
        snapshot = self._table.links(wake.id)
        try:
            answered = await self._webhooks.deliver(wake, snapshot)
        except (Refusal, OSError) as error:
            self._logger.warning("webhook of subscription %r: %s", wake.id, error)
            self._table.failed(wake, self._host.now_ms())
            return
        following = self._table.delivered(
            wake, is_done=is_done(answered), snapshot=snapshot, now_ms=self._host.now_ms()
        )
        if following is not None:
            self._send([following])

    async def _wake_stream(self, wake: Subscription) -> None:
        """One event into the wake stream, under a name of its own: sent twice, it is stored once."""
        pending = next((link.path for link in self._table.links(wake.id) if link.tail > link.acked), None)
        event = {
            "type": "wake",
            "subscription_id": wake.id,
            "stream": pending,
            "generation": wake.state.generation,
            "ts": self._host.now_ms(),
        }
        arguments: JsonObject = {
            "streamId": wake.config.wake_stream,
            "writer": f"subscription {wake.id} {wake.state.wake_id}",
            "writerSequence": 1,
            "expectedSequence": None,
            "fencingToken": None,
        }
        try:
            await self._ask(str(wake.config.wake_stream), encode_request("append", arguments, json.dumps(event)))
        except (AgentsStoreError, ObjectCallError) as error:
            self._logger.warning("wake stream of subscription %r: %s", wake.id, error)
            self._table.failed(wake, self._host.now_ms())
        else:
            self._table.announced(wake)

    async def _tail(self, path: str) -> int:
        known = self._table.tail_of(path)
        if known is not None:
            return known
        reply = await self._ask(path, encode_request("info", {"streamId": path}))
        info: dict[str, Any] | None = reply.head["ok"]
        return 0 if info is None else int(info["lastSequence"])

    async def _ask(self, name: str, request: str) -> WireMessage:
        siblings = self._host.siblings()
        return decode_reply(await with_retry(lambda: siblings.call(name, request)))

    def _set_alarm(self) -> None:
        due_ms = self._table.next_due_ms()
        if due_ms is not None and due_ms != self._alarm_ms:
            self._alarm_ms = due_ms
            self._host.set_alarm(due_ms)


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
