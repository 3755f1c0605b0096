"""What a usage store can be told."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from agents_store_cloudflare.contract.usage.budgets import PriceBook

__all__ = ["DEFAULT_TABLE", "UsageOptions"]

DEFAULT_TABLE = "__agents_usage"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageOptions:
    """Options of `D1UsageStore`, as `create_cloudflare_store` takes them.

    Attributes:
        table_name: the table of the entries; letters, digits and underscores, at most 63, not beginning with a digit.
        price_book: prices of entries that come without a cost.
    """

    table_name: str = DEFAULT_TABLE
    price_book: PriceBook | None = None
    logger: logging.Logger | None = None
