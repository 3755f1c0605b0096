"""Measures the time that the import of the package adds to the first request of a new Worker."""

import time
from pathlib import Path
from statistics import median

from bench.findings import Published
from tools.local_runtime import LocalRuntime

__all__ = ["first_request_entry", "run_first_request"]

HERE = Path(__file__).parent / "cold_start"


def run_first_request(starts: int) -> Published:
    """Both Workers started in turn, the other one first each time."""
    print(f"bench: first requests, {starts} of each", flush=True)
    empty, importing = (LocalRuntime(HERE / name / "wrangler.toml") for name in ("empty", "importing"))
    times_ms: dict[LocalRuntime, list[float]] = {empty: [], importing: []}
    try:
        for runtime in (empty, importing):
            _start_ms(runtime)  # this start warms the disk
        for start in range(starts):
            for runtime in (empty, importing) if start % 2 == 0 else (importing, empty):
                times_ms[runtime].append(_start_ms(runtime))
    finally:
        empty.close()
        importing.close()
    return first_request_entry(times_ms[empty], times_ms[importing])


def first_request_entry(empty_ms: list[float], importing_ms: list[float]) -> Published:
    """Return the differences within the pairs, and their median."""
    extra_ms = [importing - empty for empty, importing in zip(empty_ms, importing_ms, strict=True)]
    return {
        "starts": len(extra_ms),
        "emptyMedianMs": median(empty_ms),
        "importingMedianMs": median(importing_ms),
        "extraMedianMs": median(extra_ms),
        "extraLowestMs": min(extra_ms),
        "extraHighestMs": max(extra_ms),
        "emptyMs": empty_ms,
        "importingMs": importing_ms,
    }


def _start_ms(runtime: LocalRuntime) -> float:
    """From the start of the runtime to the first answer."""
    runtime.log()  # stages the Worker, which is not part of its start
    started_s = time.perf_counter()
    runtime.start()
    elapsed_ms = (time.perf_counter() - started_s) * 1_000
    runtime.stop()
    return elapsed_ms
