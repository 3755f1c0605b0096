"""What a state store can be told."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from agents_store_cloudflare.contract.arguments import check_whole_number

__all__ = ["StateStoreOptions", "StoreLimits"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class StateStoreOptions:
    """Options of `D1StateStore`, as `create_cloudflare_store` takes them.

    Attributes:
        require_fencing: refuse every write that brings no fencing token.
    """

    logger: logging.Logger | None = None
    limits: StoreLimits = field(default_factory=StoreLimits)
    require_fencing: bool = False
