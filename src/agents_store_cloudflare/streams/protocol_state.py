"""The part of a stream's head that belongs to the Durable Streams protocol: content type, expiry, source of a fork, closure.

The log stores and returns these values. Only `durable_streams` decides what they mean.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final, Self

from agents_store_cloudflare.contract.json_types import JsonObject

__all__ = ["JSON_TYPE", "ForkSource", "ProtocolState", "instant_ms", "media_type"]

JSON_TYPE: Final = "application/json"

TOUCH_STEP: Final = 8
"""A read prolongs a stream's time to live. The new time is stored once in each eighth of the time to live, to save rows.
"""

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkSource:
    """The source of a fork's first messages: all messages up to `sequence`, then the first `sub_offset` messages or bytes after it."""

    stream_id: str
    sequence: int
    sub_offset: int = 0
    fork_id: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolState:
    """The state of one stream in the Durable Streams protocol. A stream that a stream manager has made has no such state.

    Attributes:
        content_type: the content type as the client gave it.
        ttl_s: the seconds without a read or a write after which the stream is deleted; None keeps it.
        expires_at: the time at which the stream is deleted, as the client gave it (RFC 3339).
        touched_ms: the time of the last read that the object remembers.
        written_touch_ms: the time of the last read that row 0 holds.
        last_seq: the highest `Stream-Seq` that was accepted.
        closed_by: id, epoch and number of the producer's request that closed the stream.
        source: the source of a fork; None for a stream that is no fork.
        life: the stream's incarnation at its creation. A producer of an earlier life is not recognised.
    """

    content_type: str = JSON_TYPE
    ttl_s: int | None = None
    expires_at: str | None = None
    touched_ms: int = 0
    written_touch_ms: int = 0
    last_seq: str | None = None
    closed_by: tuple[str, int, int] | None = None
    source: ForkSource | None = None
    life: str = ""

    @property
    def is_json(self) -> bool:
        """True when its messages are JSON values. Otherwise they are bytes."""
        return media_type(self.content_type) == JSON_TYPE

    @property
    def is_text(self) -> bool:
        """Whether its bytes are text."""
        return media_type(self.content_type).startswith("text/")

    def due_ms(self, updated_ms: int) -> int | None:
        """Return the time at which the stream is deleted if nobody reads or writes before; None if it is never deleted."""
        dues: list[int] = []
        if self.ttl_s is not None:
            dues.append(max(updated_ms, self.touched_ms) + self.ttl_s * 1000)
        if self.expires_at is not None:
            dues.append(instant_ms(self.expires_at))
        return min(dues, default=None)

    def touched(self, now_ms: int) -> Self:
        """Return the state after a read at `now_ms`. The head has to be written only if `written_touch_ms` has changed."""
        if self.ttl_s is None or now_ms <= self.touched_ms:
            return self
        step_ms = self.ttl_s * 1000 // TOUCH_STEP
        written_ms = now_ms if now_ms - self.written_touch_ms >= step_ms else self.written_touch_ms
        return replace(self, touched_ms=now_ms, written_touch_ms=written_ms)

    def to_json(self) -> JsonObject:
        """Return the state as the head stores it."""
        source = self.source
        return {
            "contentType": self.content_type,
            "ttlS": self.ttl_s,
            "expiresAt": self.expires_at,
            "touchedMs": self.written_touch_ms,
            "lastSeq": self.last_seq,
            "closedBy": None if self.closed_by is None else list(self.closed_by),
            "source": None if source is None else asdict(source),
            "life": self.life,
        }

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Self:
        """Return the state that a head stores.

        The head may lack the latest reads. So the time that they can have added is added to the stream's life.
        """
        written_ms, ttl_s = facts["touchedMs"], facts["ttlS"]
        closed_by, source = facts["closedBy"], facts["source"]
        return cls(
            content_type=facts["contentType"],
            ttl_s=ttl_s,
            expires_at=facts["expiresAt"],
            touched_ms=written_ms + (ttl_s * 1000 // TOUCH_STEP if ttl_s and written_ms else 0),
            written_touch_ms=written_ms,
            last_seq=facts["lastSeq"],
            closed_by=None if closed_by is None else (closed_by[0], closed_by[1], closed_by[2]),
            source=None if source is None else ForkSource(**source),
            life=facts["life"],
        )


def media_type(content_type: str) -> str:
    """Return the type and subtype in lower case, without parameters. Two content types are equal if their type and subtype are equal."""
    return content_type.partition(";")[0].strip().lower()


def instant_ms(text: str) -> int:
    """Return the milliseconds since 1970 of an RFC 3339 instant.

    Raises:
        ValueError: the text is not such an instant.
    """
    if _INSTANT.fullmatch(text) is None:
        raise ValueError("no RFC 3339 instant")
    fraction = re.sub(r"(\.\d{6})\d+", r"\1", text.upper())
    return round(datetime.fromisoformat(fraction).timestamp() * 1000)
