"""The runtime's processes, as Linux shows them."""

import os
from collections.abc import Iterator
from pathlib import Path

from bench.workers import BenchError

__all__ = ["cpu_ms", "resident_bytes", "runtimes"]

NANOSECONDS_A_MS = 1_000_000


def runtimes(parent: int) -> list[int]:
    """Every workerd below a process.

    Raises:
        BenchError: there is none.
    """
    found = [process for process in _descendants(parent) if _is_workerd(process)]
    if not found:
        raise BenchError("no workerd is running below this process; memory and CPU are measured on Linux only")
    return found


def cpu_ms(process: int) -> float:
    """The CPU time of a process so far, user and system, of all its threads, in milliseconds."""
    spent = (int((thread / "schedstat").read_text().split()[0]) for thread in Path(f"/proc/{process}/task").iterdir())
    return sum(spent) / NANOSECONDS_A_MS


def resident_bytes(process: int) -> int:
    """The memory of a process, without what is swapped out."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _descendants(process: int) -> Iterator[int]:
    for thread in Path(f"/proc/{process}/task").iterdir():
        for child in (thread / "children").read_text().split():
            yield int(child)
            yield from _descendants(int(child))


def _is_workerd(process: int) -> bool:
    return Path(f"/proc/{process}/comm").read_text().strip() == "workerd"
