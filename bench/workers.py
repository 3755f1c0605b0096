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

__all__ = ["BenchError", "Cost", "Measurement", "ServedWorker", "both_served", "cost_of", "difference", "served"]

HERE = Path(__file__).parent
TIMEOUT_S = 300


class BenchError(Exception):
    """A Worker could not do its job, or did another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one repetition costs in D1, by D1's own count. What a Durable Object costs is not counted."""

    batches: float
    rows_read: float
    rows_written: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One repetition's part of what the Worker measured around all of them."""

    elapsed_ms: float
    cost: Cost | None


class ServedWorker:
    """One side of the comparison."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._url = url
        self._prepared: list[Preparation] = []

    def prepare(self, preparation: Preparation) -> None:
        """Store what a job reads, once."""
        if preparation not in self._prepared:
            self._ask({"prepare": preparation.kind, "input": preparation.input})
            self._prepared.append(preparation)

    def measure(self, job: Job, *, key: str, count: bool = False) -> Measurement:
        """Let the Worker do the job under a key that it never saw, and check what it read back.

        The Worker times itself: the local runtime's clock runs on while it computes (at Cloudflare's edge it stands still between
        two I/Os), so that HTTP and the reading back stay out of it.

        Args:
            count: count what D1 counts, which takes time of its own: such a measurement's time is not to be used.

        Raises:
            BenchError: it failed, or read back something else than it was given.
        """
        order = {"job": job.kind, "key": key, "repetitions": job.repetitions, "count": count, "input": job.input}
        answer = self._ask(order)
        if answer["result"] != job.expected:
            raise BenchError(f"{self.name}: {job.name}: {difference(job.expected, answer['result'])}")
        return Measurement(
            elapsed_ms=answer["elapsedMs"] / job.repetitions, cost=cost_of(answer["cost"], job.repetitions)
        )

    def waiting(self, job: Job, *, key: str) -> dict[str, float]:
        """One repetition's time, and its parts that were waiting for D1 and for objects, in milliseconds."""
        order = {"job": job.kind, "key": key, "repetitions": job.repetitions, "waiting": True, "input": job.input}
        return {name: time_ms / job.repetitions for name, time_ms in self._ask(order).items()}

    def ask(self, kind: str) -> Any:
        """What a job that only asks has read."""
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
        worker = ServedWorker(name, runtime.url)
        worker.prepare(TABLES)
        yield worker


@contextmanager
def both_served() -> Generator[tuple[ServedWorker, ServedWorker]]:
    """The JavaScript Worker and the Python Worker."""
    with served("JavaScript", "javascript_worker") as javascript, served("Python", "python_worker") as python:
        yield javascript, python


def cost_of(counted: Mapping[str, int] | None, repetitions: int) -> Cost | None:
    """One repetition's cost; None where nothing was asked of D1."""
    if not counted or not counted["batches"]:
        return None
    return Cost(
        batches=counted["batches"] / repetitions,
        rows_read=counted["rowsRead"] / repetitions,
        rows_written=counted["rowsWritten"] / repetitions,
    )


def difference(expected: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """The first thing that was read back otherwise, in words."""
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
    """A value as text that fits a line."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else text[:300] + "…"
