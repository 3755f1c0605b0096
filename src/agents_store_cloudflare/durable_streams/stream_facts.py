"""The facts of a stream in the protocol: content type, time to live, source."""

from __future__ import annotations

from typing import Final

from agents_store_cloudflare.durable_streams.offsets import offset_of
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.requests import Creation
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.protocol_state import ProtocolState, media_type

__all__ = ["DEFAULT_TYPE", "check_alike", "facts_of", "life_of", "new_facts", "offset_in"]

DEFAULT_TYPE: Final = "application/octet-stream"

NATIVE: Final = ProtocolState()
"""The facts of a stream that `DurableObjectStreamManager` made: its messages are JSON values, and its own retention decides how
long it is kept.
"""


def offset_in(head: StreamHead, sequence: int) -> str:
    """Return the offset after a message of this stream.

    When the path was used before, the start of the stream has an offset of its own.
    """
    return offset_of(sequence, is_start=0 < sequence == head.begun_after)


def life_of(head: StreamHead) -> int:
    """Return the number of a stream's life. It rises with each reset and each deletion."""
    return int(head.incarnation or 0)


def facts_of(head: StreamHead) -> ProtocolState:
    """Return the facts of a stream. A stream that a stream manager has made holds JSON."""
    return head.facts or NATIVE


def new_facts(creation: Creation, now_ms: int) -> ProtocolState:
    """Return the facts of a new stream."""
    return ProtocolState(
        content_type=creation.content_type or DEFAULT_TYPE,
        ttl_s=creation.ttl_s,
        expires_at=creation.expires_at,
        touched_ms=now_ms,
        written_touch_ms=now_ms,
    )


def check_alike(head: StreamHead, creation: Creation) -> None:
    """Check that the stream at this path was made with the options that the request names.

    Raises:
        Refusal: 409.
    """
    facts = facts_of(head)
    is_alike = (
        media_type(creation.content_type or DEFAULT_TYPE) == media_type(facts.content_type)
        and creation.is_closed == head.is_closed
        and creation.ttl_s == facts.ttl_s
        and creation.expires_at == facts.expires_at
        and facts.source is None
    )
    if not is_alike:
        raise Refusal(409, "stream_exists", "there is a stream here, made with other options")
