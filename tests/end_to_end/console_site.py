"""The console's Worker for tests and pictures: where it is, what it shows, how it is filled."""

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.end_to_end.sse_client import PATIENCE_S, call
from tools.local_runtime import LocalRuntime

__all__ = ["CONFIG", "PAGES", "planted"]

CONFIG = Path(__file__).with_name("console_worker") / "wrangler.toml"

HANGING = "beta/support-18"
"""The session of `demo` whose turn is dead."""

PAGES = [
    "/console",
    "/console?status=nothing",
    "/console/session?id=beta/support-18",
    "/console/session?id=acme/monthly-report",
    "/console/messages?id=gamma/research",
    "/console/message?id=gamma/research&n=3",
    "/console/state?id=gamma/research",
    "/console/value?id=gamma/research&path=/sources",
    "/console/checkpoints?id=gamma/research",
    "/console/runs?id=gamma/research",
    "/console/stream?id=gamma/research",
    "/console/usage",
    "/console/usage?by=tenant",
    "/console/budgets",
    *(f"/console/act/{act}?id=gamma/research" for act in ("end-stream", "fail-stream", "sweep", "export", "delete")),
    "/console/act/raise-budget?scope=acme",
]
"""Each kind of page, over what `demo` plants. The pages of restore and fork, which name a checkpoint, have a test of their own."""


def planted(runtime: LocalRuntime, what: str, **query: object) -> Any:
    """Fill the Worker's store; see `console_worker/planting.py`."""
    answer = call(runtime.url, "POST", f"/plant?{urlencode({'what': what, **query})}")
    assert answer.status == 200, answer.body
    if what == "demo":
        _until_the_lease_is_over(runtime, HANGING)
    return answer.json


def _until_the_lease_is_over(runtime: LocalRuntime, session_id: str) -> None:
    """Wait until the dead turn's lock has ended. From then on the console can see that the turn is dead."""
    end_s = time.monotonic() + PATIENCE_S
    while call(runtime.url, "GET", f"/console/api/session?id={session_id}").json["data"]["lock"]["held"]:
        assert time.monotonic() < end_s, "the lease of the planted turn does not end"
        time.sleep(0.2)
