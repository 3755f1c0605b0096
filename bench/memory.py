"""What idle streams keep of the runtime's memory."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from bench.findings import Published
from bench.jobs import Floor, Job
from bench.workers import BenchError, ServedWorker, served

__all__ = ["memory_entry", "run_memory"]

STREAMS = 1_000
WARM_UP_STREAMS = 50
EVICTION_DEADLINE_S = 60.0
POLL_S = 3.0


def run_memory() -> Published:
    """A thousand streams with one chunk each, written by the package; the process before, right after, and when they sleep.

    Raises:
        BenchError: the Worker could not do it, or no runtime was found.
    """
    print(f"bench: memory of {STREAMS:,} idle streams", flush=True)
    with served("Python", "python_worker") as python:
        _touch(python, "warm", WARM_UP_STREAMS)
        before_bytes = _runtime_bytes()
        _touch(python, "idle", STREAMS)
        after_bytes, living = _runtime_bytes(), _living(python)
        deadline_s = time.monotonic() + EVICTION_DEADLINE_S
        living_later = living
        while living_later > STREAMS // 100 and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
            living_later = _living(python)
        return memory_entry(
            before_bytes=before_bytes,
            after_bytes=after_bytes,
            living=living,
            later_bytes=_runtime_bytes(),
            living_later=living_later,
        )


def memory_entry(
    *, before_bytes: int, after_bytes: int, living: int, later_bytes: int, living_later: int
) -> Published:
    """The growth, whole and for one stream; `living` counts the streams' objects in the interpreter."""
    return {
        "streams": STREAMS,
        "beforeBytes": before_bytes,
        "afterBytes": after_bytes,
        "bytesPerStream": (after_bytes - before_bytes) / STREAMS,
        "living": living,
        "laterBytes": later_bytes,
        "livingLater": living_later,
    }


def _touch(python: ServedWorker, key: str, streams: int) -> None:
    arguments = {"streams": streams}
    job = Job(name="touch", kind="touch_streams", repetitions=1, input=arguments, expected={}, floor=Floor())
    python.measure(job, key=key)


def _living(python: ServedWorker) -> int:
    return int(python.ask("count_streams")["living"])


def _runtime_bytes() -> int:
    """The resident memory of every workerd that this process has started."""
    sizes = [_resident_bytes(process) for process in _descendants(os.getpid()) if _is_workerd(process)]
    if not sizes:
        raise BenchError("no workerd is running below this process; memory is measured on Linux only")
    return sum(sizes)


def _descendants(process: int) -> Iterator[int]:
    for thread in Path(f"/proc/{process}/task").iterdir():
        for child in (thread / "children").read_text().split():
            yield int(child)
            yield from _descendants(int(child))


def _is_workerd(process: int) -> bool:
    return Path(f"/proc/{process}/comm").read_text().strip() == "workerd"


def _resident_bytes(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
