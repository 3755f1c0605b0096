"""The arithmetic of bench/capacity.py, its counts of D1, and its table in docs/homes.md."""

from pathlib import Path

import pytest

from bench.capacity import LOADS, Load, in_d1, in_homes, main, page_with

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_table() -> None:
    """docs/homes.md shows the output of `python -m bench.capacity`."""
    page = (ROOT / "docs/homes.md").read_text()
    assert page_with(page) == page


def test_counts_of_d1() -> None:
    """The costs of a turn over D1 equal those of docs/costs.md."""
    lines = [line for line in (ROOT / "docs/costs.md").read_text().splitlines() if line.startswith("| `store.turn` |")]
    first, later = ([int(cell) for cell in line.split("|")[3:9]] for line in lines[:2])
    load = Load(sessions=1_000_000, turns=1)
    assert in_d1(load).rows_written / load.sessions == first[2] + first[5]
    assert in_d1(load).calls / load.sessions == first[3]
    more = in_d1(Load(sessions=1_000_000, turns=2))
    assert (more.rows_written - in_d1(load).rows_written) / load.sessions == later[2] + later[5]
    assert (more.calls - in_d1(load).calls) / load.sessions == later[3]


def test_what_fits() -> None:
    """500,000 sessions of 20 KB fit into D1. Homes have no limit, and more pages."""
    assert in_d1(Load(sessions=500_000)).fits
    assert not in_d1(Load(sessions=500_001)).fits
    for load in LOADS:
        assert in_homes(load).fits
        assert in_homes(load).gigabytes > in_d1(load).gigabytes


def test_sizes_and_rates_are_arguments(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each figure of the load is an argument of the command."""
    given = "capacity --sessions 1000 --turns 1 --kilobytes 1000 --seconds 1000 --peak 250"
    monkeypatch.setattr("sys.argv", given.split())
    main()
    d1, homes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 1,000 ")]
    assert ("1 GB" in d1, "$2 |" in d1, "50% |" in d1) == (True, True, True)
    assert "1 GB" in homes
