"""Each entry of the reference that docs/costs.md measures shows what it costs."""

from typing import Any

import griffe

from tools.docstring_costs import PAGE, cost_lines, find_entry
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
}
"""One call of each owner, and its entry."""


def test_a_row_is_one_sentence() -> None:
    """What a call does not touch is left out; a call that sends nothing says so."""
    page = "| `a.b` | 2 messages | 1 | 9 | 2 | | | |\n| `a.b` | | | | | 2 | 1 | 0 |\n| `c` | | | | | | | |\n"
    assert cost_lines(page) == {
        "a.b": ["2 messages: 1 D1 batch, rows: 9 read, 2 written", "2 object calls, rows: 1 read, 0 written"],
        "c": ["nothing is sent"],
    }


def test_each_entry_shows_its_rows() -> None:
    """CO-9: the reader of the package, as the site uses it, puts the table's lines into the entries; the page is their only source."""
    package = griffe.load("agents_store_cloudflare", extensions=griffe.load_extensions(*EXTENSIONS))
    costs = cost_lines(PAGE.read_text())
    for call, entry in ENTRIES.items():
        shown: Any = package[entry]
        assert all(f"\n- {line}\n" in f"{shown.docstring.value}\n" for line in costs[call]), call
    assert {call.split(".")[0] for call in costs if "." in call} == {
        call.split(".")[0] for call in ENTRIES if "." in call
    }


def test_no_measured_call_is_without_an_entry() -> None:
    """CO-9: every call of the table has its costs in the reference."""
    package: Any = griffe.load("agents_store_cloudflare", extensions=griffe.load_extensions(*EXTENSIONS))
    silent: list[str] = []
    for call in cost_lines(PAGE.read_text()):
        entry: Any = find_entry(package, call)
        silent += [] if entry is not None and "**Costs:**" in entry.docstring.value else [call]
    assert silent == []
