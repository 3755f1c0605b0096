"""docs/frameworks.md: what a Worker with each framework uploads and imports."""

import gzip
import re
from pathlib import Path

import pytest

from tests.end_to_end.sse_client import call
from tools.local_runtime import LocalRuntime
from tools.requirements import worker_requirements
from tools.vendor import third_party

pytestmark = pytest.mark.runtime

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs/frameworks.md"
ROW = re.compile(r"^\| ([a-z0-9-]+) [\d.]+ \| ([\d.]+) \| ([\d.]+) \| ([\d,]+) \| ([\d.]+) \|$", re.MULTILINE)
MOST_GZIP_MB = 7.0
ROWS = {name: tuple(float(each.replace(",", "")) for each in told) for name, *told in ROW.findall(PAGE.read_text())}
WORKERS = {
    "langgraph": ("langgraph_kill_worker", "/?op=migrate"),
    "pydantic-ai": ("pydantic_ai_kill_worker", "/?op=migrate"),
    "openai-agents": ("openai_agents_worker", "/import"),
    "a2a": ("a2a_worker", "/import"),
}
"""The folder of each framework's Worker, and the path whose answer tells what the first import has cost."""


def test_every_row_is_measured() -> None:
    """No row without a Worker, no Worker without a row."""
    assert ROWS.keys() == WORKERS.keys()


@pytest.mark.parametrize("framework", WORKERS)
def test_size(framework: str) -> None:
    """To a tenth of a megabyte, and below 7 MB after gzip."""
    folder = HERE / WORKERS[framework][0]
    [main] = folder.glob("*_entry.py")
    installed = third_party(worker_requirements(folder / "wrangler.toml", main))
    content = b"".join(path.read_bytes() for path in sorted(installed.rglob("*")) if path.is_file())
    sizes_mb = len(content) / 1e6, len(gzip.compress(content, 6)) / 1e6
    assert sizes_mb[1] < MOST_GZIP_MB
    assert ROWS[framework][:2] == pytest.approx(sizes_mb, abs=0.1)


@pytest.mark.parametrize("framework", WORKERS)
def test_modules(framework: str) -> None:
    """The modules of the first import, to a twentieth. The seconds are the machine's: they were measured once."""
    folder, path = WORKERS[framework]
    with LocalRuntime(HERE / folder / "wrangler.toml", ready_path=path) as runtime:
        cost = call(runtime.url, "GET", path).json
    print(framework, cost)
    assert ROWS[framework][2] == pytest.approx(cost["modules"], rel=0.05)
