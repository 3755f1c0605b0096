"""The options of a usage store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypedDict

from agents_store_cloudflare.contract.arguments import system_now_ms
from agents_store_cloudflare.contract.usage.budgets import PriceBook

__all__ = ["DEFAULT_TABLE", "UsageOptions", "UsageSettings"]

DEFAULT_TABLE = "__agents_usage"


class UsageSettings(TypedDict, total=False):
    """The keyword arguments of `D1UsageStore`. `UsageOptions` explains them."""

    table_name: str
    price_book: PriceBook | Mapping[str, object] | None
    logger: logging.Logger | None
    now_ms: Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageOptions:
    """The options of `D1UsageStore`.

    Attributes:
        table_name: a table of your own: letters, digits and underscores, at most 63, not beginning with a digit. `ensure_table`
            makes it and its totals. `run_migration` makes the documented table.
        price_book: the prices for entries without a cost: a record or a mapping.
        logger: gets the failed calls; `agents_store_cloudflare.usage` by default.
        now_ms: the clock of entries without a timestamp, in milliseconds since 1970.
    """

    table_name: str = DEFAULT_TABLE
    price_book: PriceBook | Mapping[str, object] | None = None
    logger: logging.Logger | None = None
    now_ms: Callable[[], int] = system_now_ms
