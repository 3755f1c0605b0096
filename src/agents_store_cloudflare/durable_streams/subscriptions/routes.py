"""The requests below `__ds`: their permissions, and their calls to the subscription index."""

from __future__ import annotations

import json
import logging
import re
import secrets
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from agents_store_cloudflare.contract.arguments import check_flag
from agents_store_cloudflare.contract.errors import AgentsStoreError, InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.subscriptions.config import (
    SubscriptionConfig,
    parse_config,
    parse_object,
    parse_paths,
)
from agents_store_cloudflare.durable_streams.subscriptions.index_object import INDEX_NAME, PREFIX
from agents_store_cloudflare.durable_streams.subscriptions.links import SeenStream
from agents_store_cloudflare.gateway.admission import StreamAction
from agents_store_cloudflare.gateway.faces import Admits
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.streams.stream_client import StreamClient

__all__ = ["MAX_SUBSCRIPTION_BYTES", "SubscriptionOptions", "SubscriptionRoutes"]

MAX_SUBSCRIPTION_BYTES: Final = 256 * 1024

_ID = re.compile(r"[A-Za-z0-9._~:@-]{1,128}", re.ASCII)
_BEARER = re.compile(r"Bearer +([A-Za-z0-9._~+/=-]+)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionOptions:
    """Turns subscriptions on. Then every append over the protocol writes a row of the index, and waits for it.

    Attributes:
        allow_loopback: for development: webhooks may go to the same machine, also over http.
    """

    allow_loopback: bool = False

    def __post_init__(self) -> None:
        check_flag(self.allow_loopback, "allow_loopback")


class SubscriptionRoutes:
    """The part of the protocol that serves subscriptions.

    `authorize` decides about the stream `__ds/subscriptions/{id}`: `create`, `read` (also for a claim), `append` (to change its
    streams), `delete`. The creator of a subscription also needs `append` for its wake stream, and `read` for the streams that it
    names. Callbacks, acks and releases need no permission: they show the token of their wake.
    """

    def __init__(self, streams: StreamClient, options: SubscriptionOptions, prefix: str) -> None:
        self._streams = streams
        self._options = options
        self._prefix = prefix
        self._logger = logging.getLogger("agents_store_cloudflare.durable_streams")

    async def answer(self, request: HttpRequest, path: str, admits: Admits) -> HttpResponse:
        """Answer a request below `__ds/`.

        Raises:
            InvalidArgumentError: the request is malformed.
        """
        try:
            return await self._answer(request, path.split("/"), admits)
        except Refusal as refusal:
            return refusal.response()

    async def appended(self, stream: SeenStream, *, before: int) -> None:
        """Tell the index that a stream has grown. It never raises, because the append has succeeded."""
        facts: JsonObject = {"path": stream.path, "tail": stream.tail, "before": before, "dueMs": stream.due_ms}
        try:
            await self._ask("appended", {**facts, "life": stream.life, "begun": stream.begun})
        except (AgentsStoreError, Refusal):
            self._logger.exception("subscribers were not woken: incident %s", secrets.token_hex(6))

    async def gone(self, stream_id: str, *, life: int, begun: int) -> None:
        """Tell the index that a stream was deleted. It never raises."""
        try:
            await self._ask("gone", {"path": stream_id, "life": life, "begun": begun})
        except (AgentsStoreError, Refusal):
            self._logger.exception("the index was not told of a deletion: incident %s", secrets.token_hex(6))

    async def _answer(self, request: HttpRequest, segments: list[str], admits: Admits) -> HttpResponse:
        match request.method, segments:
            case "GET", ["__ds", "jwks.json"]:
                keys = await self._ask("keys", {})
                headers = {"content-type": "application/jwk-set+json", "cache-control": "public, max-age=300"}
                return HttpResponse.of_json(json.dumps({"keys": keys}), headers=headers)
            case method, ["__ds", "subscriptions", name]:
                return await self._subscription(request, method, _checked_id(name), admits)
            case "POST", ["__ds", "subscriptions", name, "streams"]:
                return await self._link(request, _checked_id(name), admits)
            case "DELETE", ["__ds", "subscriptions", name, "streams", *rest] if rest:
                await _check(admits, _checked_id(name), "append")
                await self._ask("unlink", {"id": name, "path": unquote("/".join(rest))})
                return HttpResponse(status=204)
            case "POST", ["__ds", "subscriptions", name, "claim"]:
                await _check(admits, _checked_id(name), "read")
                return _json(await self._ask("claim", {"id": name, "worker": _worker(request)}))
            case "POST", ["__ds", "subscriptions", name, "callback" | "ack" | "release" as verb]:
                return await self._acknowledge(request, _checked_id(name), is_release=verb == "release")
            case _:
                raise Refusal(404, "not_found", "there is nothing at this path")

    async def _subscription(
        self, request: HttpRequest, method: str, subscription_id: str, admits: Admits
    ) -> HttpResponse:
        match method:
            case "PUT":
                return await self._put(request, subscription_id, admits)
            case "GET":
                await _check(admits, subscription_id, "read")
                return _json(await self._ask("get", {"id": subscription_id}))
            case "DELETE":
                await _check(admits, subscription_id, "delete")
                await self._ask("delete", {"id": subscription_id})
                return HttpResponse(status=204)
            case _:
                raise Refusal(
                    405, "method_not_allowed", "subscriptions allow PUT, GET and DELETE", {"allow": "GET, PUT, DELETE"}
                )

    async def _put(self, request: HttpRequest, subscription_id: str, admits: Admits) -> HttpResponse:
        config = parse_config(request.body, allow_loopback=self._options.allow_loopback)
        await _check(admits, subscription_id, "create")
        await self._check_streams(config, admits)
        url = urlsplit(request.url)
        arguments: JsonObject = {
            "id": subscription_id,
            "config": config.to_json(),
            "rootUrl": f"{url.scheme}://{url.netloc}{self._prefix}",
            "allowLoopback": self._options.allow_loopback,
        }
        made: Any = await self._ask("put", arguments)
        return _json(made["subscription"], status=201 if made["isNew"] else 200)

    async def _check_streams(self, config: SubscriptionConfig, admits: Admits) -> None:
        if config.wake_stream is not None and not await admits(config.wake_stream, "append"):
            raise _forbidden()
        for path in config.streams:
            if not await admits(path, "read"):
                raise _forbidden()

    async def _link(self, request: HttpRequest, subscription_id: str, admits: Admits) -> HttpResponse:
        paths = parse_paths(parse_object(request.body))
        await _check(admits, subscription_id, "append")
        for path in paths:
            if not await admits(path, "read"):
                raise _forbidden()
        await self._ask("link", {"id": subscription_id, "streams": list(paths)})
        return HttpResponse(status=204)

    async def _acknowledge(self, request: HttpRequest, subscription_id: str, *, is_release: bool) -> HttpResponse:
        bearer = _BEARER.fullmatch(request.header("Authorization") or "")
        if bearer is None:
            raise Refusal(401, "INVALID_TOKEN", "the token of the wake is missing", {"www-authenticate": "Bearer"})
        wake: JsonObject = {**parse_object(request.body)}
        arguments: JsonObject = {
            "id": subscription_id,
            "token": bearer.group(1),
            "wake": wake,
            "isRelease": is_release,
        }
        outcome = await self._ask("acknowledge", arguments)
        return HttpResponse(status=204) if is_release else _json(outcome)

    async def _ask(self, op: str, arguments: JsonObject) -> JsonValue:
        named: JsonObject = {**arguments, "commitId": secrets.token_hex(8)}
        reply = await self._streams.call(INDEX_NAME, PREFIX + op, named)
        given: dict[str, Any] = reply.head["ok"]
        answer: dict[str, Any] | None = given.get("answer")
        if answer is None:
            value: JsonValue = given["value"]
            return value
        error: dict[str, Any] = json.loads(answer["body"])["error"]
        code, message = error.pop("code"), error.pop("message")
        raise Refusal(answer["status"], code, message, details=error)


async def _check(admits: Admits, subscription_id: str, action: StreamAction) -> None:
    if not await admits(f"{INDEX_NAME}/subscriptions/{subscription_id}", action):
        raise _forbidden()


def _forbidden() -> Refusal:
    return Refusal(403, "forbidden", "this request may not do that with this subscription or its streams")


def _checked_id(name: str) -> str:
    if _ID.fullmatch(name) is None:
        raise InvalidArgumentError("a subscription's id has 1 to 128 letters, digits and . _ ~ : @ -")
    return name


def _worker(request: HttpRequest) -> str:
    worker = parse_object(request.body).get("worker")
    if not isinstance(worker, str) or not 1 <= len(worker) <= 256:
        raise InvalidArgumentError("worker must be text of 1 to 256 characters")
    return worker


def _json(value: JsonValue, *, status: int = 200) -> HttpResponse:
    return HttpResponse.of_json(json.dumps(value, ensure_ascii=False), status=status)
