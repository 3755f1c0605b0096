"""What the subscription index knows: subscriptions, where they stand, and how far they have come in their streams."""

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
"""The subscription names the stream. A link may be of both kinds: 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeState:
    """Where a subscription stands.

    Attributes:
        due_ms: when something happens by itself: the lease runs out, a delivery is tried again.
        holder: the worker that claimed it.
        attempts: deliveries of this wake that failed.
        root_url: the streams' root, as the subscriber reached it.
        commits: the latest claims, acknowledgements and releases: the request's id, and the generation and id of its wake.
            One that comes again gets its first answer.
    """

    phase: Literal["idle", "waking", "held"] = "idle"
    generation: int = 0
    wake_id: str = ""
    due_ms: int | None = None
    holder: str | None = None
    attempts: int = 0
    created_ms: int = 0
    root_url: str = ""
    allow_loopback: bool = False
    commits: Sequence[tuple[str, int, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription as it stands."""

    id: str
    config: SubscriptionConfig
    state: WakeState


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How far a subscription has come in a stream."""

    path: str
    kinds: int
    acked: int
    tail: int

    def to_json(self) -> JsonObject:
        """As the protocol writes it in a subscription."""
        kind = "explicit" if self.kinds & EXPLICIT else "glob"
        return {"path": self.path, "link_type": kind, "acked_offset": offset_of(self.acked)}

    def to_wake_json(self) -> JsonObject:
        """As the protocol writes it in a wake."""
        return {**self.to_json(), "tail_offset": offset_of(self.tail), "has_pending": self.tail > self.acked}
