"""The bench's arithmetic, and its judgement of what was read back."""

import pytest

from bench.jobs import all_jobs
from bench.ratios import Ratio, compared
from bench.workers import cost_of, difference


def test_the_ratio_is_the_median_of_the_pairs_with_the_furthest_ones() -> None:
    """A slow moment of the machine, which hits both of a pair, leaves the ratio alone."""
    comparison = compared([(10.0, 20.0), (100.0, 150.0), (10.0, 30.0)])

    assert comparison.ratio == Ratio(median=2.0, lowest=1.5, highest=3.0)


def test_each_side_has_its_own_median() -> None:
    """An even number of pairs has its median between the two in the middle."""
    comparison = compared([(1.0, 8.0), (4.0, 2.0), (3.0, 6.0), (2.0, 4.0)])

    assert comparison.javascript_median_ms == 2.5
    assert comparison.python_median_ms == 5.0


@pytest.mark.parametrize("pairs", [[], [(0.0, 1.0)], [(1.0, 2.0), (1.0, 0.0)]])
def test_what_cannot_be_compared_is_refused(pairs: list[tuple[float, float]]) -> None:
    """No pair has no median, and no time has no ratio."""
    with pytest.raises(ValueError, match=r"pair|ratio"):
        compared(pairs)


def test_costs_are_those_of_one_repetition() -> None:
    """A job that asked nothing of D1 has no cost, rather than one of zero."""
    cost = cost_of({"batches": 10, "rowsRead": 45, "rowsWritten": 20}, 10)

    assert cost is not None
    assert (cost.batches, cost.rows_read, cost.rows_written) == (1.0, 4.5, 2.0)
    assert cost_of({"batches": 0, "rowsRead": 0, "rowsWritten": 0}, 10) is None
    assert cost_of(None, 10) is None


def test_what_was_read_back_otherwise_is_named() -> None:
    """The message leads to the place, however long the list."""
    assert "messages[1]" in difference({"messages": [1, 2, 3]}, {"messages": [1, 9, 3]})
    assert "should have 2 items" in difference({"messages": [1, 2]}, {"messages": [1, 2, 3]})
    assert "total should be 5" in difference({"total": 5}, {})


def test_every_job_has_a_name_of_its_own() -> None:
    """Names become the keys under which both sides work."""
    names = [job.name for job in all_jobs()]

    assert len(set(names)) == len(names)
