"""LangGraph's conformance suite: on sqlite in an environment of its own, and inside the Workers runtime on D1."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.request import Request, urlopen

from conformance.environments import run_alone
from tools.local_runtime import LocalRuntime
from tools.places import ROOT

HERE = Path(__file__).parent / "langgraph"
WORKER = ROOT / "tests/in_worker/langgraph_worker"
TEST = "suite/test_conformance.py::test_the_whole_suite"
WORKER_TIMEOUT_S = 300


def langgraph() -> bool:
    """Whether `D1Saver` passes the suite in both places; prints the figures."""
    on_sqlite = run_alone(HERE / "kit.py")
    newer = _newer()
    return _in_the_worker() and on_sqlite and newer


def _newer() -> bool:
    """The suite of LangGraph's repository, which has more tests than the last published one, if `LANGGRAPH` names a checkout of it."""
    checkout = os.environ.get("LANGGRAPH")
    if checkout is None:
        print("conformance: LANGGRAPH=path/to/its/repository runs the unpublished suite of LangGraph too", flush=True)
        return True
    return run_alone(HERE / "kit.py", "unpublished", source=Path(checkout) / "libs/checkpoint-conformance")


def _in_the_worker() -> bool:
    """The same suite on D1: the test that the Worker's own pytest runs counts its tests."""
    with LocalRuntime(WORKER / "wrangler.toml") as runtime:
        request = Request(runtime.url, data=json.dumps({"tests": [TEST]}).encode(), method="POST")
        with urlopen(request, timeout=WORKER_TIMEOUT_S) as response:
            answer = json.load(response)
    calls = [report for report in answer["reports"] if report.get("when") == "call"]
    is_passed = [report["outcome"] for report in calls] == ["passed"]
    figures = [text for report in calls for name, text in report["sections"] if name.startswith("Captured stdout")]
    print(f"conformance: {' '.join(figures).strip() or 'the suite did not run'}", flush=True)
    if not is_passed:
        print(answer["output"][-3_000:], flush=True)
    return is_passed and bool(figures)
