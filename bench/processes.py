"""The runtime's processes, as Linux shows them."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.workers import BenchError

__all__ = ["bytes_by_process", "cpu_ms", "resident_bytes", "role_of", "runtimes"]

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


def bytes_by_process(parent: int) -> dict[str, int]:
    """The memory of every process below a process, by what the process is there for."""
    sizes: Counter[str] = Counter()
    for process in _descendants(parent):
        try:
            arguments = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
            sizes[role_of(arguments)] += resident_bytes(process)
        except OSError:
            continue  # it has ended
    return dict(sizes)


def role_of(arguments: Sequence[str]) -> str:
    """What a process of `wrangler dev` is there for, by its command line."""
    program = Path(arguments[0]).name
    if program == "node":
        return "node: wrangler"
    if program != "workerd":
        return program
    inspected = any(each.startswith("--inspector-addr") for each in arguments)
    return "workerd: the Worker and its objects" if inspected else "workerd: wrangler's proxy"


def _descendants(process: int) -> Iterator[int]:
    for thread in Path(f"/proc/{process}/task").iterdir():
        for child in (thread / "children").read_text().split():
            yield int(child)
            yield from _descendants(int(child))


def _is_workerd(process: int) -> bool:
    return Path(f"/proc/{process}/comm").read_text().strip() == "workerd"
