"""`make bench`: the same jobs by this package and by an idiomatic JavaScript Worker, on the same runtime, in alternating pairs.

Every job's result is read back and compared with what was given. Exit status 0: all jobs ran, and both sides agreed.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.jobs import TABLES, Job, all_jobs
from bench.ratios import compared
from bench.report import Finding, as_json, machine, table, versions
from bench.workers import BenchError, ServedWorker, served
from tools.local_runtime import RuntimeStartError
from tools.places import ROOT, RUNTIME

RESULTS = RUNTIME / "bench"


def main() -> int:
    """Run the bench; its exit status."""
    parser = _parser()
    options = parser.parse_args()
    jobs = [job for job in all_jobs() if options.only in job.name]
    if not jobs:
        parser.error(f"no job has {options.only!r} in its name; there are: {', '.join(job.name for job in all_jobs())}")
    started_s = time.monotonic()
    facts = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "pairs": options.pairs}
    facts |= {"versions": versions(), "machine": machine()}
    try:
        findings, failures = run(jobs, options.pairs)
    except RuntimeStartError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if findings:
        print(f"\n{table(findings)}\n")
        print(
            f"Medians of {options.pairs} pairs, one repetition; ratio: Python over JavaScript, below 1 Python is faster."
        )
        print("Rows: as D1 counts them, JavaScript → Python.")
        print(f"{shown(write(as_json(findings, facts), options.results))} has every time.")
    print(f"It took {time.monotonic() - started_s:.0f} s.")
    for failure in failures:
        print(f"bench: {failure}", file=sys.stderr)
    return 1 if failures else 0


def run(jobs: Sequence[Job], pairs: int) -> tuple[list[Finding], list[str]]:
    """Every job's finding, and what went wrong with those that have none."""
    findings: list[Finding] = []
    failures: list[str] = []
    with served() as (javascript, python):
        javascript.prepare(TABLES)
        python.prepare(TABLES)
        for job in jobs:
            print(f"bench: {job.name}", flush=True)
            try:
                findings.append(compare(job, javascript, python, pairs))
            except BenchError as error:
                failures.append(str(error))
    return findings, failures


def compare(job: Job, javascript: ServedWorker, python: ServedWorker, pairs: int) -> Finding:
    """Both sides in turn, the other one first each time; before that one round of each that warms up and counts."""
    for preparation in job.preparations:
        javascript.prepare(preparation)
        python.prepare(preparation)
    slug = "".join(letter if letter.isalnum() else "-" for letter in job.name)
    counted = [side.measure(job, key=f"{slug}-counted", count=True) for side in (javascript, python)]
    times_ms: list[tuple[float, float]] = []
    for pair in range(pairs):
        order = (javascript, python) if pair % 2 == 0 else (python, javascript)
        elapsed_ms = {side.name: side.measure(job, key=f"{slug}-{pair}").elapsed_ms for side in order}
        times_ms.append((elapsed_ms[javascript.name], elapsed_ms[python.name]))
    return Finding(job=job, comparison=compared(times_ms), javascript_cost=counted[0].cost, python_cost=counted[1].cost)


def write(text: str, folder: Path) -> Path:
    """Keep the results under the time of the run; the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    file.write_text(text + "\n")
    return file


def shown(file: Path) -> str:
    """The file's path as one would type it here."""
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--pairs", type=_positive, default=7, help="how often both sides do each job (7)")
    parser.add_argument("--only", metavar="WORDS", default="", help="only the jobs with these words in their name")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON (.runtime/bench)")
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
