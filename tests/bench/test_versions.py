"""Another version beside this one: its checkout, and the table."""

import subprocess
from pathlib import Path

import pytest

from bench.versions import checked_out, is_address, served_at, versions_section
from bench.workers import BenchError


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with two commits, of which the first is tagged."""
    root = tmp_path / "root"
    root.mkdir()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    commands = (["init", "-q"], ["add", "."], ["commit", "-qm", "one"], ["tag", "v1"])
    (root / "version").write_text("one")
    for command in commands:
        subprocess.run([*git, *command], cwd=root, check=True)
    (root / "version").write_text("two")
    subprocess.run([*git, "commit", "-qam", "two"], cwd=root, check=True)
    return root


def test_a_ref_is_checked_out_beside_this_checkout(checkout: Path, tmp_path: Path) -> None:
    """The files are of the ref; tools and runtime are this checkout's. This checkout stays as it is, and a second call finds the folder."""
    folder = checked_out("v1", checkout, tmp_path / "places")

    assert (folder / "version").read_text() == "one"
    assert (folder / "node_modules").readlink() == checkout / "node_modules"
    assert (folder / ".runtime/pyodide").readlink() == checkout / ".runtime/pyodide"
    assert (checkout / "version").read_text() == "two"
    assert checked_out("v1", checkout, tmp_path / "places") == folder


@pytest.mark.parametrize("ref", ["v9", "--output=x", ""])
def test_what_is_no_ref_is_named(checkout: Path, tmp_path: Path, ref: str) -> None:
    """The error says what `--against` takes."""
    with pytest.raises(BenchError, match="takes an address or a git ref"):
        checked_out(ref, checkout, tmp_path / "places")


def test_an_address_is_used_as_it_is() -> None:
    """Somebody serves the other version already."""
    with served_at("http://localhost:8790") as url:
        assert url == "http://localhost:8790"
    assert not is_address("v1.0.0")


def test_the_table_names_the_other_version() -> None:
    """Below 1 this version is faster."""
    ratio = {"median": 0.8, "lowest": 0.7, "highest": 0.9}
    entry = {"name": "save", "javascript": {"medianMs": 2.0}, "python": {"medianMs": 1.6}, "ratio": ratio}
    run = {"when": "2026-11-27T00:00:00+00:00", "machine": {"cores": 2, "cpu": "x"}, "rounds": 9, "against": "v1"}
    section = versions_section({**run, "jobs": [entry]})

    assert "in 9 rounds" in section
    assert "The other version is `v1`" in section
    assert "| save | 2.00 ms | 1.60 ms | **0.80** | 0.70–0.90 |" in section
