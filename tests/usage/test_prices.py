"""What entries cost: whole millionths, by the caller's prices."""

from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.usage.budgets import ModelPrice, PriceBook
from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageEntry, UsageSource
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.usage import D1UsageStore, UsageOptions, price_entry

BOOK = PriceBook(
    version="2026-11",
    models={
        "m": ModelPrice(prompt=2_500_000, cached=250_000, completion=10_000_000, reasoning=12_000_000),
        "plain": ModelPrice(prompt=100_000, completion=400_000),
    },
    tools={"search": 5_000},
)


def _entry(model: str = "m", **fields: Any) -> UsageEntry:
    tokens = TokenCounts(prompt=1_000, cached=600, completion=300, reasoning=100)
    given: dict[str, Any] = {"kind": "tokens", "model": model, "tokens": tokens, **fields}
    return UsageEntry(session_id="s", source=UsageSource(type="agent", name="x"), **given)


def test_tokens_cost_what_the_book_says() -> None:
    """US-21: Cached and reasoning tokens have their own prices if the book has them. The sum is rounded once."""
    priced = price_entry(_entry(), BOOK)
    assert (priced.cost_micros, priced.price_version) == (1_000 + 150 + 2_000 + 1_200, "2026-11")
    assert price_entry(_entry("plain"), BOOK).cost_micros == 100 + 120
    one = TokenCounts(prompt=5, completion=0)
    assert price_entry(_entry("plain", tokens=one), BOOK).cost_micros == 1, "half a millionth is rounded up"


def test_what_has_no_price_stays_unpriced() -> None:
    """US-21: An unknown model is unpriced. A cost that the caller gives stays."""
    assert price_entry(_entry("unknown"), BOOK) == _entry("unknown")
    assert price_entry(_entry(cost_micros=7), BOOK) == _entry(cost_micros=7)


def test_a_cost_that_is_too_large() -> None:
    """US-21: A cost that the totals could not keep exactly is refused."""
    most = TokenCounts(prompt=2**53 - 1, completion=0)
    with pytest.raises(InvalidArgumentError, match="the cost"):
        price_entry(_entry(tokens=most), BOOK)


def test_corrections_cost_the_difference() -> None:
    """US-13, US-21: A correction of tokens is priced with its sign. A correction of a tool call is not priced."""
    correction = TokenCounts(prompt=-400, completion=0)
    assert price_entry(_entry(tokens=correction, corrects="e"), BOOK).cost_micros == -1_000
    half = TokenCounts(prompt=-5, completion=0)
    assert price_entry(_entry("plain", tokens=half, corrects="e"), BOOK).cost_micros == -1, "what `prompt=5` costs"
    call: dict[str, Any] = {
        "kind": "tool",
        "model": None,
        "tokens": None,
        "tool_name": "search",
        "duration_ms": 1,
        "success": True,
    }
    assert price_entry(_entry(**call), BOOK).cost_micros == 5_000
    assert price_entry(_entry(**call, corrects="e"), BOOK).cost_micros is None


async def test_a_store_with_prices() -> None:
    """US-21: Entries are priced when they are recorded. Totals say how many have no price."""
    database = SqliteDatabase()
    await run_migration(database)
    store = D1UsageStore(database, options=UsageOptions(price_book=BOOK))
    entries = await store.record_entries([_entry(), _entry("unknown")])
    assert [entry.cost_micros for entry in entries] == [4_350, None]
    assert await store.get_entries("s") == entries
    rollup = await store.get_rollup("s")
    assert (rollup.cost_micros, rollup.unpriced_entries) == (4_350, 1)
    dearer = D1UsageStore(database, price_book={**BOOK.to_dict(), "version": "2026-12"})
    assert (await dearer.record_entry(entries[0])).price_version == "2026-11"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"version": ""}, "version"),
        ({"models": {"m": {"prompt": 1.5, "completion": 1}}}, "prompt"),
        ({"models": {"m": {"prompt": 1, "completion": -1}}}, "completion"),
        ({"models": {"m": {"prompt": 1}}}, "completion"),
        ({"models": {"m": 5}}, "mapping"),
        ({"models": 5}, "models"),
        ({"tools": {"t": 0.1}}, "tools"),
    ],
)
def test_bad_prices(change: dict[str, Any], word: str) -> None:
    """US-10, US-21: A price is a whole number of millionths. Any other value is refused by name."""
    with pytest.raises((InvalidArgumentError, TypeError), match=word):
        D1UsageStore(SqliteDatabase(), price_book={**BOOK.to_dict(), **change})


def test_a_book_comes_back() -> None:
    """US-21: A price book accepts both spellings, and comes back from its mapping."""
    assert PriceBook.from_dict(BOOK.to_dict()) == BOOK
