"""Costs of entries by the caller's own prices, in whole millionths of a dollar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER, check_id, check_whole_number
from agents_store_cloudflare.contract.usage.budgets import ModelPrice, PriceBook
from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageEntry

__all__ = ["as_price_book", "price_entry"]

PRICED_TOKENS = 1_000_000


def as_price_book(given: PriceBook | Mapping[str, object]) -> PriceBook:
    """Return the price book after checking that it has a version and that its prices are whole numbers from zero up.

    Raises:
        TypeError: a price has a wrong type; the message names it.
        InvalidArgumentError: a price breaks a rule; the message names it.
    """
    book = given if isinstance(given, PriceBook) else PriceBook.from_dict(given)
    check_id(book.version, "version")
    for model, price in book.models.items():
        if not isinstance(cast("object", price), ModelPrice):
            raise TypeError(f"models[{model!r}] must be a ModelPrice or a mapping, not {type(price).__name__}")
        for name in ("prompt", "completion", "cached", "reasoning"):
            if (number := getattr(price, name)) is not None:
                check_whole_number(number, f"models[{model!r}].{name}")
    for tool, number in book.tools.items():
        check_whole_number(number, f"tools[{tool!r}]")
    return replace(book, models=dict(book.models), tools=dict(book.tools))


def price_entry(entry: UsageEntry, book: PriceBook) -> UsageEntry:
    """Return an entry with its cost and the version of the prices.

    An entry with a cost stays unchanged, and so does an entry without a price in the book. The cost is rounded once, to the nearest
    millionth of a dollar. A correction of tokens costs the difference.
    """
    if entry.cost_micros is not None:
        return entry
    cost: int | None = None
    if entry.tokens is not None and (price := book.models.get(entry.model or "")) is not None:
        cost = _cost(entry.tokens, price)
    elif entry.tool_name is not None and entry.corrects is None:
        cost = book.tools.get(entry.tool_name)
    return entry if cost is None else replace(entry, cost_micros=cost, price_version=book.version)


def _cost(tokens: TokenCounts, price: ModelPrice) -> int:
    cached = price.prompt if price.cached is None else price.cached
    reasoning = price.completion if price.reasoning is None else price.reasoning
    parts = (
        (tokens.prompt - tokens.cached) * price.prompt
        + tokens.cached * cached
        + (tokens.completion - tokens.reasoning) * price.completion
        + tokens.reasoning * reasoning
    )
    # A correction of all tokens takes back the whole cost, so half a millionth of it is rounded down.
    cost = (abs(parts) + PRICED_TOKENS // 2) // PRICED_TOKENS
    return check_whole_number(cost if parts >= 0 else -cost, "the cost", low=-MAX_SAFE_INTEGER)
