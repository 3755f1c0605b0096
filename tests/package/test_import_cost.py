"""What `import agents_store_cloudflare` loads: a Worker pays for it before its first request, and at each cold start."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MAX_MODULES = 180
MAX_BYTES = 900_000  # 5,000 of them are the costs in the docstrings
SLACK = 1.15
OTHERS = {"jsonpatch", "jsonpointer"}
"""What is neither the package's nor Python's. About 2 of the import's 80 ms on a host; a Worker's snapshot holds them loaded."""

NEVER = {"argparse", "http", "js", "pytest", "pyodide", "sqlite3", "unittest", "urllib.request", "workers"}

LATER = ("budgets", "command", "console", "costs", "durable_objects", "durable_streams", "gateway", "testing")
"""Parts that load when somebody asks for one of their names."""

LIST_MODULES = """
import json, sys
before = set(sys.modules)
import agents_store_cloudflare
loaded = {name: getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before}
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, int]:
    """Module -> the bytes of its source, 0 where there is none."""
    done = subprocess.run([sys.executable, "-c", LIST_MODULES], capture_output=True, text=True, check=True)
    files: dict[str, str | None] = json.loads(done.stdout)
    return {name: _size(file) for name, file in files.items()}


def _size(file: str | None) -> int:
    if file is None or not file.endswith(".py"):
        return 0
    return Path(file).stat().st_size


def test_modules_and_bytes(loaded: dict[str, int]) -> None:
    """CO-10: no more than stated; and what is stated is not far from what is, so that growth is somebody's decision."""
    own = {name: size for name, size in loaded.items() if name.split(".")[0] == "agents_store_cloudflare"}
    assert MAX_MODULES / SLACK <= len(own) <= MAX_MODULES
    assert MAX_BYTES / SLACK <= sum(own.values()) <= MAX_BYTES


def test_what_is_not_loaded(loaded: dict[str, int]) -> None:
    """CO-10: of others' packages only jsonpatch; no test tools, command line, gateway, protocol or Workers runtime."""
    foreign = {name.split(".")[0] for name in loaded} - sys.stdlib_module_names - {"agents_store_cloudflare"}
    assert foreign == OTHERS
    assert NEVER.isdisjoint(loaded)
    assert [
        name for name in loaded if name.startswith(tuple(f"agents_store_cloudflare.{part}" for part in LATER))
    ] == []
