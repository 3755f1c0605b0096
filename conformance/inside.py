"""Kits inside the Workers runtime: the pytest of a Worker of tests/in_worker runs them on its D1."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tools.local_runtime import LocalRuntime
from tools.places import ROOT

__all__ = ["Inside", "run_inside", "worker_of"]

TIMEOUT_S = 600


@dataclass(frozen=True)
class Inside:
    """What a Worker's pytest says about the tests that it was asked for."""

    passed: int
    count: int
    printed: str
    output: str

    @property
    def is_passed(self) -> bool:
        """Whether there were tests, and each has passed."""
        return self.passed == self.count > 0


def worker_of(name: str) -> Path:
    """Return the folder of a Worker that runs pytest inside itself."""
    return ROOT / "tests/in_worker" / name


def run_inside(worker: Path, *tests: str) -> Inside:
    """Serve a Worker, and let it run these tests. They are named relative to its folder."""
    with LocalRuntime(worker / "wrangler.toml") as runtime:
        request = Request(runtime.url, data=json.dumps({"tests": tests}).encode(), method="POST")
        with urlopen(request, timeout=TIMEOUT_S) as response:
            answer = json.load(response)
    reports: list[dict[str, Any]] = answer["reports"]
    bad = {report["nodeid"] for report in reports if report["outcome"] != "passed"}
    called = [report for report in reports if report.get("when") == "call"]
    ran = {report["nodeid"] for report in called}
    printed = [text for report in called for name, text in report["sections"] if name == "Captured stdout call"]
    return Inside(passed=len(ran - bad), count=len(ran | bad), printed="".join(printed), output=answer["output"])
