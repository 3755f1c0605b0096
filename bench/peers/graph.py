"""A LangGraph graph of 50 steps, by this package's saver and by the package that others publish for D1."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from bench.findings import Published
from bench.jobs import TABLES
from bench.peers.latency import DELAYS_MS, waits_in_a_row
from bench.workers import BenchError, ServedWorker
from tools.local_runtime import LocalRuntime

__all__ = ["SAVERS", "STEPS", "Saver", "graph_entry", "run_graph"]

CONFIG = Path(__file__).parent / "graph_worker" / "wrangler.toml"
STEPS = 50
CHECKPOINTS = STEPS + 2
"""One before the input is taken, one after it, one after each step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saver:
    """One way to keep the checkpoints.

    Attributes:
        key: its name in the Worker.
        checkpoints: how many of the checkpoints can be read afterwards.
    """

    name: str
    key: str
    checkpoints: int
    note: str


SAVERS = (
    Saver(
        name="`D1Saver` of this package",
        key="D1Saver",
        checkpoints=CHECKPOINTS,
        note="each value once, growing lists in blocks, one batch a call, a failed write raises",
    ),
    Saver(
        name="`WorkerCloudflareD1Saver` of langgraph-checkpoint-cloudflare-d1 0.1.6",
        key="WorkerCloudflareD1Saver",
        checkpoints=CHECKPOINTS - 1,
        note="every checkpoint holds the whole state as base64; a failed write is logged at most: "
        "the first checkpoint of each thread is refused by D1 (it binds `undefined`) and is missing afterwards",
    ),
)


def run_graph(rounds: int) -> tuple[list[Published], list[str]]:
    """Every saver's figures, in turns. With a failure there are none."""
    found: dict[str, dict[int, list[float]]] = {saver.key: {delay_ms: [] for delay_ms in DELAYS_MS} for saver in SAVERS}
    costs: dict[str, Mapping[str, float]] = {}
    with LocalRuntime(CONFIG) as runtime:
        worker = ServedWorker("LangGraph", runtime.url)
        worker.prepare(TABLES)
        try:
            for turn, delay_ms in product(range(-1, rounds), DELAYS_MS):
                print(f"bench: graph, {delay_ms} ms, round {turn + 1} of {rounds}", flush=True)
                for saver in SAVERS if turn % 2 == 0 else SAVERS[::-1]:
                    answer = _ran(worker, saver, f"{delay_ms}-{turn}", delay_ms)
                    if turn < 0:  # the first round warms up
                        continue
                    found[saver.key][delay_ms].append(float(answer["elapsedMs"]))
                    if delay_ms == 0:
                        costs[saver.key] = answer["cost"]
        except BenchError as error:
            return [], [str(error)]
    return [graph_entry(saver, found[saver.key], costs[saver.key]) for saver in SAVERS], []


def graph_entry(saver: Saver, times_ms: Mapping[int, list[float]], cost: Mapping[str, float]) -> Published:
    """One saver, as a published run has it."""
    return {
        "name": saver.name,
        "note": saver.note,
        "medianMs": {str(delay_ms): median(each) for delay_ms, each in times_ms.items()},
        "timesMs": {str(delay_ms): list(each) for delay_ms, each in times_ms.items()},
        "waitsInARow": waits_in_a_row(times_ms),
        "cost": dict(cost),
        "checkpoints": saver.checkpoints,
        "allCheckpoints": CHECKPOINTS,
    }


def _ran(worker: ServedWorker, saver: Saver, key: str, delay_ms: int) -> Any:
    order = {"saver": saver.key, "thread": f"{saver.key}-{key}", "steps": STEPS, "delays": {"ms": delay_ms, "seed": 1}}
    answer = worker.ask_for(order)
    expected = {"notes": [str(step) for step in range(STEPS)], "checkpoints": saver.checkpoints}
    if answer["result"] != expected:
        raise BenchError(f"{saver.name}: read back {answer['result']}, not {expected}")
    return answer
