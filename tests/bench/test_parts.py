"""The parts of docs/performance.md that are measured by themselves: their arithmetic, and that the page shows it."""

import copy

import pytest

from bench.cpu import cpu_entry
from bench.findings import Published
from bench.imports import USES, imports_entry
from bench.jobs import Floor, Job, all_jobs
from bench.load import Load, load_entry
from bench.page import PAGE, PARTS, published_parts

JOB = Job(name="save", kind="save", repetitions=10, input={}, expected={}, floor=Floor(batches=1))


@pytest.mark.parametrize("name", PARTS)
def test_the_page_has_the_published_part(name: str) -> None:
    """`make bench ARGS="--part …"` writes it; nobody edits a number."""
    assert PARTS[name].section(published_parts()[name]) in PAGE.read_text()


def test_the_published_parts_are_whole() -> None:
    """A job or a use that was added is to be published."""
    parts = published_parts()

    assert [entry["name"] for entry in parts["cpu"]["jobs"]] == [
        job.name for job in all_jobs() if "tuned" not in job.input
    ]
    assert [entry["name"] for entry in parts["imports"]["uses"]] == list(USES)


def test_the_cpu_of_one_repetition() -> None:
    """Without the marks' own: (105 - 5) / 10 beside (45 - 5) / 10."""
    rounds = [{"JavaScript": 45.0, "Python": 105.0}] * 3
    entry = cpu_entry(JOB, rounds, {"JavaScript": 5.0, "Python": 5.0})

    assert (entry["javascriptMs"], entry["pythonMs"], entry["ratio"]) == (4, 10, 2.5)


def test_the_time_of_an_import_is_a_median() -> None:
    """The counts are the same in every start."""
    counts = {"modules": 3, "bytes": 1_024, "heapBytes": 2_048}
    entry = imports_entry("state alone", [{"ms": ms, **counts} for ms in (5.0, 50.0, 7.0)])

    assert entry == {"name": "state alone", "medianMs": 7, **counts}


def test_a_step_of_the_load() -> None:
    """Percentiles of the answered turns; the others are errors."""
    times_ms = [float(ms) for ms in range(1, 102)]
    entry = load_entry(Load(clients=4, seconds=10, times_ms=times_ms, errors=2, memory_bytes=(1, 2)))

    assert (entry["p50Ms"], entry["p95Ms"], entry["p99Ms"]) == (51, 96, 100)
    assert (entry["offered"], entry["answered"], entry["errors"]) == (4, 10.1, 2)


def test_a_step_without_an_answer() -> None:
    """It is shown as it is: nothing answered."""
    entry = load_entry(Load(clients=1, seconds=1, times_ms=[], errors=1, memory_bytes=(1, 1)))

    assert (entry["answered"], entry["errors"]) == (0, 1)


@pytest.mark.parametrize(
    ("name", "group", "field"),
    [
        ("cpu", "jobs", "pythonMs"),
        ("homes", "work", "homesMs"),
        ("imports", "uses", "modules"),
        ("load", "steps", "errors"),
    ],
)
def test_another_run_is_another_part(name: str, group: str, field: str) -> None:
    """Each part follows its own numbers."""
    run: Published = copy.deepcopy(published_parts()[name])
    before = PARTS[name].section(run)
    run[group][0][field] = 12_345

    assert PARTS[name].section(run) != before
