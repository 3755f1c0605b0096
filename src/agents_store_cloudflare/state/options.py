"""The options of a state store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypedDict

from agents_store_cloudflare.contract.arguments import check_whole_number, system_now_ms

__all__ = ["StateSettings", "StateStoreOptions", "StoreLimits"]

MOST_BYTES = 1_900_000
"""D1 takes 2,000,000 for a value and for a row; a state's row holds its last commits too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """Sizes in bytes of the encoded JSON that is bound, 1 to 1,900,000 each.

    Attributes:
        max_state_bytes: all of a state but its messages, together.
        max_message_bytes: one message; also the most that one row of messages holds.
        max_staged_write_bytes: one staged change.
    """

    max_state_bytes: int = 1_800_000
    max_message_bytes: int = 1_800_000
    max_staged_write_bytes: int = 1_800_000

    def __post_init__(self) -> None:
        for name in ("max_state_bytes", "max_message_bytes", "max_staged_write_bytes"):
            check_whole_number(getattr(self, name), name, low=1, high=MOST_BYTES)


class StateSettings(TypedDict, total=False):
    """The keywords of `D1StateStore`; their meaning is at `StateStoreOptions`."""

    logger: logging.Logger | None
    limits: StoreLimits | None
    require_fencing: bool
    now_ms: Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateStoreOptions:
    """The options of `D1StateStore`.

    Attributes:
        logger: takes failed calls, and what a deletion leaves alone; `agents_store_cloudflare.state` by default.
        limits: sizes above which a write is refused. None means `StoreLimits()`.
        require_fencing: refuse every write that brings no fencing token.
        now_ms: the clock, in milliseconds since 1970.
    """

    logger: logging.Logger | None = None
    limits: StoreLimits | None = field(default_factory=StoreLimits)
    require_fencing: bool = False
    now_ms: Callable[[], int] = system_now_ms
