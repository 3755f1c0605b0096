"""Homes beside D1: the arithmetic of a line, and when a limit is missed."""

import pytest

from bench.bare import BARE
from bench.findings import Published
from bench.homes import WORK, homes_entry, homes_section, interval
from bench.page import published_parts

SAVE = WORK[0]


def test_the_interval_of_a_median() -> None:
    """The order decides alone: of 15 values the fourth and the twelfth; of few values the lowest and the highest."""
    assert interval([float(value) for value in range(15, 0, -1)]) == (4, 12)
    assert interval([3.0, 1.0, 2.0]) == (1, 3)
    assert interval([5.0]) == (5, 5)
    assert interval([float(value) for value in range(1, 7)]) == (1, 6)


def test_a_line_is_made_of_pairs() -> None:
    """The ratio is the median within the pairs, not the ratio of the medians."""
    entry = homes_entry(SAVE, [(2.0, 2.0), (4.0, 2.0), (8.0, 16.0)])
    assert (entry["d1Ms"], entry["homesMs"], entry["ratio"]["median"]) == (4, 2, 1)
    assert entry["interval"] == [0.5, 2]


@pytest.mark.parametrize(
    ("ratios", "verdict"), [((1.1, 1.2, 1.9), "met"), ((1.1, 1.3, 1.9), "open"), ((1.3, 1.4, 1.9), "missed")]
)
def test_a_limit_is_missed_by_the_whole_interval(ratios: tuple[float, ...], verdict: str) -> None:
    """A median above the limit is not enough."""
    shown = homes_section(_run([homes_entry(SAVE, [(10.0, 10 * ratio) for ratio in ratios])]))
    assert verdict in shown.splitlines()[-1].split(" | ")[-1]


def test_the_published_part_is_whole() -> None:
    """A work that was added is to be published."""
    assert [entry["name"] for entry in published_parts()["homes"]["work"]] == [work.job.name for work in WORK]


def test_bare_objects_are_a_table_of_their_own() -> None:
    """The floor stands below the works. A run without it has none, and each line is the floor of a work."""
    run = _run([homes_entry(SAVE, [(10.0, 11.0)] * 3)])
    times = {"javascriptMs": 1.0, "pythonMs": 5.0, "homesMs": 11.0, "d1Ms": 10.0}
    bare = {"name": BARE[0].name, "work": BARE[0].work, **times}
    shown = homes_section({**run, "bare": [bare]})
    assert shown.startswith(homes_section(run))
    assert shown.endswith(f"| {BARE[0].work}: {BARE[0].name} | 1.00 ms | 5.00 ms | 11.0 ms | 0.50 |")
    assert {each.work for each in BARE} <= {work.job.name for work in WORK}


def _run(work: list[Published]) -> Published:
    return {
        "when": "2026-11-27T10:00:00+00:00",
        "rounds": 3,
        "machine": {"cores": 2, "cpu": "x", "loadBefore": 1},
        "work": work,
    }
