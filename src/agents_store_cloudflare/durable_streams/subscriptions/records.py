"""The records of the subscription index: subscriptions, their states, and their positions in streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.durable_streams.offsets import offset_of
from agents_store_cloudflare.durable_streams.subscriptions.config import SubscriptionConfig

__all__ = ["EXPLICIT", "GLOB", "Link", "Subscription", "WakeState"]

GLOB: Final = 1
"""The stream matches the subscription's pattern."""

EXPLICIT: Final = 2
"""The subscription names the stream. A link with both kinds has 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeState:
    """The state of a subscription.

    Attributes:
        due_ms: the time at which the lease runs out or the delivery is tried again.
        holder: the worker that claimed it.
        attempts: the number of failed deliveries of this wake.
        made_by: the id of the request that made the subscription. It distinguishes this subscription from earlier ones of the same
            name.
        root_url: the base URL of the streams that the subscriber used.
        commits: the latest claims, acknowledgements and releases. Each has the request's id, the generation and id of its wake, and
            whether another wake followed. So a repeated request gets its first answer.
    """

    phase: Literal["idle", "waking", "held"] = "idle"
    generation: int = 0
    wake_id: str = ""
    due_ms: int | None = None
    holder: str | None = None
    attempts: int = 0
    created_ms: int = 0
    made_by: str = ""
    root_url: str = ""
    allow_loopback: bool = False
    commits: Sequence[tuple[str, int, str, bool]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription with its configuration and its state."""

    id: str
    config: SubscriptionConfig
    state: WakeState


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The position of a subscription in a stream.

    Attributes:
        tail: the last sequence of the stream.
        begun: the last sequence before the stream's present life. `acked` is never below it.
    """

    path: str
    kinds: int
    acked: int
    tail: int
    begun: int = 0

    def to_json(self) -> JsonObject:
        """Return the link as it stands in the JSON of a subscription."""
        kind = "explicit" if self.kinds & EXPLICIT else "glob"
        return {"path": self.path, "link_type": kind, "acked_offset": self._offset(self.acked)}

    def to_wake_json(self) -> JsonObject:
        """Return the link as it stands in the JSON of a wake."""
        return {**self.to_json(), "tail_offset": self._offset(self.tail), "has_pending": self.tail > self.acked}

    def _offset(self, sequence: int) -> str:
        return offset_of(sequence, is_start=0 < sequence == self.begun)
