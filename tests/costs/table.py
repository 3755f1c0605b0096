"""docs/costs.md: its text around the table, and the table as the Worker measures it."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.costs.adapter_costs import adapter_costs
from tools.local_runtime import LocalRuntime

__all__ = ["PAGE", "Line", "measured", "page_with", "table_of"]

Line: TypeAlias = "Sequence[str | int | None]"

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/costs.md"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"
HEAD = (
    "| call | on | D1 round trips | rows read | rows written | object calls | rows read | rows written |\n"
    "|---|---|--:|--:|--:|--:|--:|--:|\n"
)
MEASURING_TIMEOUT_S = 120


def measured() -> list[Line]:
    """Return every call's line from a new Worker with an empty database.

    Raises:
        RuntimeError: a call failed inside; the message is its traceback.
    """
    with LocalRuntime(Path(__file__).parent / "worker/wrangler.toml") as runtime:
        try:
            with urlopen(Request(runtime.url, method="POST"), timeout=MEASURING_TIMEOUT_S) as response:
                lines: list[Line] = json.load(response)
        except HTTPError as error:
            raise RuntimeError(error.read().decode()) from error
        return [*lines, *asyncio.run(adapter_costs(runtime.url))]


def table_of(lines: Sequence[Line]) -> str:
    """Return the table in Markdown. A count of zero stays empty."""
    return HEAD + "".join(map(_row, lines))


def _row(line: Line) -> str:
    call, data, *counts = line
    in_d1, in_objects = counts[:3], counts[3:]
    cells = [str(count) if group[0] else "" for group in (in_d1, in_objects) for count in group]
    return f"| `{call}` | {data} | {' | '.join(cells)} |\n".replace("  ", " ").replace("| |", "| |")


def page_with(lines: Sequence[Line], page: str) -> str:
    """Return the page with a new table."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table_of(lines)}\n{END}{after}"
