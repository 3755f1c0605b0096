"""The CPU time of each job's Worker, from the operating system.

The Worker asks an address of this process when the timed part begins and when it ends. At these two moments the CPU time of its runtime
is read: what is made ready before and read back afterwards stays out. The asking itself costs what an empty job costs; that is taken off.
"""

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from typing import ClassVar

from bench.findings import Published
from bench.jobs import Floor, Job
from bench.processes import cpu_ms, runtimes
from bench.workers import ServedWorker, both_served

__all__ = ["cpu_entry", "run_cpu"]

NO_CALLS = {"batches": 0, "calls": 0, "lanes": 1}
NOTHING = Job(name="nothing", kind="floor", repetitions=1, input=NO_CALLS, expected={"made": 0}, floor=Floor())


class Marks:
    """The CPU time of one runtime at each moment that its Worker marked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.process = 0
        self.taken_ms: list[float] = []

    def take(self) -> None:
        """Read the clock of the process."""
        self.taken_ms.append(cpu_ms(self.process))


def run_cpu(jobs: Sequence[Job], rounds: int) -> list[Published]:
    """Every job's CPU time on both sides, in turns."""
    with both_served() as sides, _marks() as marks:
        nothing_ms = {side.name: _median_ms(side, NOTHING, marks, rounds) for side in sides}
        entries: list[Published] = []
        for job in jobs:
            print(f"bench: CPU of {job.name}", flush=True)
            for side in sides:
                for preparation in job.preparations:
                    side.prepare(preparation)
            spent = [
                {side.name: _spent_ms(side, job, marks, turn) for side in (sides if turn % 2 == 0 else sides[::-1])}
                for turn in range(rounds)
            ]
            entries.append(cpu_entry(job, spent, nothing_ms))
        return entries


def cpu_entry(job: Job, rounds: Sequence[dict[str, float]], nothing_ms: dict[str, float]) -> Published:
    """One job, as a published run has it: each side's median of one repetition, and the median ratio within the rounds."""
    own = [{name: max(ms - nothing_ms[name], 0) / job.repetitions for name, ms in each.items()} for each in rounds]
    return {
        "name": job.name,
        "javascriptMs": median(each["JavaScript"] for each in own),
        "pythonMs": median(each["Python"] for each in own),
        "ratio": median(each["Python"] / each["JavaScript"] for each in own if each["JavaScript"]),
    }


def _median_ms(side: ServedWorker, job: Job, marks: Marks, rounds: int) -> float:
    return median(_spent_ms(side, job, marks, turn) for turn in range(rounds))


def _spent_ms(side: ServedWorker, job: Job, marks: Marks, turn: int) -> float:
    marks.process = _busiest(side)
    marks.taken_ms = []
    side.measure(job, key=f"cpu-{turn}-{job.kind}-{job.name}", marks=marks.url)
    begun_ms, ended_ms = marks.taken_ms
    return ended_ms - begun_ms


def _busiest(side: ServedWorker) -> int:
    """The process that runs the Worker: wrangler starts a second workerd, which only passes requests on."""
    return max(runtimes(side.process), key=cpu_ms)


@contextmanager
def _marks() -> Generator[Marks]:
    class Handler(BaseHTTPRequestHandler):
        marks: ClassVar[Marks]

        def do_GET(self) -> None:
            self.marks.take()
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Handler.marks = marks = Marks(f"http://127.0.0.1:{server.server_address[1]}/")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield marks
        finally:
            server.shutdown()
