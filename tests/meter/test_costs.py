"""Costs as values: sums, differences, and dollars to the last digit."""

import pytest
from hypothesis import given, strategies as st

from agents_store_cloudflare import CLOUDFLARE_PRICES, Cost, CostEstimate, D1Cost, ObjectCost, Prices, estimate

COUNTS = st.integers(0, 2**53)
ROWS = COUNTS | st.none()
COSTS = st.builds(
    Cost,
    d1=st.builds(
        D1Cost, round_trips=COUNTS, rows_read=ROWS, rows_written=ROWS, bytes_sent=COUNTS, bytes_received=COUNTS
    ),
    objects=st.builds(
        ObjectCost, calls=COUNTS, rows_read=ROWS, rows_written=ROWS, bytes_sent=COUNTS, bytes_received=COUNTS
    ),
)


@given(COSTS, COSTS)
def test_sums_and_differences(a: Cost, b: Cost) -> None:
    """CO-7: Addition commutes, and subtraction undoes it. An uncounted part stays uncounted."""
    assert a + b == b + a
    assert a + Cost() == a
    assert (a + b).objects.calls == a.objects.calls + b.objects.calls
    assert (a + b).bytes_sent == a.bytes_sent + b.bytes_sent
    if None not in (a.d1.rows_read, a.d1.rows_written, a.objects.rows_read, a.objects.rows_written) and None not in (
        b.d1.rows_read,
        b.d1.rows_written,
        b.objects.rows_read,
        b.objects.rows_written,
    ):
        assert (a + b) - b == a
    assert ((a + b).d1.rows_read is None) == (a.d1.rows_read is None or b.d1.rows_read is None)


@given(COSTS)
def test_a_cost_is_a_record(cost: Cost) -> None:
    """CO-7: `to_dict` and `from_dict` are inverse, with camelCase keys; a cost cannot be changed."""
    assert Cost.from_dict(cost.to_dict()) == cost
    assert cost.d1.to_dict()["roundTrips"] == cost.d1.round_trips
    with pytest.raises(AttributeError):
        cost.d1 = D1Cost()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_dollars_by_hand() -> None:
    """CO-8: The estimate of 6 rows read and 4 written in D1, and 3 calls with 7 rows read and 2 written, equals a calculation by hand."""
    cost = Cost(
        d1=D1Cost(round_trips=2, rows_read=6, rows_written=4),
        objects=ObjectCost(calls=3, rows_read=7, rows_written=2),
    )
    found = estimate(cost)
    # In dollars for a million of them: 0.006 + 4.00 + 0.45 + 0.007 + 2.00.
    assert found == CostEstimate(
        d1_rows_read=6_000,
        d1_rows_written=4_000_000,
        object_requests=450_000,
        object_rows_read=7_000,
        object_rows_written=2_000_000,
    )
    assert (found.total, found.dollars, str(found)) == (6_463_000, "6.463", "$6.463 per million")
    assert str(estimate(Cost())) == "$0.00 per million"
    assert estimate(Cost() - Cost(d1=D1Cost(rows_written=1))).dollars == "-1.00"


@given(COSTS.filter(lambda cost: None not in (*cost.d1.to_dict().values(), *cost.objects.to_dict().values())), COUNTS)
def test_estimates_are_exact(cost: Cost, price: int) -> None:
    """CO-8: The calculation uses only whole numbers: the estimate of a sum is the sum of the estimates, at any price and size."""
    prices = Prices(
        d1_row_read=price,
        d1_row_written=price + 1,
        object_request=price + 2,
        object_row_read=price + 3,
        object_row_written=price + 4,
    )
    assert estimate(cost + cost, prices).total == 2 * estimate(cost, prices).total
    assert all(isinstance(value, int) for value in estimate(cost, prices).to_dict().values())
    whole, fraction = estimate(cost, prices).dollars.split(".")
    assert int(whole + fraction.ljust(6, "0")) == estimate(cost, prices).total


def test_the_published_prices() -> None:
    """CO-8: $0.001 and $1.00 per million rows, $0.15 per million requests; their sources stand beside them."""
    assert CLOUDFLARE_PRICES.to_dict() == {
        "d1RowRead": 1_000,
        "d1RowWritten": 1_000_000,
        "objectRequest": 150_000,
        "objectRowRead": 1_000,
        "objectRowWritten": 1_000_000,
    }
