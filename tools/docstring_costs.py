"""Writes the measured cost of each call, from docs/costs.md, into the call's docstring and into the reference.

The table of that page is the only source. `make costs` measures it and writes the lines of the docstrings, which `inspect.getdoc` and an
editor's hover show. The reference shows every row of the table in the place of that line. Tests fail where one of them is stale.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import griffe

__all__ = [
    "PAGE",
    "DocstringCosts",
    "cost_lines",
    "documented",
    "find_entry",
    "summaries",
    "with_summary",
    "write_summaries",
]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "costs.md"
PACKAGE = "agents_store_cloudflare"
ROW = re.compile(r"^\| `([a-z_.]+)`[^|]* \|([^|]*)\|((?:[^|]*\|){6})$", re.MULTILINE)
SUMMARY = re.compile(r"\n\n *Cost: [^\n]*")
OWNERS = {
    "store": ("CloudflareStore",),
    "state_store": ("D1StateStore",),
    "usage_store": ("D1UsageStore",),
    "stream_manager": ("DurableObjectStreamManager",),
    "writer": ("StreamWriter", "streams.writer.DurableObjectStreamWriter"),
    "reader": ("StreamReader", "streams.reader.DurableObjectStreamReader"),
    "lock_manager": ("DurableObjectLockManager",),
    "lock": ("Lock", "locks.lock.DurableObjectLock"),
    "held_locks": ("HeldLocks",),
    "gateway": ("gateway.gateway.StreamGateway",),
    "console": ("console.console.OperatorConsole",),
    "message_streams": ("adapters.ui.messages.MessageStreams",),
    "saver": ("adapters.langgraph.saver.D1Saver",),
    "item_store": ("adapters.langgraph.item_store.D1Store",),
    "conversations": ("adapters.pydantic_ai.store.D1ConversationStore",),
    "sdk_session": ("adapters.openai_agents.session.D1Session",),
    "task_store": ("adapters.a2a.store.D1TaskStore",),
}
"""The name of an object in the table -> the class that the reference shows, and the class that the package returns."""


class DocstringCosts(griffe.Extension):
    """Replace the line of the docstring by a list "Costs", for every call that the table measures."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Go through the table when the package was read."""
        for call, lines in cost_lines(PAGE.read_text(encoding="utf-8")).items():
            function = find_entry(pkg, call)
            if function is not None and function.docstring is not None:
                told = SUMMARY.sub("", function.docstring.value)
                text = f"{told}\n\n**Costs:**\n\n" + "".join(f"- {line}\n" for line in lines)
                function.docstring = griffe.Docstring(text, parent=function)


def find_entry(package: griffe.Module, call: str) -> griffe.Function | None:
    """Return the function that the reference shows for a call of the table; None if it shows none."""
    owner, _, name = call.rpartition(".")
    return _member(package[OWNERS[owner][0]] if owner else package, name)


def documented(package: griffe.Module, call: str) -> list[griffe.Function]:
    """Return the functions whose docstrings describe a call: in its owner's classes, or in the class from which they inherit it."""
    owner, _, name = call.rpartition(".")
    found: list[griffe.Function] = []
    for shown in OWNERS[owner] if owner else ("",):
        place: Any = package[shown] if shown else package
        while place.is_alias:
            place = place.final_target
        lineage = [place, *(place.mro() if owner else ())]
        functions = [_member(each, name) for each in lineage if name in each.members]
        found += [each for each in functions if each is not None and each.docstring is not None][:1]
    return list({each.path: each for each in found}.values())


def _member(shown: Any, name: str) -> griffe.Function | None:
    if name not in shown.all_members:
        return None
    found: Any = shown.all_members[name]
    while found.is_alias:
        found = found.final_target
    return found if isinstance(found, griffe.Function) else None


def cost_lines(page: str) -> dict[str, list[str]]:
    """Return the costs of each call of the table, one line for each of its rows."""
    costs: dict[str, list[str]] = {}
    for call, data, counts in _rows(page):
        costs.setdefault(call, []).append(_sentence(data, counts))
    return costs


def summaries(page: str) -> dict[str, str]:
    """Return the costs of each call of the table in one line, from the lowest to the highest of its rows."""
    counted: dict[str, list[list[int]]] = {}
    for call, _, counts in _rows(page):
        counted.setdefault(call, []).append([int(count or 0) for count in counts])
    return {call: f"Cost: {_summary([*zip(*rows, strict=True)])}." for call, rows in counted.items()}


def write_summaries(page: str, source: Path = ROOT / "src") -> list[Path]:
    """Write the summary of each call into the docstrings that describe it. Return the files that changed."""
    package = cast("griffe.Module", griffe.load(PACKAGE, search_paths=[source]))
    places = {
        (cast("Path", each.filepath), each.name, cast("int", each.lineno)): summary
        for call, summary in summaries(page).items()
        for each in documented(package, call)
    }
    changed: list[Path] = []
    for path in sorted({path for path, _, _ in places}):
        text = path.read_text(encoding="utf-8")
        wanted = [(line, name, places[path, name, line]) for file, name, line in places if file == path]
        written = text
        for line, name, summary in sorted(wanted, reverse=True):
            written = _written(written, line, name, summary)
        if written != text:
            path.write_text(written, encoding="utf-8")
            changed.append(path)
    return changed


def _written(text: str, line: int, name: str, summary: str) -> str:
    """Return the module's source with the summary in the docstring of the function `name` that begins at `line`, decorators included."""
    [function] = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name == name
        and line in (node.lineno, *(each.lineno for each in node.decorator_list))
    ]
    docstring = function.body[0]
    lines = text.splitlines(keepends=True)
    first, last = docstring.lineno - 1, cast("int", docstring.end_lineno)
    literal = with_summary("".join(lines[first:last]), " " * docstring.col_offset, summary)
    return "".join([*lines[:first], literal, *lines[last:]])


def with_summary(literal: str, indent: str, summary: str) -> str:
    """Return the source of a docstring with this summary as its last paragraph."""
    body = SUMMARY.sub("", literal).rstrip().removesuffix('"""').rstrip()
    return f'{body}\n\n{indent}{summary}\n{indent}"""\n'


def _rows(page: str) -> Iterator[tuple[str, str, list[str]]]:
    for call, data, counts in ROW.findall(page):
        yield call, data.strip(), [cell.strip() for cell in counts.split("|")[:6]]


def _sentence(data: str, counts: list[str]) -> str:
    parts = [*_part("D1 batch", counts[:3]), *_part("object call", counts[3:])]
    cost = "; ".join(parts) or "nothing is sent"
    return f"{data}: {cost}" if data else cost


def _part(unit: str, counts: list[str]) -> Iterator[str]:
    if counts[0]:
        times, read, written = map(int, counts)
        yield f"{_counted([times], unit)}, rows: {read} read, {written} written"


def _summary(columns: list[tuple[int, ...]]) -> str:
    parts = [*_range("D1 batch", columns[:3]), *_range("object call", columns[3:])]
    return ", ".join(parts) or "nothing is sent"


def _range(unit: str, columns: list[tuple[int, ...]]) -> Iterator[str]:
    times, read, written = columns
    if max(times):
        rows = [f"{_counted(read, 'row')} read"] if max(read) else []
        rows += [f"{_span(written)} written"] if max(written) else []
        yield _counted(times, unit) + (f" ({', '.join(rows)})" if rows else "")


def _counted(counts: tuple[int, ...] | list[int], unit: str) -> str:
    plural = "" if max(counts) == min(counts) == 1 else "es" if unit.endswith("h") else "s"
    return f"{_span(counts)} {unit}{plural}"


def _span(counts: tuple[int, ...] | list[int]) -> str:
    return str(max(counts)) if max(counts) == min(counts) else f"{min(counts)}-{max(counts)}"
