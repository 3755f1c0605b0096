"""The parts of docs/performance.md that are measured by themselves: their arithmetic, and that the page shows it."""

import copy
import os
import signal
import subprocess
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.cpu import cpu_entry
from bench.findings import Published
from bench.imports import USES, imports_entry, profile_entry
from bench.jobs import Floor, Job, all_jobs
from bench.load import Load, load_entry
from bench.long_load import PYTHON, WHOLE, long_entry
from bench.page import PAGE, PART_FIGURES, PARTS, not_measured, published_parts
from bench.part_plots import peers_svg
from bench.processes import bytes_by_process, role_of
from bench.shares import Rounds, shares_entry

SVG = "{http://www.w3.org/2000/svg}"
JOB = Job(name="save", kind="save", repetitions=10, input={}, expected={}, floor=Floor(batches=1))


@pytest.mark.parametrize("name", PARTS)
def test_the_page_has_the_published_part(name: str) -> None:
    """`make bench ARGS="--part …"` writes it; nobody edits a number."""
    parts = published_parts()
    assert (PARTS[name].section(parts[name]) if name in parts else not_measured(name)) in PAGE.read_text()


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


def test_the_profile_of_the_imports() -> None:
    """Each module's median, the slowest first; the page sums them by folder."""
    starts = [
        {"p.state.saves": [ms, 1_024], "p.locks.lock": [30.0, 2_048], "p.state.loads": [10.0, 0]} for ms in (5, 60, 9)
    ]
    profile = profile_entry(starts)
    section = PARTS["imports"].section(_run_of({"uses": [], "profile": profile}))

    assert [(module["name"], module["ownMs"]) for module in profile][-1] == ("p.state.saves", 9)
    assert "3 modules take 49 ms" in section
    assert "`locks.lock` 30.0 ms; `state.loads` 10.0 ms" in section
    assert "| `state` | 2 | 1 KB | 19 ms | 39% |" in section


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


WORKER, PROXY, NODE = "workerd: the Worker and its objects", "workerd: wrangler's proxy", "node: wrangler"


def _samples(bytes_a_minute: float) -> list[tuple[float, dict[str, int]]]:
    """Ten minutes of memory. The Worker's: 400 MB that rise at once to 500, and then by this much. The others stay."""
    return [
        (
            second,
            {
                WORKER: 400_000_000 if second < 60 else int(500_000_000 + second / 60 * bytes_a_minute),
                PROXY: 100_000_000,
                PYTHON: 40_000_000,
            },
        )
        for second in range(0, 600, 10)
    ]


@pytest.mark.parametrize(
    ("bytes_a_minute", "growing"),
    [(0, []), (1_000_000, []), (10_000_000, [WORKER]), (20_000_000, [WORKER, WHOLE]), (-10_000_000, [])],
)
def test_memory_that_rises_after_the_warm_up_grows(bytes_a_minute: int, growing: list[str]) -> None:
    """The warm-up does not count, and neither does a rise of less than a twentieth. The process is named, however large the others are."""
    entry = long_entry(600, [(200, 10.0)] * 60, _samples(bytes_a_minute))
    memory = {each["name"]: each for each in entry["memory"]}
    section = PARTS["long"].section(_run_of(entry))

    assert [name for name, each in memory.items() if each["grows"]] == growing
    assert memory[WORKER]["bytesAMinute"] == pytest.approx(bytes_a_minute, abs=1)
    assert memory[WHOLE]["bytes"][0] == 500_000_000  # Python's is a part of the Worker's
    assert (f"**grows**: {'; '.join(growing)}." in section) is bool(growing)
    assert "| workerd: wrangler's proxy | 95 MB | 95 MB | 95 MB | +0.00 MB |" in section


def test_what_a_process_is_there_for() -> None:
    """As `wrangler dev` starts its two workerd processes."""
    serve = ["node_modules/.bin/workerd", "serve", "--binary"]

    assert role_of([*serve, "--socket-addr=entry=127.0.0.1:0", "--inspector-addr=127.0.0.1:0"]) == WORKER
    assert role_of([*serve, "--socket-addr=entry=127.0.0.1:8787"]) == PROXY
    assert role_of(["/usr/bin/node", "wrangler", "dev"]) == NODE
    assert role_of(["/usr/bin/sh", "-c", "x"]) == "sh"


def test_the_memory_of_a_process_and_of_those_below_it() -> None:
    """A process that has ended is no error."""
    with subprocess.Popen(["/bin/sh", "-c", "sleep 30 & wait"], start_new_session=True) as process:
        try:
            while len(sizes := bytes_by_process(os.getpid())) < 2:
                time.sleep(0.01)
        finally:
            os.killpg(process.pid, signal.SIGKILL)

    assert all(size > 0 for size in sizes.values())
    assert sizes.keys() >= {"sh", "sleep"}


def test_the_first_and_the_last_third_of_a_long_run() -> None:
    """A turn that fails has no time, and counts as an error."""
    answers = [(200, 10.0)] * 30 + [(0, 5_000.0)] * 30 + [(200, 20.0)] * 30
    entry = long_entry(600, answers, _samples(0))

    assert (entry["firstThirdMs"], entry["lastThirdMs"], entry["errors"]) == ([10.0] * 3, [20.0] * 3, 30)


def test_a_long_run_whose_last_third_has_no_answer() -> None:
    """Half an hour is not lost: the errors are shown, and the memory."""
    entry = long_entry(600, [(200, 10.0)] * 20 + [(0, 120_000.0)] * 40, _samples(0))

    assert (entry["lastThirdMs"], entry["errors"]) == ([0.0] * 3, 40)
    assert "40 errors" in PARTS["long"].section(_run_of(entry))


def _run_of(entry: Published) -> Published:
    return {"when": "2026-11-27T00:00:00+00:00", "machine": {"cores": 2, "cpu": "x"}, **entry}


def test_the_shares_of_a_profile() -> None:
    """A flush is a twentieth of its job: 100 ms less 92 of waiting are 0.4 ms. The shares are of the profile's time."""
    parts = {"border": 10.0, "json": 6.0, "checksum": 0.0, "package": 4.0, "others": 0.0}
    plain = {"elapsedMs": 100.0, "d1Ms": 0.0, "objectsMs": 92.0}
    bare = {"elapsedMs": 80.0, "d1Ms": 0.0, "objectsMs": 76.0, "batches": 0.0, "statements": 0.0, "calls": 22.0}
    profiles = [{"elapsed": 100.0, **parts}, {"elapsed": 60.0, **parts}]
    rounds = Rounds(plain=[plain] * 2, bare=[bare] * 2, javascript_ms=[40.0] * 2, profiles=profiles)
    entry = shares_entry("stream: a flush of 50 chunks", rounds)

    assert (entry["pythonMs"], entry["elapsedMs"], entry["partsMs"]["border"]) == (pytest.approx(0.4), 4.0, 0.5)
    section = PARTS["cpu"].section({**_run_of({}), "jobs": [], "shares": [entry]})
    assert f"| ≤ 0.43 met | 50% | 30% | 0% | 20% | 0% | {entry['calls']} |" in section
    assert "| job | Python in the Worker | target | border to JavaScript | JSON |" in section
    assert "| object calls: 1.1 | 0.40 ms | 0.20 ms | 5.00 ms | 4.00 ms | 2.00 ms |" in section
    missed = PARTS["cpu"].section({**_run_of({}), "jobs": [], "shares": [{**entry, "pythonMs": 0.5}]})
    assert "0.43 missed" in missed


@pytest.mark.parametrize("file", PART_FIGURES, ids=lambda file: file.stem)
def test_the_figures_of_the_parts(file: Path) -> None:
    """They come from the published parts, have a title, colours for both backgrounds, and a dash and a label for each line."""
    text = PART_FIGURES[file](published_parts())

    assert file.read_text() == text
    assert text.count("prefers-color-scheme: dark") == 2
    assert "<rect" not in text
    figure = ET.fromstring(text)
    lines = figure.findall(f"{SVG}polyline")
    assert figure.find(f"{SVG}title") is not None
    assert len({line.get("stroke-dasharray") for line in lines}) == len(lines) >= 2


def test_a_turn_that_took_no_time_has_its_place_in_the_figure() -> None:
    """The model's own time is taken off, so a fast side can be at zero, which has no logarithm."""
    run = copy.deepcopy(published_parts()["peers"])
    run["sides"][0]["jobs"]["chat_turn"]["medianMs"]["0"] = -3.0

    assert ET.fromstring(peers_svg(run)) is not None
