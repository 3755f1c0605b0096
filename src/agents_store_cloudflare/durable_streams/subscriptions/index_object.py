"""The object of the subscription index. It answers `DurableStreams`, sends webhooks, and writes to wake streams."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from agents_store_cloudflare.contract.errors import AgentsStoreError, InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue
from agents_store_cloudflare.durable_streams.operations import PREFIX as PROTOCOL_PREFIX
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.subscriptions.config import SubscriptionConfig
from agents_store_cloudflare.durable_streams.subscriptions.deliveries import Webhooks, is_done
from agents_store_cloudflare.durable_streams.subscriptions.links import CHECKED_AT_ONCE, SeenStream
from agents_store_cloudflare.durable_streams.subscriptions.records import Link, Subscription, WakeState
from agents_store_cloudflare.durable_streams.subscriptions.wakes import Wakes
from agents_store_cloudflare.objects import ObjectCallError, ObjectHost, with_retry
from agents_store_cloudflare.objects.rpc_text import WireMessage, decode_reply, encode_reply, encode_request

__all__ = ["INDEX_NAME", "PREFIX", "SubscriptionIndex"]

INDEX_NAME: Final = "__ds"
"""The name of the reserved object. No stream's id begins with `__`."""

PREFIX: Final = "subscriptions."

CHECK_MS: Final = 3_600_000
"""The pause between two rounds in which the index asks streams whether they still exist."""

CHECK_AGAIN_MS: Final = 60_000
"""The shorter pause, while more streams wait to be asked."""


class SubscriptionIndex:
    """All subscriptions of a namespace. Every delivery is stored before it is sent, so that after a crash an alarm sends it."""

    def __init__(self, host: ObjectHost, logger: logging.Logger) -> None:
        self._host = host
        self._logger = logger
        self._wakes = Wakes(host.sql)
        self._webhooks = Webhooks(host.outbound, self._wakes, now_ms=host.now_ms)
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm_ms: int | None = None
        self._next_check_ms = 0
        self._may_be_silent = True
        self._ask_to_tell_ms = 0
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
        """Return whether this object is the index. The index has the tables of subscriptions."""
        return self._wakes.table.is_there()

    async def answer(self, message: WireMessage) -> str:
        """Reply to a call whose name begins with `PREFIX`. A refusal is an answer inside the reply."""
        arguments: dict[str, Any] = dict(message.head)
        operation = self._operations.get(arguments["op"].removeprefix(PREFIX))
        if operation is None:
            raise InvalidArgumentError("the index has no such operation; does the Worker run an older version?")
        try:
            self._send(self._wakes.expire(self._host.now_ms()))
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
        """Do the due work: end old leases, repeat deliveries, ask streams whether they still exist."""
        self._alarm_ms = None
        self._send(self._wakes.expire(self._host.now_ms()))
        await self._ask_to_tell()
        await self._check_streams()
        self._set_alarm()

    async def _put(self, arguments: dict[str, Any]) -> JsonValue:
        config = SubscriptionConfig.from_json(arguments["config"])
        key = await self._webhooks.key() if config.type == "webhook" else None
        streams = await self._seen(config.streams)
        # The first copy of the request may have arrived while this copy waited.
        done = self._wakes.done.answer(arguments)
        if done is not None:
            return self._made_before(arguments, config, created_ms=done[0], key=key)
        state = WakeState(
            created_ms=self._host.now_ms(),
            made_by=arguments["commitId"],
            root_url=arguments["rootUrl"],
            allow_loopback=arguments["allowLoopback"],
        )
        self._may_be_silent = True
        is_new, woken = self._wakes.put(arguments, config, streams, state)
        self._send(woken)
        return {"isNew": is_new, "subscription": self._described(self._wakes.table.existing(arguments["id"]), key)}

    def _made_before(
        self, arguments: dict[str, Any], config: SubscriptionConfig, *, created_ms: Any, key: Any
    ) -> JsonValue:
        """Return the answer to a repeated request: the subscription that it made, even if this subscription was deleted since."""
        found = self._wakes.table.all().get(arguments["id"])
        if found is None or found.state.made_by != arguments["commitId"]:
            state = WakeState(created_ms=created_ms, root_url=arguments["rootUrl"])
            gone = Subscription(id=arguments["id"], config=config, state=state)
            return {
                "isNew": True,
                "subscription": self._described(gone, key, links=self._wakes.links.of_config(config)),
            }
        return {"isNew": True, "subscription": self._described(found, key)}

    async def _get(self, arguments: dict[str, Any]) -> JsonValue:
        found = self._wakes.table.existing(arguments["id"])
        key = await self._webhooks.key() if found.config.type == "webhook" else None
        return self._described(found, key)

    async def _delete(self, arguments: dict[str, Any]) -> JsonValue:
        if self._wakes.done.answer(arguments) is None:
            self._wakes.delete(arguments)
        return None

    async def _link(self, arguments: dict[str, Any]) -> JsonValue:
        streams = await self._seen(arguments["streams"])
        if self._wakes.done.answer(arguments) is None:
            self._may_be_silent = True
            self._send(self._wakes.link(arguments, streams, self._host.now_ms()))
        return None

    async def _unlink(self, arguments: dict[str, Any]) -> JsonValue:
        if self._wakes.done.answer(arguments) is None:
            self._wakes.unlink(arguments)
        return None

    async def _appended(self, arguments: dict[str, Any]) -> JsonValue:
        is_stream = "isStream" in arguments
        if is_stream and not self._wakes.table.is_there():
            return False
        stream = SeenStream(
            arguments["path"], arguments["tail"], arguments["dueMs"], arguments["life"], arguments["begun"]
        )
        is_covered, woken = self._wakes.appended(
            stream, before=arguments["before"], now_ms=self._host.now_ms(), is_stream=is_stream
        )
        self._send(woken)
        if is_covered and not is_stream:
            self._may_be_silent = True
        return is_covered

    async def _gone(self, arguments: dict[str, Any]) -> JsonValue:
        if "isStream" in arguments and not self._wakes.table.is_there():
            return False
        stream = SeenStream.gone(arguments["path"], life=arguments["life"], begun=arguments["begun"])
        return self._wakes.gone(stream, self._host.now_ms())

    async def _claim(self, arguments: dict[str, Any]) -> JsonValue:
        self._check_not_ended(arguments)
        held, token = self._wakes.claim(
            arguments["id"], arguments["worker"], arguments["commitId"], self._host.now_ms()
        )
        return {
            "wake_id": held.state.wake_id,
            "generation": held.state.generation,
            "token": token,
            "streams": [link.to_wake_json() for link in self._wakes.links.links(held.id)],
            "lease_ttl_ms": held.config.lease_ttl_ms,
        }

    async def _acknowledge(self, arguments: dict[str, Any]) -> JsonValue:
        self._check_not_ended(arguments)
        follows, following = self._wakes.acknowledge(
            arguments["id"],
            arguments["token"],
            arguments["wake"],
            arguments["commitId"],
            self._host.now_ms(),
            is_release=arguments["isRelease"],
        )
        if following is not None:
            self._send([following])
        return {"ok": True, "next_wake": follows}

    def _check_not_ended(self, arguments: dict[str, Any]) -> None:
        """Check that the request does not belong to a subscription that was deleted since.

        Raises:
            Refusal: 404.
        """
        if self._wakes.done.answer(arguments) is not None:
            raise Refusal(404, "SUBSCRIPTION_NOT_FOUND", "there is no such subscription")

    async def _keys(self, _arguments: dict[str, Any]) -> JsonValue:
        return [(await self._webhooks.key()).public()]

    def _described(self, subscription: Subscription, key: Any, links: Sequence[Link] | None = None) -> JsonObject:
        config, state = subscription.config, subscription.state
        if links is None:
            links = self._wakes.links.links(subscription.id)
        webhook: JsonValue = None
        if key is not None:
            signing: JsonObject = {"alg": "ed25519", "kid": key.kid, "jwks_url": f"{state.root_url}/__ds/jwks.json"}
            webhook = {"url": config.webhook_url, "signing": signing}
        return {
            "id": subscription.id,
            "subscription_id": subscription.id,
            "type": config.type,
            "pattern": config.pattern,
            "streams": [link.to_json() for link in links],
            "webhook": webhook,
            "wake_stream": config.wake_stream,
            "lease_ttl_ms": config.lease_ttl_ms,
            "created_at": _instant(state.created_ms),
            "status": "failed" if state.attempts else "active",
            "description": config.description,
        }

    def _send(self, woken: list[Subscription]) -> None:
        """Begin to send the deliveries. Each delivery is stored already, and an alarm is set for it."""
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
        snapshot = self._wakes.links.links(wake.id)
        try:
            answered = await self._webhooks.deliver(wake, snapshot)
        except (Refusal, OSError) as error:
            self._logger.warning("webhook of subscription %r: %s", wake.id, error)
            self._wakes.failed(wake, self._host.now_ms())
            return
        following = self._wakes.delivered(
            wake, is_done=is_done(answered), snapshot=snapshot, now_ms=self._host.now_ms()
        )
        if following is not None:
            self._send([following])

    async def _wake_stream(self, wake: Subscription) -> None:
        """Write one event into the wake stream. It has a name of its own, so it is stored once even if it is sent twice."""
        pending = next((link.path for link in self._wakes.links.links(wake.id) if link.tail > link.acked), None)
        event = {
            "type": "wake",
            "subscription_id": wake.id,
            "stream": pending,
            "generation": wake.state.generation,
            "ts": self._host.now_ms(),
        }
        arguments: JsonObject = {
            "streamId": wake.config.wake_stream,
            "writer": f"subscription {wake.id} {wake.state.made_by}",
            "writerSequence": wake.state.generation,
            "expectedSequence": None,
            "fencingToken": None,
            "untold": True,  # an event of a wake stream starts no wake
        }
        try:
            await self._ask(str(wake.config.wake_stream), encode_request("append", arguments, json.dumps(event)))
        except (AgentsStoreError, ObjectCallError) as error:
            self._logger.warning("wake stream of subscription %r: %s", wake.id, error)
            self._wakes.failed(wake, self._host.now_ms())
        else:
            self._wakes.announced(wake)

    async def _seen(self, paths: Iterable[str]) -> list[SeenStream]:
        """Ask the streams for their state. Later appends are noted, and the subscription takes them into account when it is stored."""
        self._wakes.table.prepare()
        return [await self._seen_one(path) for path in paths]

    async def _seen_one(self, path: str) -> SeenStream:
        known = self._wakes.links.known(path)
        return await self._asked(path) if known is None or known.is_gone else known

    async def _asked(self, path: str, *, marks_it: bool = False) -> SeenStream:
        """Ask a stream's object for its state, and with `marks_it` to report each later change."""
        marks: JsonObject = {"marks": True} if marks_it else {}
        reply = await self._ask(path, encode_request(PROTOCOL_PREFIX + "stand", {"streamId": path, **marks}))
        stand: dict[str, Any] = reply.head["ok"]
        life, begun, last_sequence = stand["life"], stand["begun"], stand["lastSequence"]
        if last_sequence is None:
            return SeenStream.gone(path, life=life, begun=begun)
        return SeenStream(path, last_sequence, stand["dueMs"], life, begun)

    async def _ask_to_tell(self) -> None:
        """Ask the objects of newly covered streams to report each change by themselves."""
        silent = self._wakes.links.silent() if self._wakes.table.is_there() else []
        now_ms = self._host.now_ms()
        if not silent or now_ms < self._ask_to_tell_ms:
            return
        asked = await asyncio.gather(*(self._ask_one_to_tell(path) for path in silent))
        self._ask_to_tell_ms = 0 if all(asked) else now_ms + CHECK_AGAIN_MS

    async def _ask_one_to_tell(self, path: str) -> bool:
        try:
            stream = await self._asked(path, marks_it=True)
        except (AgentsStoreError, ObjectCallError) as error:
            self._logger.warning("stream %r could not be asked to report its changes: %s", path, error)
            return False
        now_ms = self._host.now_ms()
        if stream.is_gone:
            self._wakes.gone(stream, now_ms)
            self._wakes.links.note_telling(path, is_telling=True)
        else:
            self._send(self._wakes.appended(stream, before=stream.tail, now_ms=now_ms, is_stream=True)[1])
        return True

    async def _check_streams(self) -> None:
        """Ask streams without recent changes whether they still exist, and forget the streams that are gone."""
        now_ms = self._host.now_ms()
        if now_ms < self._next_check_ms:
            return
        self._wakes.links.forget_gone(now_ms)
        paths = self._wakes.links.unchecked(now_ms)
        self._next_check_ms = now_ms + (CHECK_AGAIN_MS if len(paths) == CHECKED_AT_ONCE else CHECK_MS)
        await asyncio.gather(*(self._check(path, now_ms) for path in paths))

    async def _check(self, path: str, now_ms: int) -> None:
        try:
            stream = await self._asked(path)
        except (AgentsStoreError, ObjectCallError) as error:
            self._logger.warning("stream %r could not be asked whether it still exists: %s", path, error)
            return
        self._wakes.links.checked(stream, now_ms)
        if stream.is_gone:
            self._wakes.gone(stream, now_ms)
        else:
            before = max(stream.tail - 1, 0)
            self._send(self._wakes.appended(stream, before=before, now_ms=now_ms)[1])

    async def _ask(self, name: str, request: str) -> WireMessage:
        siblings = self._host.siblings()
        return decode_reply(await with_retry(lambda: siblings.call(name, request)))

    def _set_alarm(self) -> None:
        """Set the alarm if none is set that rings early enough. Each setting writes a row."""
        if not self._wakes.table.is_there():
            return
        now_ms = self._host.now_ms()
        if self._next_check_ms == 0:
            self._next_check_ms = now_ms + CHECK_MS
        due_ms = min(self._wakes.next_due_ms() or self._next_check_ms, self._next_check_ms)
        self._may_be_silent = self._may_be_silent and bool(self._wakes.links.silent())
        if self._may_be_silent:
            due_ms = min(due_ms, max(now_ms, self._ask_to_tell_ms))
        if self._alarm_ms is None or self._alarm_ms <= now_ms or due_ms < self._alarm_ms:
            self._alarm_ms = due_ms
            self._host.set_alarm(due_ms)


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
