"""Measures what the first import of a framework takes in an isolate: `python -m tests.end_to_end.framework_imports [runs]`.

It rewrites the modules and the seconds of the table in docs/frameworks.md, medians of the runs (5). Run it on a quiet machine.
"""

import re
import statistics
import sys
from pathlib import Path

from tests.end_to_end.sse_client import call
from tools.local_runtime import LocalRuntime

__all__ = ["HERE", "PAGE", "ROW", "WORKERS", "first_import"]

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs/frameworks.md"
ROW = re.compile(r"^\| ([a-z0-9-]+) [\d.]+ \| ([\d.]+) \| ([\d.]+) \| ([\d,]+) \| ([\d.]+) \|$", re.MULTILINE)
WORKERS = {
    "langgraph": ("langgraph_kill_worker", "/?op=migrate"),
    "pydantic-ai": ("pydantic_ai_kill_worker", "/?op=migrate"),
    "openai-agents": ("openai_agents_worker", "/import"),
    "a2a": ("a2a_worker", "/import"),
}
"""The folder of each framework's Worker, and the path whose answer tells what the first import has cost."""


def first_import(framework: str) -> tuple[int, float]:
    """Start the framework's Worker. Return the number of modules that its first import brings in, and how many seconds it takes."""
    folder, path = WORKERS[framework]
    with LocalRuntime(HERE / folder / "wrangler.toml", ready_path=path) as runtime:
        cost = call(runtime.url, "GET", path).json
    return int(cost["modules"]), float(cost["seconds"])


def main(runs: int) -> None:
    """Measure every framework, print all runs, and rewrite the table."""
    text = PAGE.read_text()
    for framework in WORKERS:
        costs = [first_import(framework) for _ in range(runs)]
        modules, seconds = (statistics.median(each) for each in zip(*costs, strict=True))
        print(f"{framework}: {modules:,.0f} modules, {', '.join(f'{each:.2f}' for _, each in costs)} s", flush=True)
        row = re.compile(rf"^(\| {framework} .*?\|.*?\|.*?\|) [\d,]+ \| [\d.]+ \|$", re.MULTILINE)
        text, count = row.subn(rf"\g<1> {modules:,.0f} | {seconds:.1f} |", text)
        assert count == 1
    PAGE.write_text(text)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
