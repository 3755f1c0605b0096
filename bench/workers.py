"""The two Workers that do the jobs, each in a runtime of its own."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from bench.jobs import TABLES, Job, Preparation
from tools.local_runtime import LocalRuntime

__all__ = [
    "BenchError",
    "Cost",
    "Measurement",
    "ServedWorker",
    "beside",
    "both_served",
    "cost_of",
    "difference",
    "served",
]

HERE = Path(__file__).parent
TIMEOUT_S = 300


class BenchError(Exception):
    """A Worker could not do its job, or did another job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of one repetition in D1, by D1's own count. The cost of Durable Objects is not counted."""

    batches: float
    rows_read: float
    rows_written: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The time of one repetition, from the time that the Worker measured around all repetitions."""

    elapsed_ms: float
    cost: Cost | None


class ServedWorker:
    """One side of the comparison."""

    def __init__(self, name: str, url: str, *, process: int = 0) -> None:
        self.name = name
        self.process = process
        self._url = url
        self._prepared: list[Preparation] = []

    def prepare(self, preparation: Preparation) -> None:
        """Store the data that a job reads, once."""
        if preparation not in self._prepared:
            self._ask({"prepare": preparation.kind, "input": preparation.input})
            self._prepared.append(preparation)

    def ask_for(self, order: Mapping[str, Any]) -> Any:
        """Return the Worker's answer to a complete order."""
        return self._ask(order)

    def measure(self, job: Job, *, key: str, count: bool = False, marks: str | None = None) -> Measurement:
        """Let the Worker do the job under a new key, and check the result that it read back.

        The Worker times itself, so HTTP and the reading back are not measured. The local runtime's clock runs while the Worker
        computes. On Cloudflare's network it stands still between two I/Os.

        Args:
            count: also read D1's counts. This takes time, so the time of such a measurement must not be used.
            marks: an address that the Worker asks when the timed part begins, and when it ends.

        Raises:
            BenchError: the Worker failed, or read back a wrong result.
        """
        order = {"job": job.kind, "key": key, "repetitions": job.repetitions, "count": count, "input": job.input}
        answer = self._ask(order if marks is None else {**order, "marks": marks})
        if answer["result"] != job.expected:
            raise BenchError(f"{self.name}: {job.name}: {difference(job.expected, answer['result'])}")
        return Measurement(
            elapsed_ms=answer["elapsedMs"] / job.repetitions, cost=cost_of(answer["cost"], job.repetitions)
        )

    def waiting(self, job: Job, *, key: str) -> dict[str, float]:
        """Return one repetition's time, and its parts that were waiting for D1 and for objects, in milliseconds."""
        return self._divided(job, key, "waiting")

    def profile(self, job: Job, *, key: str) -> dict[str, float]:
        """Return one repetition's time under a profile, and the time of each part of it, in milliseconds."""
        return self._divided(job, key, "profile")

    def _divided(self, job: Job, key: str, measure: str) -> dict[str, float]:
        order = {"job": job.kind, "key": key, "repetitions": job.repetitions, "measure": measure, "input": job.input}
        return {name: time_ms / job.repetitions for name, time_ms in self._ask(order).items()}

    def ask(self, kind: str) -> Any:
        """Return the result of a job that only reads."""
        return self._ask({"job": kind, "key": "", "repetitions": 1, "count": False, "input": {}})["result"]

    def _ask(self, order: Mapping[str, Any]) -> Any:
        request = Request(self._url, data=json.dumps(order).encode(), method="POST")
        try:
            with urlopen(request, timeout=TIMEOUT_S) as response:
                return json.load(response)
        except HTTPError as error:
            raise BenchError(f"{self.name}: status {error.code}: {error.read().decode(errors='replace')}") from error
        except OSError as error:
            raise BenchError(f"{self.name}: no answer: {error}") from error


@contextmanager
def served(name: str, folder: str) -> Generator[ServedWorker]:
    """A Worker of this folder, with its tables in an empty database."""
    with LocalRuntime(HERE / folder / "wrangler.toml") as runtime:
        worker = ServedWorker(name, runtime.url, process=runtime.process_id)
        worker.prepare(TABLES)
        yield worker


@contextmanager
def both_served() -> Generator[tuple[ServedWorker, ServedWorker]]:
    """The JavaScript Worker and the Python Worker."""
    with served("JavaScript", "javascript_worker") as javascript, served("Python", "python_worker") as python:
        yield javascript, python


@contextmanager
def beside(url: str) -> Generator[tuple[ServedWorker, ServedWorker]]:
    """The bench's Python Worker of another version, which somebody serves at this address, and the one of this checkout."""
    with served("Python", "python_worker") as python:
        other = ServedWorker("the other version", url)
        other.prepare(TABLES)
        yield other, python


def cost_of(counted: Mapping[str, int] | None, repetitions: int) -> Cost | None:
    """Return one repetition's cost; None if nothing was sent to D1."""
    if not counted or not counted["batches"]:
        return None
    return Cost(
        batches=counted["batches"] / repetitions,
        rows_read=counted["rowsRead"] / repetitions,
        rows_written=counted["rowsWritten"] / repetitions,
    )


def difference(expected: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Return the first difference between the expected and the read result, in words."""
    name = next(name for name in sorted({*expected, *result}) if expected.get(name) != result.get(name))
    wanted, got = cast("object", expected.get(name)), cast("object", result.get(name))
    if type(wanted) is type(got) is list:
        items, others = cast("list[object]", wanted), cast("list[object]", got)
        if len(items) != len(others):
            return f"{name} should have {len(items)} items, {len(others)} were read back"
        place = next(place for place, item in enumerate(items) if item != others[place])
        return f"{name}[{place}] should be {short(items[place])}, was read back as {short(others[place])}"
    return f"{name} should be {short(wanted)}, was read back as {short(got)}"


def short(value: object) -> str:
    """Return a value as text that fits a line."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else text[:300] + "…"
