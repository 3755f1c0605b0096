"""`new` makes a project that passes its own tests, passes the linter, and serves."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.request import urlopen

import pytest

from agents_store_cloudflare.command import main
from agents_store_cloudflare.command.new import FRAMEWORKS
from tools.local_runtime import LocalRuntime
from tools.places import ROOT

LANGGRAPH = ROOT / "tests/in_worker/langgraph_worker"
"""What LangGraph needs on the local runtime, which has PyPI's wheels alone and not the ones of Pyodide's own index."""


@pytest.fixture(params=["none", *FRAMEWORKS])
def framework(request: pytest.FixtureRequest) -> str:
    """The framework of the agent."""
    return str(request.param)


@pytest.fixture
def project(tmp_path: Path, framework: str, capsys: pytest.CaptureFixture[str]) -> Path:
    """A new project."""
    folder = tmp_path / "my-agent"
    assert main(["new", str(folder), "--framework", framework]) == 0
    assert "uv run pytest" in capsys.readouterr().out
    return folder


def test_it_passes_its_own_tests(project: Path) -> None:
    """CO-13: pytest in the new folder finds its tests, and they pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "error"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_it_is_formatted_and_typed(project: Path) -> None:
    """ruff and mypy find nothing in the Worker, the agent and their tests."""
    environment = {**os.environ, "MYPYPATH": f"src:{ROOT / 'typings'}"}
    for arguments in (
        ["ruff", "format", "--check", "--isolated", "--line-length", "120", "."],
        ["ruff", "check", "--isolated", "--line-length", "120", "--select", "E,F,B,UP", "."],
        ["mypy", "--strict", "--no-incremental", "src", "tests"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_it_names_nothing_but_the_new_project(project: Path) -> None:
    """No placeholder is left, and the Worker has the folder's name."""
    texts = [path.read_text() for path in project.rglob("*") if path.is_file()]
    assert not any("@name@" in text for text in texts)
    assert 'name = "my-agent"' in (project / "wrangler.toml").read_text()
    assert (project / ".gitignore").exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [("My Agent", "cannot be a Worker's name"), ("used", "exists already"), ("used/file", "exists already")],
)
def test_a_wrong_folder_is_refused(tmp_path: Path, name: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that no Worker can have and a folder in use are refused, and nothing is written."""
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    assert main(["new", str(tmp_path / name)]) == 2
    assert told in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "used"]


def test_a_wheel_is_the_package_of_the_project(tmp_path: Path) -> None:
    """The wheel is copied into the project, which names it as the package's source."""
    wheel = tmp_path / "agents_store_cloudflare-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    assert main(["new", str(tmp_path / "my-agent"), "--wheel", str(wheel)]) == 0
    project = tomllib.loads((tmp_path / "my-agent" / "pyproject.toml").read_text())
    source = project["tool"]["uv"]["sources"]["agents-store-cloudflare"]["path"]
    assert (tmp_path / "my-agent" / source).read_bytes() == b"a wheel"


@pytest.mark.parametrize("name", ["missing-0.1.0-py3-none-any.whl", "pytest-9.0.0-py3-none-any.whl"])
def test_another_file_is_no_wheel(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file and another package's wheel are refused before anything is written."""
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"another")
    assert main(["new", str(tmp_path / "my-agent"), "--wheel", str(tmp_path / name)]) == 2
    assert "not a wheel of agents-store-cloudflare" in capsys.readouterr().err
    assert not (tmp_path / "my-agent").exists()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the package's version."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip().endswith("0.1.0")


@pytest.mark.runtime
def test_it_serves(project: Path, framework: str, tmp_path: Path) -> None:
    """The new Worker answers in the real runtime, and remembers."""
    if framework == "langgraph":
        shutil.copy(LANGGRAPH / "requirements.lock", project)
        shutil.copy(LANGGRAPH / "orjson.py", project / "src")
    if framework == "openai-agents":
        pytest.skip(
            "cryptography and rpds-py have wheels for Pyodide in Pyodide's own index alone; the local runtime has those of PyPI"
        )
    if framework == "pydantic-ai":
        shutil.copy(ROOT / "examples/research_agent/requirements.lock", project)
    with LocalRuntime(project / "wrangler.toml", persist=tmp_path / "state") as runtime:
        for number in (1, 3):
            with urlopen(f"{runtime.url}/?session=ada&question=hello", timeout=60) as response:
                assert json.load(response)["answer"].strip() == f"That is message {number} of this session."


def test_the_project_needs_what_the_package_offers(project: Path, framework: str) -> None:
    """The project depends on this package under its own name, with the framework's extra."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    extra = f"[{framework}]" if framework in extras else ""
    [needed, *_] = tomllib.loads((project / "pyproject.toml").read_text())["project"]["dependencies"]
    assert needed == f"agents-store-cloudflare{extra}"


def test_another_framework_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the frameworks, and nothing is written."""
    with pytest.raises(SystemExit) as ended:
        main(["new", str(tmp_path / "my-agent"), "--framework", "other"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert all(known in told for known in FRAMEWORKS)
    assert not (tmp_path / "my-agent").exists()
