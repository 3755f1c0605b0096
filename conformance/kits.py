"""The kits that need no other environment: each runs over this package's store and over the framework's own, some on D1 too."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

from conformance.inside import run_inside, worker_of
from tools.places import ROOT

KITS = {
    "openai-agents' sessions: D1Session, in homes too, and the SDK's own": "tests/adapters/openai_agents/test_conformance.py",
    "pydantic-ai's conversation store: D1ConversationStore beside the one in memory": (
        "tests/adapters/pydantic_ai/test_against_memory.py"
    ),
    "LangGraph's store: D1Store beside the one in memory": "tests/adapters/langgraph/test_items_against_memory.py",
    "A2A's task lists: D1TaskStore beside the one in memory": "tests/adapters/a2a/test_lists.py",
}
"""What a kit compares, and its file."""

INSIDE = {
    "openai-agents' sessions: D1Session, in homes too": ("openai_agents_worker", "suite/test_conformance.py"),
    "LangGraph's store: D1Store beside the one in memory": (
        "langgraph_worker",
        "tests/adapters/langgraph/test_items_against_memory.py",
    ),
    "pydantic-ai's conversation store: D1ConversationStore beside the one in memory": (
        "pydantic_ai_worker",
        # One of its eight seeds, 1,500 calls: all of them take minutes there.
        "tests/adapters/pydantic_ai/test_against_memory.py::test_random_primitives[0]",
    ),
}
"""What a kit compares inside the Workers runtime, the Worker, and its file there."""


def kits() -> bool:
    """Whether every kit passes; prints the figures."""
    passed = [_is_passed(name, path) for name, path in KITS.items()]
    passed += [_is_passed_inside(name, worker, path) for name, (worker, path) in INSIDE.items()]
    return all(passed)


def _is_passed(name: str, path: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", path]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        suite = ET.parse(report).getroot().find("testsuite") if report.exists() else None
    told = {} if suite is None else suite.attrib
    count = int(told.get("tests", 0))
    passed = count - sum(int(told.get(kind, 0)) for kind in ("failures", "errors", "skipped"))
    print(f"conformance: {name}: {passed} of {count} tests passed", flush=True)
    if run.returncode:
        print(run.stdout[-3_000:], flush=True)
    return run.returncode == 0 and passed == count > 0


def _is_passed_inside(name: str, worker: str, path: str) -> bool:
    inside = run_inside(worker_of(worker), path)
    print(f"conformance: {name}, in the Worker: {inside.passed} of {inside.count} tests passed", flush=True)
    if not inside.is_passed:
        print(inside.output[-3_000:], flush=True)
    return inside.is_passed
