"""LangGraph's own async graph tests with `D1Saver` on sqlite in the place of `AsyncSqliteSaver`, beside those with its saver in memory.

`kit.py path/to/langgraph/libs/langgraph/tests` runs the tests of a checkout in an environment of its own. The pytest of `D1Saver` loads
this file as a plugin, which puts the saver in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from agents_store_cloudflare.adapters.langgraph import D1Saver
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.testing import SqliteDatabase

FILES = (
    "test_pregel_async.py",
    "test_large_cases_async.py",
    "test_subgraph_persistence_async.py",
    "test_time_travel_async.py",
    "test_parent_command_async.py",
)
MEMORY, REPLACED = "memory", "sqlite_aio"
"""Parameters of LangGraph's `async_checkpointer`: the saver in memory, and the one that `D1Saver` replaces."""

FACTORY = "_checkpointer_sqlite_aio"


@asynccontextmanager
async def d1_saver() -> AsyncGenerator[Any]:
    """Make a saver on an empty database."""
    database = SqliteDatabase()
    await run_migration(database)
    yield D1Saver(database)


def pytest_collection_finish() -> None:
    """Put `D1Saver` in the place of the replaced saver: the fixture looks its factory up by name."""
    conftest: Any = sys.modules["tests.conftest"]
    assert hasattr(conftest, FACTORY), f"LangGraph's conftest has no {FACTORY} any more"
    setattr(conftest, FACTORY, d1_saver)


def outcomes(tests: Path, saver: str, *options: str) -> dict[str, bool]:
    """Run the tests with one saver. Return which of them passed, by their names without the saver's."""
    report = tests.parent / f"{saver}.xml"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--override-ini", "addopts=", "-k", saver,
         "--junit-xml", str(report), *options, *(f"tests/{name}" for name in FILES)],
        cwd=tests.parent, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_DOCKER": "true", "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{os.environ['PYTHONPATH']}"},
    )  # fmt: skip
    if not report.exists():
        print(run.stdout[-3_000:] + run.stderr[-3_000:], flush=True)
        return {}
    cases = [case for case in ET.parse(report).iter("testcase") if case.find("skipped") is None]
    return {
        f"{case.get('classname')}::{case.get('name')}".replace(saver, "saver"): (
            case.find("failure") is None and case.find("error") is None
        )
        for case in cases
    }


def main() -> int:
    """Whether no test fails with `D1Saver` that passes with the saver in memory; prints the figures."""
    with tempfile.TemporaryDirectory() as folder:
        tests = shutil.copytree(sys.argv[1], Path(folder) / "tests")
        in_memory, own = outcomes(tests, MEMORY), outcomes(tests, REPLACED, "-p", "kit")
    failures = {name for name, passed in own.items() if not passed}
    known = {name for name, passed in in_memory.items() if not passed}
    for name, found in (("its saver in memory", in_memory), ("D1Saver on sqlite", own)):
        figures = f"{sum(found.values())} of {len(found)} tests passed"
        print(f"conformance: async graph tests of langgraph {version('langgraph')}, {name}: {figures}", flush=True)
    for name in sorted(failures):
        print(f"  {name} fails{' with both' if name in known else ''}", flush=True)
    return 0 if own and not failures - known else 1


if __name__ == "__main__":
    sys.exit(main())
