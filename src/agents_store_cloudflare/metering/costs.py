"""The price of counted work in dollars: prices as data, and exact arithmetic on them."""

from __future__ import annotations

from typing import Final

from agents_store_cloudflare.contract.costs import Cost, CostEstimate, Prices
from agents_store_cloudflare.contract.errors import InvalidArgumentError

__all__ = ["CLOUDFLARE_PRICES", "estimate"]

CLOUDFLARE_PRICES: Final = Prices(
    d1_row_read=1_000,
    d1_row_written=1_000_000,
    object_request=150_000,
    object_row_read=1_000,
    object_row_written=1_000_000,
)
"""Cloudflare's list prices of the Workers Paid plan, beyond what the plan includes, as published in November 2026.

- Rows, in D1 and in Durable Objects alike: $0.001 per million read, $1.00 per million written.
- Requests to Durable Objects: $0.15 per million.

Sources: https://developers.cloudflare.com/d1/platform/pricing/ and
https://developers.cloudflare.com/durable-objects/platform/pricing/. A meter in the Worker cannot see these costs: the time that objects
are awake ($12.50 per million GB-s, 128 MB each; waiting requests and Server-Sent Events keep them awake), storage, and the
Worker's own requests and CPU time.
"""


def estimate(cost: Cost, prices: Prices = CLOUDFLARE_PRICES) -> CostEstimate:
    """Return the price of a million operations, when one operation costs `cost`. It is exact, in whole micro-dollars.

    Args:
        cost: the cost of one operation.
        prices: the prices of rows and requests.

    Raises:
        InvalidArgumentError: the cost has no rows, because the work ran on sqlite or on `LocalObjects`, which count none.
    """
    return CostEstimate(
        d1_rows_read=_rows(cost.d1.rows_read, "d1.rows_read") * prices.d1_row_read,
        d1_rows_written=_rows(cost.d1.rows_written, "d1.rows_written") * prices.d1_row_written,
        object_requests=cost.objects.calls * prices.object_request,
        object_rows_read=_rows(cost.objects.rows_read, "objects.rows_read") * prices.object_row_read,
        object_rows_written=_rows(cost.objects.rows_written, "objects.rows_written") * prices.object_row_written,
    )


def _rows(count: int | None, name: str) -> int:
    if count is None:
        raise InvalidArgumentError(
            f"{name} was not counted: sqlite and LocalObjects count no rows; measure inside a Worker"
        )
    return count
