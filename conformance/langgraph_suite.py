"""LangGraph's conformance suite: on sqlite in an environment of its own, and inside the Workers runtime on D1.

`LANGGRAPH=path/to/its/repository` runs the suite of that checkout too, which has more tests than the last published one. It also runs
LangGraph's own async graph tests with `D1Saver` among its savers.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from conformance.environments import run_alone
from conformance.inside import run_inside, worker_of
from tools.places import RUNTIME

KIT = Path(__file__).parent / "langgraph/kit.py"
WORKER = worker_of("langgraph_worker")
TESTS = "suite/test_conformance.py"
SOURCE = "libs/checkpoint-conformance"
GRAPHS = Path(__file__).parent / "langgraph_graphs/kit.py"
GRAPH_TESTS = "libs/langgraph/tests"


def langgraph() -> bool:
    """Whether `D1Saver` passes the suite in both places; prints the figures."""
    outcomes = [run_alone(KIT), _passes_inside(WORKER)]
    checkout = os.environ.get("LANGGRAPH")
    if checkout is None:
        print(
            "conformance: LANGGRAPH=path/to/its/repository runs LangGraph's unpublished suite and its graph tests too",
            flush=True,
        )
    else:
        outcomes += _unpublished(Path(checkout) / SOURCE)
        outcomes.append(run_alone(GRAPHS, str((Path(checkout) / GRAPH_TESTS).absolute())))
    return all(outcomes)


def _unpublished(source: Path) -> list[bool]:
    """Run a checkout's suite in both places. Inside it is part of a copy of the Worker."""
    on_sqlite = run_alone(KIT, "unpublished", source=source)
    with tempfile.TemporaryDirectory(dir=RUNTIME) as folder:
        worker = shutil.copytree(WORKER, Path(folder) / "worker")
        shutil.copytree(source / "langgraph", worker / "unpublished/langgraph")
        return [on_sqlite, _passes_inside(worker)]


def _passes_inside(worker: Path) -> bool:
    """The Worker's pytest runs the suite for each kind of saver, and prints its figures."""
    inside = run_inside(worker, TESTS)
    print(inside.printed.strip() or "conformance: LangGraph's suite did not run in the Worker", flush=True)
    if not inside.is_passed:
        print(inside.output[-3_000:], flush=True)
    return inside.is_passed and bool(inside.printed)
