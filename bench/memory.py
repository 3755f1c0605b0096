"""Measures the memory that idle streams take in the runtime."""

import os
import time

from bench.findings import Published
from bench.jobs import Floor, Job
from bench.processes import resident_bytes, runtimes
from bench.workers import ServedWorker, served

__all__ = ["memory_entry", "run_memory"]

STREAMS = 1_000
WARM_UP_STREAMS = 50
AGAIN_STREAMS = 300
MOST_ROUNDS = 4
IDLE_S = 15.0  # the local runtime evicts an object after 10 s


def run_memory() -> Published:
    """Measure the process before and after a thousand streams with one chunk each, on both sides, and Python's streams after an
    eviction.

    Raises:
        BenchError: a Worker failed, or no runtime was found.
    """
    print(f"bench: memory of {STREAMS:,} idle streams", flush=True)
    with served("JavaScript", "javascript_worker") as javascript:
        javascript_before, javascript_after = _touched_bytes(javascript)
    with served("Python", "python_worker") as python:
        before, after = _touched_bytes(python)
        living = _living(python)
        living_later = _living_later(python)
        return memory_entry(
            javascript_bytes=(javascript_before, javascript_after),
            python_bytes=(before, after),
            living=living,
            living_later=living_later,
            later_bytes=_runtime_bytes(),
        )


def memory_entry(
    *,
    javascript_bytes: tuple[int, int],
    python_bytes: tuple[int, int],
    living: int,
    living_later: int,
    later_bytes: int,
) -> Published:
    """Return the growth of one stream on both sides.

    Args:
        javascript_bytes, python_bytes: the process before and after.
        living, living_later: the streams whose objects are in the interpreter: directly after the writes, and after the eviction of
            idle ones.
        later_bytes: the process after the eviction.
    """
    return {
        "streams": STREAMS,
        "javascriptBytesPerStream": (javascript_bytes[1] - javascript_bytes[0]) / STREAMS,
        "pythonBytesPerStream": (python_bytes[1] - python_bytes[0]) / STREAMS,
        "beforeBytes": python_bytes[0],
        "afterBytes": python_bytes[1],
        "living": living,
        "touchedAgain": AGAIN_STREAMS,
        "livingLater": living_later,
        "laterBytes": later_bytes,
    }


def _touched_bytes(worker: ServedWorker) -> tuple[int, int]:
    _touch(worker, "warm", WARM_UP_STREAMS)
    before_bytes = _runtime_bytes()
    _touch(worker, "idle", STREAMS)
    return before_bytes, _runtime_bytes()


def _living_later(python: ServedWorker) -> int:
    """Wait until all streams are evicted, and touch some of them again. These get new objects, and the old objects can be freed."""
    living = STREAMS
    for _ in range(MOST_ROUNDS):
        time.sleep(IDLE_S)
        _touch(python, "idle", AGAIN_STREAMS)
        living = _living(python)
        if living < STREAMS:
            break
    return living


def _touch(worker: ServedWorker, key: str, streams: int) -> None:
    arguments = {"streams": streams}
    job = Job(name="touch", kind="touch_streams", repetitions=1, input=arguments, expected={}, floor=Floor())
    worker.measure(job, key=key)


def _living(python: ServedWorker) -> int:
    return int(python.ask("count_streams")["living"])


def _runtime_bytes() -> int:
    """Return the resident memory of every workerd that this process has started."""
    return sum(resident_bytes(process) for process in runtimes(os.getpid()))
