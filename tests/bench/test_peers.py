"""The chat beside what people take instead: its delays, its slopes, its part of the page."""

import copy
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bench.findings import Published
from bench.page import PAGE, published_parts
from bench.peers.latency import DELAYS_MS, Times, latency_entry, waits_in_a_row
from bench.peers.section import dollars, peers_section
from bench.peers.sides import SIDES
from bench.peers.stored import stored_bytes
from tools.places import NODE_BIN, ROOT

JAVASCRIPT = ROOT / "bench/javascript_worker/delayed.js"
HOPS = 20


COST: dict[str, float] = dict.fromkeys(
    ("batches", "calls", "rowsRead", "rowsWritten", "objectRowsRead", "objectRowsWritten"), 2
)


def _run() -> Published:
    """A run in which every side did all of its jobs, in a second each."""
    sides = [
        latency_entry(
            side,
            {(job, delay_ms): [1_000.0 + delay_ms] for job in side.jobs for delay_ms in DELAYS_MS},
            dict.fromkeys(side.jobs, COST),
        )
        for side in SIDES
    ]
    return {"when": "2026-11-27T00:00:00+00:00", "machine": {"cores": 2, "cpu": "x"}, "rounds": 3, "sides": sides}


def test_the_published_run_has_every_side() -> None:
    """A side that was added is to be published, in at least three rounds."""
    run = published_parts()["peers"]

    assert [side["name"] for side in run["sides"]] == [side.name for side in SIDES]
    assert run["rounds"] >= 3


def test_the_slope_counts_the_waits() -> None:
    """Three waits of the delay each, beside work that takes 7 ms; one slow measurement does not matter."""
    times_ms = {delay_ms: [7.0 + 3 * delay_ms, 7.0 + 3 * delay_ms, 500.0] for delay_ms in DELAYS_MS}

    assert waits_in_a_row(times_ms) == pytest.approx(3)


def test_the_models_own_time_is_taken_off_a_turn() -> None:
    """The other jobs end before the model has spoken."""
    times: Times = {(job, delay_ms): [1_000.0] for job in SIDES[0].jobs for delay_ms in DELAYS_MS}
    entry = latency_entry(SIDES[0], times, {job: {} for job in SIDES[0].jobs})

    assert entry["jobs"]["chat_turn"]["medianMs"]["20"] == 200
    assert entry["jobs"]["chat_first"]["medianMs"]["20"] == 1_000


def test_the_price_of_a_million_turns() -> None:
    """Rows of both kinds, and requests: by hand $3.00 + $0.003 + $0.75 + $2.00 + $0.004."""
    cost = {"batches": 2, "calls": 5, "rowsRead": 3, "rowsWritten": 3, "objectRowsRead": 4, "objectRowsWritten": 2}

    assert dollars(cost) == "$5.76"


def test_both_languages_wait_the_same_delays(tmp_path: Path) -> None:
    """The sequence of delays follows from the seed alone, in Python and in JavaScript."""
    script = tmp_path / "delays.mjs"
    copied = tmp_path / "delayed.mjs"
    copied.write_text(JAVASCRIPT.read_text())
    script.write_text(
        "import { Delays } from './delayed.mjs';\n"
        "const waited = [];\n"
        "globalThis.setTimeout = (done, ms) => { waited.push(ms); done(); };\n"
        "const delays = new Delays({ ms: 20, seed: 7 });\n"
        f"await delays.hop(); delays.begin(); for (let n = 0; n < {HOPS}; n++) await delays.hop();\n"
        "console.log(JSON.stringify(waited));\n"
    )
    done = subprocess.run([NODE_BIN / "node", script], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == pytest.approx(_waits_of_python())


def _waits_of_python() -> list[float]:
    code = (
        "import asyncio, json, sys\n"
        "sys.path.insert(0, 'bench/python_worker')\n"
        "import delays\n"
        "waited = []\n"
        "async def sleep(seconds): waited.append(seconds * 1_000)\n"
        "delays.asyncio.sleep = sleep\n"
        "async def main():\n"
        "    each = delays.Delays(ms=20, seed=7)\n"
        "    await each.hop()\n"
        "    each.begun = True\n"
        f"    for _ in range({HOPS}): await each.hop()\n"
        "asyncio.run(main())\n"
        "print(json.dumps(waited))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    waited: list[float] = json.loads(done.stdout)
    return waited


def test_the_section_shows_every_number_of_its_run() -> None:
    """Another number is another page."""
    run = _run()
    section = peers_section(run)
    for change in ("medianMs", "waitsInARow", "cost", "note"):
        other = copy.deepcopy(run)
        _alter(other["sides"][-1], change)
        assert peers_section(other) != section, change


def _alter(side: Published, change: str) -> None:
    match change:
        case "cost":
            side["jobs"]["chat_turn"]["cost"]["calls"] += 1
        case "note":
            side["note"] += "!"
        case "medianMs":
            side["jobs"]["chat_resume"]["medianMs"]["50"] += 100
        case _:
            side["jobs"]["chat_first"][change] += 1


def test_the_page_has_the_published_section() -> None:
    """It stands on the page as it was generated."""
    assert peers_section(published_parts()["peers"]) in PAGE.read_text()


def test_a_job_that_a_side_has_no_call_for_is_left_out() -> None:
    """AIChatAgent has no pages: its row is missing in that table, and its note says why. So it is with a history without a stream."""
    section = peers_section(_run())
    table = {part.split("**")[1]: part for part in section.split("\n\n") if part.startswith("| **")}
    page, turn = table["A page of 50 in the middle of 10,000 messages"], table["A whole turn"]

    assert "openai-agents' session by hand" in page
    assert "Cloudflare agents" not in page
    assert "no pages" in section
    assert "openai-agents' session by hand" not in turn
    assert "Cloudflare agents" in turn


def test_what_is_stored_is_in_the_table() -> None:
    """A session's size is shown for the jobs that store one; the tables of the others have no column for it."""
    run = _run()
    assert " stored |" not in peers_section(run)
    for side in run["sides"]:
        if "chat_turn" in side["jobs"]:
            side["jobs"]["chat_turn"]["cost"] = {**COST, "storedBytes": 123 * 1_024}

    assert peers_section(run).count(" stored |") == 1
    assert peers_section(run).count("| 123 KB |") == len([side for side in SIDES if "chat_turn" in side.jobs])


def test_a_table_without_counts_has_no_columns_for_them() -> None:
    """Costs that were counted for one job only stand in its table alone."""
    run = _run()
    for side in run["sides"]:
        side["jobs"].get("chat_first", {}).pop("cost", None)
    tables = [part for part in peers_section(run).split("\n\n") if part.startswith("| **")]

    assert [" D1 trips " not in table for table in tables] == [
        "**The first chunk at a reader**" in table for table in tables
    ]


def test_the_size_of_databases_that_are_open(tmp_path: Path) -> None:
    """What is only in the log counts, pages that were freed do not, and neither does the runtime's own list."""
    with closing(sqlite3.connect(tmp_path / "one.sqlite")) as open_database:
        open_database.execute("PRAGMA journal_mode=WAL")
        open_database.execute("CREATE TABLE t (body)")
        open_database.commit()
        empty = stored_bytes(tmp_path)
        open_database.execute("INSERT INTO t VALUES (zeroblob(100000))")
        open_database.commit()
        filled = stored_bytes(tmp_path)
        open_database.execute("DELETE FROM t")
        open_database.commit()
        (tmp_path / "metadata.sqlite").write_bytes((tmp_path / "one.sqlite").read_bytes())

        assert filled - empty == 24 * 4_096  # the root page holds the rest
        assert stored_bytes(tmp_path) == empty
