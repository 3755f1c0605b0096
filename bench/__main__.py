"""`make bench`: the same jobs by this package and by an idiomatic JavaScript Worker, on the same runtime, in alternating pairs.

Every job's result is read back and compared with what was given. Exit status 0: all jobs ran, and both sides agreed. With
`--publish` everything else is measured too (growth, first request, memory, and the parts) and docs/performance.md is written anew; the half
hour of load is among them with `--minutes`, the other version with `--against`. `--part` measures one part and writes the page; each part
has its own date. With `--page` the page is written from the results that were published last.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.cpu import run_cpu
from bench.findings import Published
from bench.first_request import run_first_request
from bench.growth import all_series
from bench.homes import run_homes
from bench.imports import run_imports, run_profile
from bench.jobs import all_jobs
from bench.load import run_load
from bench.long_load import run_long_load
from bench.machine import machine, versions
from bench.memory import run_memory
from bench.page import PARTS, RESULTS_FILE, publish, publish_part, published_parts, rewrite_page
from bench.peers.durable import run_durable
from bench.peers.graph import run_graph
from bench.peers.latency import run_latency
from bench.report import growth_table, jobs_table
from bench.running import run_growth, run_jobs, run_platform, run_waiting
from bench.shares import run_shares
from bench.versions import checked_out, is_address, run_versions, served_at
from bench.workers import BenchError
from tools.local_runtime import RuntimeStartError
from tools.places import ROOT, RUNTIME

RESULTS = RUNTIME / "bench"
STARTS = 15
PAIRS = 7
ROUNDS: Mapping[str, int] = {"peers": 3, "homes": 15, "graph": 3, "durable": 7, "cpu": 5, "imports": 3, "load": 4}
"""How often the sides take turns, by part; `--pairs` changes it. A part that is not here has `PAIRS`."""

MAIN = "jobs"
"""The name of the jobs, their growth, and what else one run measures, as a part."""

MINUTES = 30
"""How long `--part long` lasts."""

PROFILES_A_ROUND = 4
"""How often the profiled jobs are measured, for each round of the CPU."""

SECONDS_A_ROUND = 10
"""How long each step of the load lasts, for each of `--pairs`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a part of the page needs to know: the rounds, the minutes of the long load, the other version."""

    rounds: int
    minutes: int
    against: str = ""


def main() -> int:
    """Run the bench, and return its exit status."""
    parser = _parser()
    options = parser.parse_args()
    if options.page:
        rewrite_page()
        return 0
    is_published = options.publish or options.part == MAIN
    if options.part == MAIN and options.against:
        parser.error("what is published sets the package beside JavaScript; leave out --against")
    if is_published and options.only:
        parser.error("every job is published; leave out --only")
    started_s = time.monotonic()
    if options.part and options.part != MAIN:
        if options.part == "versions" and not options.against:
            parser.error("--part versions needs --against with a git ref or an address")
        return _parts([options.part], options)
    options.pairs = options.pairs or PAIRS
    try:
        run, failures = _measured(options, is_published=is_published)
    except (BenchError, RuntimeStartError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    for failure in failures:
        print(f"bench: {failure}", file=sys.stderr)
    if not failures and not run["jobs"] and not run["growth"]:
        parser.error(f"no job has {options.only!r} in its name; there are: {', '.join(job.name for job in all_jobs())}")
    _show(run, options.pairs)
    print(f"{_shown(_kept(run, options.results))} has every time. It took {time.monotonic() - started_s:.0f} s.")
    if is_published and not failures:
        publish(run)
        parts = parts_of(minutes=options.minutes, against=options.against) if options.publish else []
        options.pairs = None
        failures = ["a part"] if _parts(parts, options) else []
        print(f"docs/performance.md is written anew, from {_shown(RESULTS_FILE.parent)}.")
    return 1 if failures else 0


def _measured(options: argparse.Namespace, *, is_published: bool) -> tuple[Published, list[str]]:
    """Return the measurements, and the errors."""
    if options.against and not is_address(options.against):
        checked_out(options.against)  # a ref that does not exist is named now, and not after an hour
    jobs = [job for job in all_jobs() if options.only in job.name]
    series = [each for each in all_series() if options.only in each.name]
    run: Published = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "pairs": options.pairs,
        "versions": versions(),
        "machine": machine(),
        "jobs": [],
        "growth": [],
    }
    failures: list[str] = []
    if jobs and not options.growth:
        with served_at(options.against) if options.against and not is_published else nullcontext() as url:
            run["jobs"], failures = run_jobs(jobs, options.pairs, url)
    if series and (options.growth or is_published):
        run["growth"], more = run_growth(series)
        failures += more
    if is_published:
        run["waiting"], more = run_waiting(jobs)
        failures += more
        run["platform"] = run_platform()
        run["memory"] = run_memory()
        run["firstRequest"] = run_first_request(STARTS)
    return run, failures


def parts_of(*, minutes: int | None, against: str) -> list[str]:
    """Return the parts that `--publish` measures: all, but the half hour of load and the other version only when they are asked for."""
    asked_for = {"long": minutes is not None, "versions": bool(against)}
    return [part for part in PARTS if asked_for.get(part, True)]


def _parts(names: Sequence[str], options: argparse.Namespace) -> int:
    """Measure parts of docs/performance.md and write them; the exit status."""
    for name in names:
        rounds = options.pairs or ROUNDS.get(name, PAIRS)
        asked = Asked(rounds=rounds, minutes=options.minutes or MINUTES, against=options.against)
        started_s = time.monotonic()
        run: Published = {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "rounds": asked.rounds,
            "versions": versions(),
            "machine": machine(),
        }
        found, failures = MEASURED[name](asked)
        for failure in failures:
            print(f"bench: {failure}", file=sys.stderr)
        if failures:
            return 1
        publish_part(name, {**run, **found})
        print(f"\n{PARTS[name].section(published_parts()[name])}\n\n{name} took {time.monotonic() - started_s:.0f} s.")
    return 0


def _peers(asked: Asked) -> tuple[Published, list[str]]:
    sides, failures = run_latency(asked.rounds)
    return {"sides": sides}, failures


def _homes(asked: Asked) -> tuple[Published, list[str]]:
    work, bare, failures = run_homes(asked.rounds)
    return {"work": work, "bare": bare}, failures


def _graph(asked: Asked) -> tuple[Published, list[str]]:
    savers, failures = run_graph(asked.rounds)
    return {"savers": savers}, failures


def _durable(asked: Asked) -> tuple[Published, list[str]]:
    return {"jobs": run_durable(asked.rounds)}, []


def _cpu(asked: Asked) -> tuple[Published, list[str]]:
    jobs = [job for job in all_jobs() if "tuned" not in job.input]
    return {"jobs": run_cpu(jobs, asked.rounds), "shares": run_shares(asked.rounds * PROFILES_A_ROUND)}, []


def _imports(asked: Asked) -> tuple[Published, list[str]]:
    return {"uses": run_imports(asked.rounds), "profile": run_profile(asked.rounds)}, []


def _load(asked: Asked) -> tuple[Published, list[str]]:
    return {"rounds": 1, **run_load(asked.rounds * SECONDS_A_ROUND)}, []


def _long(asked: Asked) -> tuple[Published, list[str]]:
    return {"rounds": 1, **run_long_load(asked.minutes)}, []


def _versions(asked: Asked) -> tuple[Published, list[str]]:
    try:
        return run_versions([job for job in all_jobs() if "tuned" not in job.input], asked.rounds, asked.against)
    except (BenchError, RuntimeStartError) as error:
        return {}, [str(error)]


MEASURED: Mapping[str, Callable[[Asked], tuple[Published, list[str]]]] = {
    "peers": _peers,
    "homes": _homes,
    "graph": _graph,
    "durable": _durable,
    "cpu": _cpu,
    "imports": _imports,
    "load": _load,
    "long": _long,
    "versions": _versions,
}


def _show(run: Published, pairs: int) -> None:
    if run["jobs"]:
        print(f"\n{jobs_table(run['jobs'])}\n")
        print(f"Medians of {pairs} pairs, one repetition; ratio: Python over JavaScript, below 1 Python is faster.")
        print("Over floor: Python over as many empty calls in Python. Rows: as D1 counts them, JavaScript → Python.")
    if run["growth"]:
        print(f"\n{growth_table(run['growth'])}\n")


def _kept(run: Published, folder: Path) -> Path:
    """Store the results under the time of the run, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    file.write_text(json.dumps(run, indent=2) + "\n")
    return file


def _shown(file: Path) -> str:
    """Return the file's path relative to the current folder."""
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--pairs", type=_positive, help=f"how often the sides take turns ({PAIRS}; a part has its own number)"
    )
    parser.add_argument("--only", metavar="WORDS", default="", help="only the jobs with these words in their name")
    parser.add_argument(
        "--against",
        metavar="REF",
        default="",
        help="another version in the place of JavaScript: a git ref, or the address of its served bench/python_worker",
    )
    parser.add_argument(
        "--minutes", type=_positive, help=f"how long `--part long` lasts ({MINUTES}); with --publish it is measured too"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON (.runtime/bench)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--growth", action="store_true", help="only how the package's times grow with the size")
    what.add_argument("--publish", action="store_true", help="measure everything and write docs/performance.md")
    what.add_argument(
        "--part",
        choices=sorted([MAIN, *PARTS]),
        help="only this part of docs/performance.md, measured and written anew",
    )
    what.add_argument("--page", action="store_true", help="measure nothing: write the page from the last published run")
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
