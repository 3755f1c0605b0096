"""The acknowledgements in a worker's request."""

from __future__ import annotations

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.durable_streams.offsets import Offset, parse_offset

__all__ = ["parse_acks"]


def parse_acks(wake: dict[str, JsonValue]) -> list[tuple[str, int]]:
    """Return the streams of a request. The worker has done its work up to the sequence of each.

    Raises:
        InvalidArgumentError: an acknowledgement is malformed.
    """
    given = wake.get("acks", [])
    if not isinstance(given, list):
        raise InvalidArgumentError("acks must be a list")
    acks: list[tuple[str, int]] = []
    for ack in given:
        path = ack.get("stream", ack.get("path")) if isinstance(ack, dict) else None
        offset = ack.get("offset") if isinstance(ack, dict) else None
        position = parse_offset(offset, name="an ack's offset") if isinstance(offset, str) else None
        if not isinstance(path, str) or not isinstance(position, Offset):
            raise InvalidArgumentError('an ack is {"stream": path, "offset": offset}')
        acks.append((path, position.sequence))
    return acks
