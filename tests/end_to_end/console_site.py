"""The console's Worker for tests and pictures: where it is, what it shows, how it is filled."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.end_to_end.sse_client import call
from tools.local_runtime import LocalRuntime

__all__ = ["CONFIG", "PAGES", "planted"]

CONFIG = Path(__file__).with_name("console_worker") / "wrangler.toml"

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
    "/console/act/delete?id=gamma/research",
    "/console/act/raise-budget?scope=acme",
]
"""Each kind of page, over what `demo` plants."""


def planted(runtime: LocalRuntime, what: str, **query: object) -> Any:
    """Fill the Worker's store; see `console_worker/planting.py`."""
    answer = call(runtime.url, "POST", f"/plant?{urlencode({'what': what, **query})}")
    assert answer.status == 200, answer.body
    return answer.json
