"""The workflows run what anybody runs, on each promised Python, with pinned actions and no right to spare."""

import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.host_tests import SUPPORTED
from tools.places import ROOT

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_make_knows_the_commands(file: Path) -> None:
    """Each `make` command of a workflow is a target of the Makefile."""
    commands = [shlex.split(step["run"]) for step in _steps(file) if step.get("run", "").startswith("make ")]
    assert commands
    assert {command[1] for command in commands} <= TARGETS


def test_the_script_runs_the_same_commands() -> None:
    """`.ci/run` and CI check and test with the same commands."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    own = [line for line in script if line.startswith("make ")]
    ci = [step["run"].removesuffix(" PYTHON=python") for step in _steps(_file("ci")) if "run" in step]
    assert own == ["make check TESTS=no", "make test"]
    assert ci[: len(own)] == own


def test_ci_runs_every_promised_python() -> None:
    """The matrix, the classifiers of the package and `make test` name the same versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    prefix = "Programming Language :: Python :: 3."
    promised = ["3." + line.removeprefix(prefix) for line in project["classifiers"] if line.startswith(prefix)]
    matrix = _read(_file("ci"))["jobs"]["check-and-test"]["strategy"]["matrix"]["python"]
    assert matrix == promised == list(SUPPORTED)
    assert project["requires-python"] == f">={promised[0]}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_actions_are_pinned(file: Path) -> None:
    """Each action is named by its commit, with the version beside it: a tag that moves changes nothing here."""
    used = re.findall(r"uses: (.+)", file.read_text(encoding="utf-8"))
    assert used
    assert [line for line in used if not PINNED.fullmatch(line)] == []


def test_only_the_publishing_job_gets_an_identity() -> None:
    """The job that runs the repository's code may read it; the job with PyPI's trust runs none of it."""
    release = _read(_file("release"))
    build, publish = release["jobs"]["build"], release["jobs"]["publish"]
    assert release["permissions"] == {}
    assert build["permissions"] == {"contents": "read"}
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["needs"] == "build"
    assert publish["environment"] == {"name": "pypi"}
    assert not [step for step in publish["steps"] if "run" in step or "checkout" in step["uses"]]
    assert "secrets." not in _file("release").read_text(encoding="utf-8")


def _file(name: str) -> Path:
    return ROOT / ".github" / "workflows" / f"{name}.yml"


def _read(file: Path) -> dict[str, Any]:
    # PyYAML has no types of its own.
    yaml: Any = importlib.import_module("yaml")
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


def _steps(file: Path) -> Iterator[dict[str, Any]]:
    for job in _read(file)["jobs"].values():
        yield from job["steps"]
