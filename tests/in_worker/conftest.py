"""Runs the tests of each Worker's `suite` inside the Workers runtime, each shown here as its own test with its own traceback.

The host's pytest collects the same files, but instead of calling a test it asks the Worker, which runs the file's selected tests
in one request with its own pytest, and shows the reports that come back. A Worker that does not start, does not answer, or answers
without a test fails that test: nothing here passes without having run inside.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tools.local_runtime import LocalRuntime

HERE = Path(__file__).parent
REQUEST_TIMEOUT_S = 900
collect_ignore_glob = ["*/tests/*"]
"""Modules that a suite imports under their own names. Their tests run where they come from."""

RUNS = pytest.StashKey["dict[Path, InWorkerRun]"]()


class InWorkerRun:
    """One runtime for all tests of a Worker, started by the first; the reports of each file after its first test."""

    def __init__(self, worker: Path) -> None:
        self._worker = worker
        self._runtime: LocalRuntime | None = None
        self._failure: str | None = None
        self._reports: dict[Path, dict[str, list[dict[str, Any]]]] = {}
        self._outputs: dict[Path, str] = {}

    def reports(self, item: pytest.Item) -> list[dict[str, Any]]:
        """Return the serialised reports of one test.

        Raises:
            RuntimeError: the Worker did not run it.
        """
        if item.path not in self._reports:
            ids = [self._id(other) for other in item.session.items if other.path == item.path]
            self._reports[item.path], self._outputs[item.path] = self._ask(ids)
        reports = self._reports[item.path].get(self._id(item))
        if not reports:
            raise RuntimeError(
                f"the Worker did not run this test; its pytest says:\n{self._outputs[item.path][-3_000:]}"
            )
        return reports

    def close(self) -> None:
        if self._runtime is not None:
            self._runtime.close()

    def _ask(self, ids: list[str]) -> tuple[dict[str, list[dict[str, Any]]], str]:
        request = Request(self._url(), data=json.dumps({"tests": ids}).encode(), method="POST")
        with urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:
            answer = json.load(response)
        grouped: dict[str, list[dict[str, Any]]] = {}
        for report in answer["reports"]:
            grouped.setdefault(report["nodeid"], []).append(report)
        return grouped, answer["output"]

    def _url(self) -> str:
        if self._failure is not None:
            raise RuntimeError(self._failure)
        if self._runtime is None:
            runtime = LocalRuntime(self._worker / "wrangler.toml")
            try:
                runtime.start()
            except Exception as error:
                runtime.close()
                self._failure = f"the Workers runtime did not start: {error}"
                raise
            self._runtime = runtime
        return self._runtime.url

    def _id(self, item: pytest.Item) -> str:
        name = item.nodeid.split("::", 1)[1]
        return f"{item.path.relative_to(self._worker).as_posix()}::{name}"


def _worker(item: pytest.Item) -> Path | None:
    """Return the folder of the Worker that runs a test, or None for a test of the host."""
    parts = item.path.relative_to(HERE).parts if item.path.is_relative_to(HERE) else ()
    return HERE / parts[0] if len(parts) > 1 and parts[1] == "suite" else None


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RUNS] = {}


def pytest_unconfigure(config: pytest.Config) -> None:
    for run in config.stash[RUNS].values():
        run.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _worker(item) is not None:
            item.add_marker("runtime")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    worker = _worker(item)
    if worker is None:
        return None
    run = item.config.stash[RUNS].setdefault(worker, InWorkerRun(worker))
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _reports(item, run):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    # An item before this one may have left open what it shares with it (a folder, a module): nothing here needs it.
    item.session._setupstate.teardown_exact(nextitem)  # pyright: ignore[reportPrivateUsage]
    return True


def _reports(item: pytest.Item, run: InWorkerRun) -> Iterator[pytest.TestReport]:
    try:
        received = run.reports(item)
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the test has not run: that is its failure
        yield pytest.TestReport(item.nodeid, item.location, {}, "failed", f"{type(error).__name__}: {error}", "call")
        return
    for data in received:
        report = item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
        report.nodeid, report.location = item.nodeid, item.location
        if report.skipped:  # why, and where: JSON made a list of it
            report.longrepr = (report.longrepr[0], report.longrepr[1], report.longrepr[2])
        yield report
