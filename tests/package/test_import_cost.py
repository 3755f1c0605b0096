"""What a Worker loads of the package, part by part: it pays for each module at every cold start."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import agents_store_cloudflare
from tools.places import ROOT

MAX_MODULES = 180
# 1,700: flags are checked, a conditional change of a cap takes effect once
MAX_BYTES = 945_700  # 5,000: docstrings; 13,000: turns in homes as one call, bookmarks; 16,500: flushes, deletions, pickles, clocks
HALF_MODULES, HALF_BYTES = 84, 450_000
"""Half of what `import agents_store_cloudflare` loaded when all names loaded with it: 169 modules, and the limit of bytes."""

SLACK = 1.15
OTHERS = {"jsonpatch", "jsonpointer"}
"""What is neither the package's nor Python's. About 2 of the import's 80 ms on a host; a Worker's snapshot holds them loaded."""

NEVER = {"argparse", "http", "js", "pytest", "pyodide", "sqlite3", "unittest", "urllib.request", "workers"}

LATER = ("budgets", "command", "console", "costs", "durable_objects", "durable_streams", "gateway", "testing")
"""Parts that load when somebody asks for one of their names."""


@dataclass(frozen=True, slots=True)
class Part:
    """A Worker that uses one part of the package: its imports, its work, and the most that the imports may load."""

    imports: str
    max_modules: int
    max_bytes: int
    work: str = ""
    objects: str = ""


STATE = """
state_store = D1StateStore(db)
state = AgentState(session_id="ada", agent_type="research")
state.messages.append({"role": "user"})
await state_store.save(state)
state = await state_store.load_state("ada")
await state_store.append_messages("ada", [{"role": "assistant"}])
await state_store.save_checkpoint("ada", await state_store.load_state("ada"))
await state_store.get_messages("ada")
await state_store.list_sessions()
await state_store.delete_session("ada")
"""

STREAMS = """
streams = DurableObjectStreamManager(LocalObjects(StreamObject))
async with streams.create_writer("ada", "agent-1", "research") as writer:
    await writer.write({"type": "text"})
await streams.end_stream("ada")
async with streams.create_reader("ada") as reader:
    assert [chunk async for chunk in reader]
await streams.delete_stream("ada")
"""

LOCKS = """
locks = DurableObjectLockManager(LocalObjects(LockObject))
async with locks.lock("ada", ttl=30) as lock:
    await lock.refresh()
"""

USAGE = """
usage_store = D1UsageStore(db)
await usage_store.record_tokens("ada", model="m", tokens={"prompt": 10, "completion": 20})
await usage_store.get_rollup("ada")
await usage_store.delete("ada")
"""

STORE = """
store = create_cloudflare_store(db=db, streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject))
async with store.turn("ada", agent_type="research", messages=[{"role": "user"}]) as turn:
    await turn.write({"type": "text"})
    turn.add({"role": "assistant"})
await store.delete_session("ada")
"""

OBJECTS = ["LockObject", "StreamObject"]

PARTS = {
    "nothing": Part("import agents_store_cloudflare", 3, 18_000),
    "errors": Part("from agents_store_cloudflare import AgentsStoreError", 10, 48_000),
    "state": Part("from agents_store_cloudflare import AgentState, D1StateStore", HALF_MODULES, HALF_BYTES, STATE),
    "streams": Part(
        "from agents_store_cloudflare import DurableObjectStreamManager", 49, 229_900, STREAMS, "StreamObject"
    ),  # 4,000: a writer has one flush on its way; pickles of errors; long texts
    "locks": Part("from agents_store_cloudflare import DurableObjectLockManager", 42, 192_800, LOCKS, "LockObject"),
    "usage": Part("from agents_store_cloudflare import D1UsageStore", 54, 258_000, USAGE),
    "whole": Part(
        "from agents_store_cloudflare import create_cloudflare_store",
        MAX_MODULES,
        MAX_BYTES,
        STORE,
        "LockObject, StreamObject",
    ),
}

ALONE = [name for name in PARTS if name != "whole"]

PROGRAM = """
import asyncio, json, sys
before = set(sys.modules)
{imports}
files = {{name: getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name not in before}}
from agents_store_cloudflare import {objects}
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from agents_store_cloudflare.migrations import run_migration

async def work(db):
    await run_migration(db)
    before = set(sys.modules)
    {work}
    return sorted(set(sys.modules) - before)

print(json.dumps([files, asyncio.run(work(SqliteDatabase()))]))
"""


def _run(part: Part) -> tuple[dict[str, int], list[str]]:
    """Return the modules that the part's imports load, with the bytes of their sources, and the modules that its work loads later."""
    work = (part.work or "pass").strip().replace("\n", "\n    ")
    program = PROGRAM.format(imports=part.imports, objects=part.objects or "AgentsStoreError", work=work)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files, later = json.loads(done.stdout)
    return {name: _size(file) for name, file in files.items()}, later


def _size(file: str | None) -> int:
    if file is None or not file.endswith(".py"):
        return 0
    return Path(file).stat().st_size


@pytest.fixture(scope="module", params=list(PARTS))
def part(request: pytest.FixtureRequest) -> tuple[Part, dict[str, int], list[str]]:
    """Return a part with the modules that it loads by its imports and later."""
    chosen = PARTS[request.param]
    return (chosen, *_run(chosen))


def test_modules_and_bytes(part: tuple[Part, dict[str, int], list[str]]) -> None:
    """CO-10: The imports load no more than the stated limit, and not much less, so that growth is a decision."""
    stated, loaded, _ = part
    own = {name: size for name, size in loaded.items() if name.split(".")[0] == agents_store_cloudflare.__name__}
    assert stated.max_modules / SLACK <= len(own) <= stated.max_modules
    assert stated.max_bytes / SLACK <= sum(own.values()) <= stated.max_bytes


def test_ordinary_work_loads_no_module(part: tuple[Part, dict[str, int], list[str]]) -> None:
    """CO-10: No module of the package loads at the first request, so a Worker pays only for its imports."""
    _, _, later = part
    assert [name for name in later if name.split(".")[0] == agents_store_cloudflare.__name__] == []


def test_what_is_not_loaded(part: tuple[Part, dict[str, int], list[str]]) -> None:
    """CO-10: Of other packages only jsonpatch loads. Test tools, command line, gateway, protocol and Workers runtime do not load."""
    _, loaded, _ = part
    foreign = {name.split(".")[0] for name in loaded} - sys.stdlib_module_names - {agents_store_cloudflare.__name__}
    assert foreign <= OTHERS
    assert NEVER.isdisjoint(loaded)
    later = tuple(f"{agents_store_cloudflare.__name__}.{name}" for name in LATER)
    assert [name for name in loaded if name.startswith(later)] == []


def test_each_part_alone_is_at_most_half() -> None:
    """CO-10: A Worker that uses one role loads at most half of the former size of the whole package."""
    assert all(PARTS[name].max_modules <= HALF_MODULES for name in ALONE)
    assert all(PARTS[name].max_bytes <= HALF_BYTES for name in ALONE)


def test_the_page_states_the_limits() -> None:
    """CO-10: docs/performance.md has a line for each part, with its limit of modules."""
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    for name in set(PARTS) - {"nothing"}:
        names = PARTS[name].imports.split(" import ")[-1]
        assert f"| `{names}` | {PARTS[name].max_modules} |" in page
