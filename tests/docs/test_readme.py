"""The README is short, true, and its code runs."""

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
RUNNABLE = re.compile(r"<!-- run -->\n```python\n(.*?)```", re.DOTALL)
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]


def test_its_shape() -> None:
    """Under 130 lines, with code by line 20."""
    lines = TEXT.splitlines()
    assert len(lines) < 130
    assert any(line.startswith("```python") for line in lines[:20])


@pytest.mark.parametrize(
    "page", [page for page in PAGES if RUNNABLE.search(page.read_text())], ids=lambda page: page.name
)
def test_code_that_is_marked_runs(page: Path) -> None:
    """Code that is marked to run runs without warnings."""
    for code in RUNNABLE.findall(page.read_text(encoding="utf-8")):
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_there_is_code_to_run() -> None:
    """The marks are found."""
    assert len(RUNNABLE.findall(TEXT)) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that exists."""
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_in_pages_compiles(page: Path) -> None:
    """Every Python block is Python."""
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        compile(dedent(code), str(page), "exec", flags=0x2000)  # top-level await is allowed
