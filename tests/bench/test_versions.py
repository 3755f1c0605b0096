"""Another version beside this one: its checkout, and the table."""

import subprocess
from pathlib import Path

import pytest

from bench.findings import Published
from bench.jobs import Floor, Job
from bench.versions import checked_out, is_address, named, served_at, versions_entry, versions_section
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


def test_a_checkout_that_was_interrupted_is_made_anew(checkout: Path, tmp_path: Path) -> None:
    """What a killed call left behind is not in the way, and not in the folder."""
    places = tmp_path / "places"
    whole = checked_out("v1", checkout, places)
    unfinished = whole.with_suffix(".part")
    whole.rename(unfinished)
    (unfinished / "left").touch()

    assert checked_out("v1", checkout, places) == whole
    assert not (whole / "left").exists()


def test_the_other_version_is_named(checkout: Path) -> None:
    """By its commit, whatever the ref is. A repository without a tag has released nothing."""
    tagged, before = named("v1", checkout), named("HEAD~1", checkout)
    subprocess.run(["git", "tag", "-d", "v1"], cwd=checkout, check=True, capture_output=True)

    assert (tagged["commit"], tagged["date"]) == (before["commit"], before["date"])
    assert tagged["isReleased"]
    assert not named("HEAD~1", checkout)["isReleased"]
    assert named("http://localhost:8790", checkout) == {"against": "http://localhost:8790"}


JOBS = [Job(name=name, kind=name, repetitions=1, input={}, expected={}, floor=Floor()) for name in ("save", "new")]


def _entry(name: str, *ratio: float) -> Published:
    middle, lowest, highest = ratio
    ratios = {"median": middle, "lowest": lowest, "highest": highest}
    return {"name": name, "javascript": {"medianMs": 2.0}, "python": {"medianMs": 2 * middle}, "ratio": ratios}


def _run(*entries: Published, **other: object) -> Published:
    run = {"when": "2026-11-27T00:00:00+00:00", "machine": {"cores": 2, "cpu": "x"}, "rounds": 9, "against": "v1"}
    return {**run, "jobs": list(entries), **other}


def test_a_job_that_one_version_cannot_do_is_left_out() -> None:
    """A job that is newer than the last release does not hide the others. Without any there is nothing to publish."""
    entry, failure = _entry("save", 1.0, 1.0, 1.0), "new: the other version: status 500"
    found, failures = versions_entry(JOBS, [entry], [failure])

    assert (found, failures) == ({"jobs": [entry], "leftOut": ["new"]}, [])
    assert "cannot do it: new." in versions_section(_run(entry, leftOut=found["leftOut"]))
    assert versions_entry(JOBS, [], [failure]) == ({}, [failure])


def test_the_section_says_what_changed() -> None:
    """Only a job whose pairs all say the same counts as slower or faster."""
    entries = [_entry("save", 0.8, 0.7, 0.9), _entry("load", 1.1, 0.9, 1.2), _entry("page", 1.2, 1.1, 1.3)]
    section = versions_section(_run(*entries))

    assert "in 9 rounds" in section
    assert "the middle of 3 jobs is **1.10**" in section
    assert "Slower in every pair: page. Faster in every pair: save." in section
    assert "| save | 2.00 ms | 1.60 ms | **0.80** | 0.70–0.90 |" in section


@pytest.mark.parametrize(
    ("against", "is_released", "words"),
    [
        ("v1", True, "The other version is `v1`, commit `52c8992` of 2026-11-27. Below"),
        ("52c8992f", False, "The other version is `52c8992f` of 2026-11-27. No version is"),
        (
            "52c8992",
            False,
            "`52c8992` of 2026-11-27. No version is released yet, so an earlier commit stands in its place.",
        ),
    ],
)
def test_the_section_names_the_other_version(against: str, is_released: bool, words: str) -> None:
    """And says honestly when that is no release."""
    other = {"against": against, "commit": "52c8992", "date": "2026-11-27", "isReleased": is_released}

    assert words in versions_section(_run(_entry("save", 1.0, 1.0, 1.0), **other))


def test_an_address_is_all_that_is_known_of_it() -> None:
    """A Worker that somebody serves has no commit."""
    assert "The other version is `http://x`. Below" in versions_section(
        _run(_entry("save", 1, 1, 1), against="http://x")
    )
