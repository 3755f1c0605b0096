"""An extension of griffe, which reads the package for the reference: each call shows what it costs, as docs/costs.md has measured it.

The table of that page is the only source. `make costs` writes it, and a test of the real runtime fails where it is stale.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

__all__ = ["DocstringCosts", "cost_lines", "find_entry"]

PAGE = Path(__file__).parents[1] / "docs" / "costs.md"
ROW = re.compile(r"^\| `([a-z_.]+)`[^|]* \|([^|]*)\|((?:[^|]*\|){6})$", re.MULTILINE)
OWNERS = {
    "store": "CloudflareStore",
    "state_store": "D1StateStore",
    "usage_store": "D1UsageStore",
    "stream_manager": "DurableObjectStreamManager",
    "writer": "StreamWriter",
    "reader": "StreamReader",
    "lock_manager": "DurableObjectLockManager",
    "lock": "Lock",
    "held_locks": "HeldLocks",
}
"""How the table calls an object -> the class that the reference shows it as."""


class DocstringCosts(griffe.Extension):
    """Add a list "Costs" to the docstring of every call that the table measures."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Go through the table once the package is read."""
        for call, lines in cost_lines(PAGE.read_text(encoding="utf-8")).items():
            function = find_entry(pkg, call)
            if function is not None and function.docstring is not None:
                text = f"{function.docstring.value}\n\n**Costs:**\n\n" + "".join(f"- {line}\n" for line in lines)
                function.docstring = griffe.Docstring(text, parent=function)


def find_entry(package: griffe.Module, call: str) -> griffe.Function | None:
    """Return the function that the reference shows for a call of the table; None for what it does not show."""
    owner, _, name = call.rpartition(".")
    shown: Any = package if not owner else package[OWNERS[owner]]
    if name not in shown.all_members:
        return None
    found: Any = shown.all_members[name]
    while found.is_alias:
        found = found.final_target
    return found if isinstance(found, griffe.Function) else None


def cost_lines(page: str) -> dict[str, list[str]]:
    """Return what each call of the table costs, a line for each of its rows."""
    costs: dict[str, list[str]] = {}
    for call, data, counts in ROW.findall(page):
        costs.setdefault(call, []).append(_sentence(data.strip(), [cell.strip() for cell in counts.split("|")[:6]]))
    return costs


def _sentence(data: str, counts: list[str]) -> str:
    parts = [*_part("D1 batch", counts[:3]), *_part("object call", counts[3:])]
    cost = "; ".join(parts) or "nothing is sent"
    return f"{data}: {cost}" if data else cost


def _part(unit: str, counts: list[str]) -> Iterator[str]:
    if counts[0]:
        times, read, written = map(int, counts)
        plural = "es" if unit.endswith("h") else "s"
        yield f"{times} {unit}{plural if times != 1 else ''}, rows: {read} read, {written} written"
