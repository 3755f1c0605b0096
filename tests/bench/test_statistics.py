"""The bench's arithmetic, and its judgement of what was read back."""

import pytest

from bench.findings import growth_entry, job_entry
from bench.first_request import first_request_entry
from bench.growth import all_series, exponent
from bench.jobs import Floor, Target, all_jobs
from bench.jobs.state import promoted_state
from bench.ratios import Ratio, compared
from bench.verdicts import floor_verdict, growth_verdict, is_met, javascript_verdict, milliseconds
from bench.workers import cost_of, difference
from tests.bench.results import JOB, finding, growth, run


def test_the_ratio_is_the_median_of_the_pairs_with_the_furthest_ones() -> None:
    """A slow moment of the machine slows both of a pair, so the ratio stays."""
    comparison = compared([(10.0, 20.0), (100.0, 150.0), (10.0, 30.0)])

    assert comparison.ratio == Ratio(median=2.0, lowest=1.5, highest=3.0)


def test_each_side_has_its_own_median() -> None:
    """With an even number of pairs the median lies between the two middle values."""
    comparison = compared([(1.0, 8.0), (4.0, 2.0), (3.0, 6.0), (2.0, 4.0)])

    assert comparison.reference_median_ms == 2.5
    assert comparison.own_median_ms == 5.0


@pytest.mark.parametrize("pairs", [[], [(0.0, 1.0)], [(1.0, 2.0), (1.0, 0.0)]])
def test_what_cannot_be_compared_is_refused(pairs: list[tuple[float, float]]) -> None:
    """Without pairs there is no median, and without a time no ratio."""
    with pytest.raises(ValueError, match=r"pair|ratio"):
        compared(pairs)


@pytest.mark.parametrize(
    ("times_ms", "slope"), [((3.0, 3.0, 3.0), 0.0), ((1.0, 10.0, 100.0), 1.0), ((1.0, 100.0, 10_000.0), 2.0)]
)
def test_the_exponent_is_that_of_the_power(times_ms: tuple[float, float, float], slope: float) -> None:
    """Flat, linear and quadratic times have the exponents 0, 1 and 2, with any unit."""
    points = list(zip((20, 200, 2_000), times_ms, strict=True))

    assert exponent(points) == pytest.approx(slope)
    assert exponent([(size, 7 * time_ms) for size, time_ms in points]) == pytest.approx(slope)


def test_the_exponent_is_that_of_the_line_of_least_squares() -> None:
    """The slope through (0, 0), (1, 1), (2, 1) is one half, computed by hand."""
    assert exponent([(1, 1.0), (10, 10.0), (100, 10.0)]) == pytest.approx(0.5)


@pytest.mark.parametrize("points", [[], [(1, 1.0)], [(5, 1.0), (5, 2.0)], [(1, 1.0), (10, 0.0)]])
def test_an_exponent_takes_two_sizes_and_times_above_zero(points: list[tuple[float, float]]) -> None:
    """One point has no slope, and zero has no logarithm."""
    with pytest.raises(ValueError, match=r"two sizes|above zero"):
        exponent(points)


def test_growth_is_judged_by_the_medians() -> None:
    """An exponent above its target is a miss."""
    entry = growth_entry(growth(1.0, 2.0, 4.0, target=0.15))

    assert entry["sizes"] == [1, 10, 100]
    assert entry["exponent"] == pytest.approx(0.301, abs=0.001)
    assert growth_verdict(entry) == "≤ 0.15 missed"
    assert growth_verdict(growth_entry(growth(1.0, 10.0, 100.0))) == "≤ 1.1 met"


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (None, None),
        (Target(ratio=1.0), True),
        (Target(ratio=0.99), False),
        (Target(ratio=1.9, over="floor"), False),
        (Target(ratio=2.0, over="floor"), True),
    ],
)
def test_a_target_is_met_by_the_ratio_it_speaks_of(target: Target | None, met: bool | None) -> None:
    """Each target is compared with its own ratio: 2 ms beside 2 ms of JavaScript and 1 ms of floor."""
    assert is_met(job_entry(finding(target=target))) is met


def test_a_target_is_judged_as_it_is_shown() -> None:
    """0.804 is shown as 0.80, and meets 0.8; 0.806 does not."""
    for python_ms, met in ((1.608, True), (1.612, False)):
        entry = job_entry(finding(target=Target(ratio=0.8), python_ms=(python_ms, python_ms)))
        assert is_met(entry) is met


def test_a_verdict_stands_in_its_own_column() -> None:
    """A verdict is in the column of JavaScript or of the floor, or in none."""
    beside_javascript = job_entry(finding(target=Target(ratio=1.0)))
    beside_the_floor = job_entry(finding(target=Target(ratio=1.3, over="floor")))

    assert (javascript_verdict(beside_javascript), floor_verdict(beside_javascript)) == ("≤ 1 met", "")
    assert (javascript_verdict(beside_the_floor), floor_verdict(beside_the_floor)) == ("", "≤ 1.3 missed")
    assert javascript_verdict(job_entry(finding())) == ""


def test_a_floor_makes_enough_calls_to_be_measured() -> None:
    """The floor counts every call in every lane, and repeats a single call as often as the clock needs."""
    floor = all_jobs()[0].as_floor()

    assert floor.expected["made"] == floor.repetitions >= 40
    assert JOB.as_floor().repetitions == 40
    assert Floor(calls=2, lanes=100).in_words() == "100 × (2 object calls) at once"
    assert Floor(batches=1, calls=10).in_words() == "1 D1 batch + 10 object calls"


def test_what_promoting_gives_is_known_without_a_patch_library() -> None:
    """After five calls, twice, the plan has the last three additions, and each result once."""
    state = promoted_state(5, times=2)

    assert state["plan"] == ["read 2", "read 3", "read 4"]
    assert state["budget"] == {"left": 1}
    assert state["call-4"] == {"title": "Result 4", "score": 2.0}


def test_first_requests_are_compared_in_pairs() -> None:
    """The median of the differences, not the difference of the medians."""
    entry = first_request_entry([100.0, 200.0, 300.0], [110.0, 350.0, 320.0])

    assert (entry["extraLowestMs"], entry["extraMedianMs"], entry["extraHighestMs"]) == (10.0, 20.0, 150.0)


def test_memory_is_that_of_one_stream() -> None:
    """400 MB for a thousand streams."""
    assert run()["memory"]["pythonBytesPerStream"] == pytest.approx(400 * 1024 * 1024 / 1_000)


def test_costs_are_those_of_one_repetition() -> None:
    """A job that sends nothing to D1 has no cost, not a cost of zero."""
    cost = cost_of({"batches": 10, "rowsRead": 45, "rowsWritten": 20}, 10)

    assert cost is not None
    assert (cost.batches, cost.rows_read, cost.rows_written) == (1.0, 4.5, 2.0)
    assert cost_of({"batches": 0, "rowsRead": 0, "rowsWritten": 0}, 10) is None
    assert cost_of(None, 10) is None


def test_what_was_read_back_otherwise_is_named() -> None:
    """The message names the place of the difference, in a list of any length."""
    assert "messages[1]" in difference({"messages": [1, 2, 3]}, {"messages": [1, 9, 3]})
    assert "should have 2 items" in difference({"messages": [1, 2]}, {"messages": [1, 2, 3]})
    assert "total should be 5" in difference({"total": 5}, {})


def test_times_are_shown_with_the_digits_that_mean_something() -> None:
    """Times have three digits, or all digits of a large number."""
    assert [milliseconds(value) for value in (1.234, 12.34, 123.4, 1_234.5)] == ["1.23", "12.3", "123", "1,234"]


def test_every_job_and_every_series_has_a_name_of_its_own() -> None:
    """Names are unique, because they become the keys of both sides."""
    names = [job.name for job in all_jobs()]
    series = [each.name for each in all_series()]

    assert len(set(names)) == len(names)
    assert len(set(series)) == len(series)


def test_every_series_has_sizes_of_one_ten_and_a_hundred() -> None:
    """As docs/performance.md says."""
    for series in all_series():
        sizes = [size for size, _ in series.jobs]
        assert [size / sizes[0] for size in sizes] == [1, 10, 100]
