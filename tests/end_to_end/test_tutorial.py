"""docs/tutorial.md, step by step: its files are written, its tests pass, its requests get its answers."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents_store_cloudflare.command import main
from tests.end_to_end.printed import run_printed
from tools.local_runtime import LocalRuntime
from tools.places import ROOT

pytestmark = pytest.mark.runtime

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- (?P<what>[\w]+)(?:: (?P<file>\S+))? -->\n```\w+\n(?P<text>.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """One marked block of the page."""

    what: str
    file: str
    text: str


def _steps() -> Iterator[Step]:
    for found in BLOCK.finditer(PAGE):
        yield Step(found["what"], found["file"] or "", found["text"])


def test_every_mark_is_understood() -> None:
    """Every mark of the page is one that this test runs."""
    kinds = [step.what for step in _steps()]
    assert sorted(set(kinds)) == ["append", "asked", "by", "file", "replace", "test"]
    assert PAGE.count("<!--") == len(kinds) == 12


def test_the_page_from_its_first_line_to_its_last(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each step does the thing that the page says. Only the deployment is left out."""
    project = tmp_path / "my-agent"
    assert main(["new", str(project)]) == 0
    _tests_pass(project)
    replaced, source = "", project
    for step in _steps():
        target = project / step.file
        match step.what:
            case "file":
                target.write_text(step.text)
            case "append":
                target.write_text(target.read_text() + step.text)
            case "replace":
                replaced, source = step.text.rstrip("\n"), target
            case "by":
                text = source.read_text()
                assert text.count(replaced) == 1, replaced
                source.write_text(text.replace(replaced, step.text.rstrip("\n")))
            case "test":
                target.write_text(step.text)
                _tests_pass(project)
            case _:
                _ask(project, tmp_path / "state", step.text)
    capfd.readouterr()


def _tests_pass(project: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "error"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _ask(project: Path, state: Path, text: str) -> None:
    """Run the curl lines against the present Worker. Its sessions stay for the later steps."""
    with LocalRuntime(project / "wrangler.toml", persist=state) as runtime:
        run_printed(text, runtime.url)
