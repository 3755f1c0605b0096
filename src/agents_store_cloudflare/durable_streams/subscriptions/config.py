"""The configuration in a subscriber's request."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self, cast

from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue, parse_json
from agents_store_cloudflare.durable_streams.subscriptions.targets import check_target

__all__ = ["SubscriptionConfig", "parse_config", "parse_object", "parse_paths"]

MAX_PATHS: Final = 1_000
MAX_TEXT: Final = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionConfig:
    """The configuration of a subscription. A repeated PUT must have an equal one."""

    type: Literal["webhook", "pull-wake"]
    pattern: str | None
    streams: tuple[str, ...]
    webhook_url: str | None
    wake_stream: str | None
    lease_ttl_ms: int
    description: str | None

    def hash(self) -> str:
        """Return a hash; equal configurations have equal hashes."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> JsonObject:
        """Return the configuration as it is stored."""
        return {**asdict(self), "streams": list(self.streams)}

    @classmethod
    def from_json(cls, config: dict[str, Any]) -> Self:
        """Return the configuration that `to_json` has made."""
        others = {name: value for name, value in config.items() if name != "streams"}
        return cls(streams=tuple(config["streams"]), **others)


def parse_config(body: bytes, *, allow_loopback: bool) -> SubscriptionConfig:
    """Return the configuration in a request's body.

    Raises:
        InvalidArgumentError: it is malformed.
        Refusal: its webhook's address is not allowed.
    """
    given = parse_object(body)
    kind = given.get("type")
    if kind not in ("webhook", "pull-wake"):
        raise InvalidArgumentError("type must be 'webhook' or 'pull-wake'")
    pattern = _text(given, "pattern")
    streams = parse_paths(given) if given.get("streams") is not None else ()
    if pattern is None and not streams:
        raise InvalidArgumentError("a subscription needs a pattern or streams")
    webhook, wake_stream = given.get("webhook"), _text(given, "wake_stream")
    if kind == "webhook" and not isinstance(webhook, dict):
        raise InvalidArgumentError("webhook.url is missing")
    if kind == "pull-wake" and wake_stream is None:
        raise InvalidArgumentError("wake_stream is missing")
    url = cast("dict[str, object]", webhook).get("url") if kind == "webhook" else None
    return SubscriptionConfig(
        type="webhook" if kind == "webhook" else "pull-wake",
        pattern=pattern,
        streams=streams,
        webhook_url=None if kind == "pull-wake" else check_target(url, allow_loopback=allow_loopback),
        wake_stream=None if kind == "webhook" else check_id(wake_stream, "wake_stream"),
        lease_ttl_ms=_lease_ttl(given.get("lease_ttl_ms")),
        description=_text(given, "description"),
    )


def parse_object(body: bytes) -> dict[str, JsonValue]:
    """Return the JSON object in a request's body. An empty body counts as an empty object.

    Raises:
        InvalidArgumentError: the body is not a JSON object.
    """
    try:
        value = parse_json(body or b"{}", name="the body")
    except RecursionError:
        raise InvalidArgumentError("the body nests too deep") from None
    if not isinstance(value, dict):
        raise InvalidArgumentError("the body must be a JSON object")
    return value


def parse_paths(given: dict[str, JsonValue]) -> tuple[str, ...]:
    """Return the paths under `streams`, each once, in order.

    Raises:
        InvalidArgumentError: they are malformed, or too many.
    """
    paths = given.get("streams")
    if not isinstance(paths, list) or len(paths) > MAX_PATHS:
        raise InvalidArgumentError(f"streams must be a list of at most {MAX_PATHS:,} paths")
    try:
        return tuple(sorted({check_id(path, "a path in streams") for path in paths}))
    except TypeError as error:
        raise InvalidArgumentError(str(error)) from None


def _text(given: dict[str, JsonValue], name: str) -> str | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT:
        raise InvalidArgumentError(f"{name} must be text of 1 to {MAX_TEXT:,} characters")
    return value


def _lease_ttl(value: object) -> int:
    if value is None:
        return 30_000
    if type(value) is not int or not 1_000 <= value <= 600_000:
        raise InvalidArgumentError("lease_ttl_ms must be a whole number of 1,000 to 600,000")
    return value
