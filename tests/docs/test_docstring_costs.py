"""Each call that docs/costs.md measures shows what it costs: in its docstring, and in the reference."""

import importlib
import inspect
import shutil
from pathlib import Path
from typing import Any

import griffe
import pytest

import agents_store_cloudflare
from agents_store_cloudflare.locks.lock import DurableObjectLock
from agents_store_cloudflare.streams.reader import DurableObjectStreamReader
from agents_store_cloudflare.streams.writer import DurableObjectStreamWriter
from tools.docstring_costs import OWNERS, PAGE, cost_lines, find_entry, summaries, with_summary, write_summaries
from tools.places import ROOT

EXTENSIONS = [str(ROOT / "tools" / name) for name in ("inherited_docstrings.py", "docstring_costs.py")]
ENTRIES = {
    "state_store.save": "D1StateStore.save",
    "usage_store.record_entry": "D1UsageStore.record_entry",
    "stream_manager.get_info": "DurableObjectStreamManager.get_info",
    "writer.flush": "StreamWriter.flush",
    "reader.close": "StreamReader.close",
    "lock_manager.acquire": "DurableObjectLockManager.acquire",
    "lock.release": "Lock.release",
    "held_locks.release": "HeldLocks.release",
    "store.turn": "CloudflareStore.turn",
    "run_migration": "run_migration",
    "gateway.handle": "gateway.gateway.StreamGateway.handle",
    "console.handle": "console.console.OperatorConsole.handle",
    "message_streams.follow": "adapters.ui.messages.MessageStreams.follow",
    "saver.aput": "adapters.langgraph.saver.D1Saver.aput",
    "item_store.abatch": "adapters.langgraph.item_store.D1Store.abatch",
    "conversations.save": "adapters.pydantic_ai.store.D1ConversationStore.save",
    "sdk_session.add_items": "adapters.openai_agents.session.D1Session.add_items",
    "task_store.save": "adapters.a2a.store.D1TaskStore.save",
}
"""One call of each owner, and its entry."""


def test_a_row_is_one_sentence() -> None:
    """Counts of zero are left out. A call that sends nothing says so."""
    page = "| `a.b` | 2 messages | 1 | 9 | 2 | | | |\n| `a.b` | | | | | 2 | 1 | 0 |\n| `c` | | | | | | | |\n"
    assert cost_lines(page) == {
        "a.b": ["2 messages: 1 D1 batch, rows: 9 read, 2 written", "2 object calls, rows: 1 read, 0 written"],
        "c": ["nothing is sent"],
    }


def test_each_entry_shows_its_rows() -> None:
    """CO-9: The site's reader of the package puts the table's lines into the entries. The page is their only source."""
    package = griffe.load("agents_store_cloudflare", extensions=griffe.load_extensions(*EXTENSIONS))
    costs = cost_lines(PAGE.read_text())
    for call, entry in ENTRIES.items():
        shown: Any = package[entry]
        assert all(f"\n- {line}\n" in f"{shown.docstring.value}\n" for line in costs[call]), call
        assert "\nCost: " not in shown.docstring.value, call
    assert {call.split(".")[0] for call in costs if "." in call} == {
        call.split(".")[0] for call in ENTRIES if "." in call
    }


def test_no_measured_call_is_without_an_entry() -> None:
    """CO-9: Every call of the table has its costs in the reference."""
    package: Any = griffe.load("agents_store_cloudflare", extensions=griffe.load_extensions(*EXTENSIONS))
    silent: list[str] = []
    for call in cost_lines(PAGE.read_text()):
        entry: Any = find_entry(package, call)
        silent += [] if entry is not None and "**Costs:**" in entry.docstring.value else [call]
    assert silent == []


RETURNED = {"writer": DurableObjectStreamWriter, "reader": DurableObjectStreamReader, "lock": DurableObjectLock}
"""The classes of what the package returns, where the reference shows the protocol."""


@pytest.mark.parametrize(("call", "summary"), summaries(PAGE.read_text()).items())
def test_getdoc_tells_the_cost(call: str, summary: str) -> None:
    """CO-9: The last line of a measured call's docstring is the table's range, on the class and on the protocol."""
    owner, _, name = call.rpartition(".")
    places: list[Any] = [RETURNED[owner]] if owner in RETURNED else []
    places += [_owner(OWNERS[owner][0])] if owner else [agents_store_cloudflare]
    for place in places:
        assert (inspect.getdoc(getattr(place, name)) or "").splitlines()[-1] == summary, (
            f"{place} {call}: run `make costs`"
        )


def _owner(name: str) -> Any:
    """Return a class of the top level, or of the module that its name begins with."""
    module, _, own = name.rpartition(".")
    return getattr(importlib.import_module(".".join(filter(None, ("agents_store_cloudflare", module)))), own)


def test_a_summary_is_a_range_over_the_rows() -> None:
    """A summary goes from the lowest to the highest count. Counts that are always zero are left out."""
    page = "| `a.b` | 2 | 1 | 9 | 2 | | | |\n| `a.b` | 3 | 2 | 1 | 0 | 1 | 0 | 0 |\n| `c` | | | | | | | |\n| `d` | | 1 | 1 | 0 | | | |\n"
    assert summaries(page) == {
        "a.b": "Cost: 1-2 D1 batches (1-9 rows read, 0-2 written), 0-1 object calls.",
        "c": "Cost: nothing is sent.",
        "d": "Cost: 1 D1 batch (1 row read).",
    }


def test_a_summary_is_written_once() -> None:
    """A second writing replaces the summary. A docstring of one line gets more lines."""
    once = with_summary('    """Save it."""\n', "    ", "Cost: 1 D1 batch.")
    assert once == '    """Save it.\n\n    Cost: 1 D1 batch.\n    """\n'
    assert with_summary(once, "    ", "Cost: 2 D1 batches.") == once.replace("1 D1 batch", "2 D1 batches")


def test_other_figures_change_the_sources(tmp_path: Path) -> None:
    """`make costs` rewrites the docstrings if the table has changed, and nothing otherwise."""
    package = tmp_path / "agents_store_cloudflare"
    shutil.copytree(ROOT / "src" / "agents_store_cloudflare", package)
    page = PAGE.read_text()
    assert write_summaries(page, tmp_path) == []
    dearer = page.replace("| `state_store.exists` | | 1 | 1 | 0 |", "| `state_store.exists` | | 1 | 7 | 0 |")
    [changed] = write_summaries(dearer, tmp_path)
    assert "Cost: 1 D1 batch (7 rows read)." in changed.read_text()
    assert write_summaries(page, tmp_path) == [changed]
