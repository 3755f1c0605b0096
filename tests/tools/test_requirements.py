"""A Worker gets what its own project asks for, pinned by its lock when it has one."""

from pathlib import Path

import pytest

from tools.requirements import ALWAYS, RequirementsError, locked_lines, requirement_name, worker_requirements


def worker(folder: Path, *dependencies: str, lock: str | None = None) -> tuple[Path, Path]:
    main = folder / "src" / "entry.py"
    main.parent.mkdir()
    (folder / "pyproject.toml").write_text(f'[project]\nname = "example"\ndependencies = {list(dependencies)!r}\n')
    if lock is not None:
        (folder / "requirements.lock").write_text(lock)
    return folder / "wrangler.toml", main


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("Agents_Store.Cloudflare[extra] >= 1 ; python_version > '3'", "agents-store-cloudflare"),
        ("pydantic-ai-slim==1.106.0 --hash=sha256:ab", "pydantic-ai-slim"),
        ("agents-store-cloudflare @ file:../..", "agents-store-cloudflare"),
    ],
)
def test_names_are_normalised(line: str, name: str) -> None:
    """Spelling, extras, versions and addresses do not matter."""
    assert requirement_name(line) == name


def test_the_own_package_becomes_the_local_wheel_and_the_rest_goes_to_pip(tmp_path: Path) -> None:
    """pip is never asked for the package itself."""
    requirements = worker_requirements(*worker(tmp_path, "agents-store-cloudflare>=0.1", "httpx<1"))

    assert requirements.own_wheel
    assert not requirements.locked
    assert set(requirements.lines) == {"httpx<1", *(f"{name}=={version}" for name, (version, _) in ALWAYS.items())}


def test_a_worker_that_does_not_ask_for_the_package_does_not_get_it(tmp_path: Path) -> None:
    """Its dependencies decide, as they would with pywrangler."""
    assert not worker_requirements(*worker(tmp_path)).own_wheel


def test_a_worker_without_a_project_gets_the_package_alone(tmp_path: Path) -> None:
    """A bare folder of this repository's tests still runs on the package."""
    requirements = worker_requirements(tmp_path / "wrangler.toml", tmp_path / "src" / "entry.py")

    assert requirements.own_wheel
    assert len(requirements.lines) == len(ALWAYS)


def test_the_project_nearest_to_the_entry_wins(tmp_path: Path) -> None:
    """A top-level configuration may serve an example that has a project of its own."""
    worker(tmp_path, "outer")
    example = tmp_path / "examples" / "one"
    example.mkdir(parents=True)
    _, main = worker(example, "inner")

    assert "inner" in worker_requirements(tmp_path / "wrangler.toml", main).lines


def test_a_lock_is_the_whole_truth_and_hashes_extend_to_what_is_added(tmp_path: Path) -> None:
    """With hashes in the lock, pip wants one for every line; what the lock pins is not pinned twice."""
    lock = "# heading\nhttpx==0.28.1 \\\n    --hash=sha256:ab\n    # via example\njsonpatch==1.40 --hash=sha256:cd\n"

    requirements = worker_requirements(*worker(tmp_path, "httpx", lock=lock))

    assert requirements.locked
    assert "httpx==0.28.1  --hash=sha256:ab" in requirements.lines
    assert [line for line in requirements.lines if line.startswith("jsonpatch=")] == [
        "jsonpatch==1.40 --hash=sha256:cd"
    ]
    assert all("--hash=sha256:" in line for line in requirements.lines)


def test_a_lock_that_misses_a_dependency_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """A stale lock cannot make a Worker that fails only when it imports."""
    with pytest.raises(RequirementsError, match=r"lacks pydantic.*make lock-worker"):
        worker_requirements(*worker(tmp_path, "pydantic", lock="httpx==0.28.1\n"))


def test_a_locked_own_package_is_still_the_local_wheel() -> None:
    """The line is dropped: a lock made from a published version must not shadow the sources."""
    assert locked_lines("agents-store-cloudflare==0.1.0\nhttpx==0.28.1\n") == ["httpx==0.28.1"]
