"""What a usage store can be told."""

from __future__ import annotations

import logging
from dataclasses import dataclass

__all__ = ["DEFAULT_TABLE", "UsageOptions"]

DEFAULT_TABLE = "__agents_usage"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageOptions:
    """Options of `D1UsageStore`, as `create_cloudflare_store` takes them.

    Attributes:
        table_name: the table of the entries; letters, digits and underscores, at most 63, not beginning with a digit.
    """

    table_name: str = DEFAULT_TABLE
    logger: logging.Logger | None = None
