"""The options of a state store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypedDict

from agents_store_cloudflare.contract.arguments import check_flag, check_whole_number, system_now_ms

__all__ = ["StateSettings", "StateStoreOptions", "StoreLimits"]

MOST_BYTES = 1_900_000
"""The largest limit. D1 takes 2,000,000 bytes for a value and for a row."""

MOST_STATE_BYTES = 1_830_000
"""Beside it the row holds the last commits (94,000 bytes) and the chunks that the session owes its stream (67,000)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """The largest JSON texts that a write may store, in bytes, 1 to 1,900,000 each.

    Attributes:
        max_state_bytes: the most bytes of a state without its messages, at most 1,830,000.
        max_message_bytes: the most bytes of one message, and of one row of messages.
        max_staged_write_bytes: the most bytes of one staged change.
    """

    max_state_bytes: int = 1_800_000
    max_message_bytes: int = 1_800_000
    max_staged_write_bytes: int = 1_800_000

    def __post_init__(self) -> None:
        check_whole_number(self.max_state_bytes, "max_state_bytes", low=1, high=MOST_STATE_BYTES)
        for name in ("max_message_bytes", "max_staged_write_bytes"):
            check_whole_number(getattr(self, name), name, low=1, high=MOST_BYTES)


class StateSettings(TypedDict, total=False):
    """The keyword arguments of `D1StateStore`. `StateStoreOptions` explains them."""

    logger: logging.Logger | None
    limits: StoreLimits | None
    require_fencing: bool
    now_ms: Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateStoreOptions:
    """The options of `D1StateStore`.

    Attributes:
        logger: gets the failed calls, and the remote sub-sessions that a deletion leaves alone; `agents_store_cloudflare.state` by default.
        limits: sizes above which a write is refused. None means `StoreLimits()`.
        require_fencing: refuse every write that brings no fencing token.
        now_ms: the clock, in milliseconds since 1970.
    """

    logger: logging.Logger | None = None
    limits: StoreLimits | None = field(default_factory=StoreLimits)
    require_fencing: bool = False
    now_ms: Callable[[], int] = system_now_ms

    def __post_init__(self) -> None:
        check_flag(self.require_fencing, "require_fencing")
