"""Half an hour of steady load, with the runtime's memory watched: does anything grow, does anything become slower?"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from statistics import fmean
from typing import TypeAlias
from urllib.request import urlopen

from bench.findings import Published
from bench.load import CONFIG, answered_turns, cuts, prepared
from bench.processes import bytes_by_process
from tools.local_runtime import LocalRuntime

__all__ = ["PYTHON", "SAMPLE_S", "WHOLE", "grows", "long_entry", "run_long_load", "slope"]

Sample: TypeAlias = tuple[float, Mapping[str, int]]
"""The seconds since the beginning, and the bytes of each process."""

PYTHON = "of it Python's memory (WebAssembly)"
"""Not a process: a part of the Worker's. It never shrinks."""

CLIENTS = 8
"""Each begins a turn every second: half of the rate at which the local runtime still answers without a queue."""

SAMPLE_S = 10.0
WARM_UP = 2 / 3
"""The part of the run in which caches fill and the garbage collectors find their limits. The slope is fitted to the rest.

Two runtimes have a limit: the Worker's, and the one of wrangler's proxy, which holds 20 KB more with each request until it collects.
"""

MOST_GROWTH = 0.05
"""Memory that rises by no more than this part of its mean, over the fitted time, does not grow."""

THIRDS = 3
PATIENCE_S = 60
WHOLE = "all together"


def run_long_load(minutes: float) -> Published:
    """Send turns at a fixed rate, and read the memory of each process of the runtime every ten seconds.

    Args:
        minutes: how long.
    """
    print(f"bench: {CLIENTS} turns a second for {minutes:g} minutes", flush=True)
    with LocalRuntime(CONFIG) as runtime:
        return asyncio.run(_watched(runtime, minutes * 60))


async def _watched(runtime: LocalRuntime, seconds: float) -> Published:
    await prepared(runtime.url)
    began_s = time.monotonic()
    samples: list[Sample] = []

    python_bytes = _python_bytes(runtime.url)

    async def sample() -> None:
        while True:
            sizes = {**bytes_by_process(runtime.process_id), PYTHON: python_bytes}
            samples.append((time.monotonic() - began_s, sizes))
            await asyncio.sleep(SAMPLE_S)

    async def ask() -> None:
        """Apart from the samples: a Worker that is full answers late, or not at all."""
        nonlocal python_bytes
        while True:
            await asyncio.sleep(SAMPLE_S)
            with suppress(OSError):
                python_bytes = await asyncio.to_thread(_python_bytes, runtime.url)

    watching = [asyncio.ensure_future(each) for each in (sample(), ask())]
    try:
        answers = await answered_turns(runtime.url, CLIENTS, seconds)
    finally:
        for task in watching:
            task.cancel()
    return long_entry(seconds, answers, samples)


def _python_bytes(url: str) -> int:
    with urlopen(f"{url}/memory", timeout=PATIENCE_S) as answer:
        return int(answer.read())


def long_entry(seconds: float, answers: Sequence[tuple[int, float]], samples: Sequence[Sample]) -> Published:
    """The run, as it is published.

    Args:
        seconds: its length.
        answers: each turn's status and milliseconds, in the order in which they were due.
        samples: the memory over the time.
    """
    third = len(answers) // THIRDS
    names = list(dict.fromkeys(name for _, sizes in samples for name in sizes))
    processes = {name: [(at_s, sizes.get(name, 0)) for at_s, sizes in samples] for name in names}
    whole = [(at_s, sum(size for name, size in sizes.items() if name != PYTHON)) for at_s, sizes in samples]
    return {
        "seconds": seconds,
        "turnsASecond": CLIENTS,
        "errors": sum(status != 200 for status, _ in answers),
        "firstThirdMs": _cuts(answers[:third]),
        "lastThirdMs": _cuts(answers[-third:]),
        "secondsOfSamples": [round(at_s, 1) for at_s, _ in samples],
        "memory": [{"name": name, **_memory(each)} for name, each in {**processes, WHOLE: whole}.items()],
    }


def _memory(samples: Sequence[tuple[float, int]]) -> Published:
    return {
        "bytes": [size_bytes for _, size_bytes in samples],
        "bytesAMinute": slope(_fitted(samples)) * 60,
        "grows": grows(samples),
    }


def grows(samples: Sequence[tuple[float, int]]) -> bool:
    """Return whether the memory grows after the warm-up: the line of least squares rises by more than a twentieth of the mean."""
    fitted = _fitted(samples)
    rise = slope(fitted) * (fitted[-1][0] - fitted[0][0])
    return rise > MOST_GROWTH * fmean(size for _, size in fitted)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line of least squares.

    Raises:
        ValueError: there are fewer than two different places.
    """
    mean_x, mean_y = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if not spread:
        raise ValueError("a slope takes two places")
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def _fitted(samples: Sequence[tuple[float, int]]) -> Sequence[tuple[float, int]]:
    return samples[int(len(samples) * WARM_UP) :]


def _cuts(answers: Sequence[tuple[int, float]]) -> list[float]:
    return cuts([time_ms for status, time_ms in answers if status == 200])
