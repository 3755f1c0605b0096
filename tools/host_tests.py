"""Run the tests that need no Workers runtime on other Pythons, and measure which lines they reach.

`.venv` holds one Python. The package promises 3.11 to 3.14, so `make test` runs `python -m tools.host_tests` before the suite: the host
tests on the oldest and the newest version too. uv downloads the newest if it can reach its download host. Otherwise the newest Python of
this machine replaces it, and the output says so.

The run on the newest Python is measured. `sys.monitoring` (3.12 and later) makes that free; the tracer of 3.11 adds two thirds.
`python -m tools.host_tests --coverage` runs only this one and lists the lines that no host test reaches. Every other argument goes to
pytest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.locked_tools import DEV_LOCK, UV, install_locked_tools
from tools.places import ROOT, RUNTIME, VENV_PYTHON, exclusive, fingerprint, out_of_date
from tools.wheel import built_wheel

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
"""The versions that pyproject.toml promises, oldest first."""

HOST_TESTS = ("-m", "not runtime", "--ignore=tests/in_worker", "--ignore=tests/end_to_end")
ONLY_ONCE = ("--ignore=tests/tools", "--ignore=tests/bench", "--deselect=tests/package/test_typing.py")
"""The tests of the repository's own tools and of the type checker. They do not depend on the Python that runs them."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One CPython of this machine."""

    version: str
    path: Path


def main() -> int:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    only_measure = "--coverage" in sys.argv[1:]
    options = [argument for argument in sys.argv[1:] if argument != "--coverage"]
    chosen, missing = choose(own)
    if only_measure:
        chosen = chosen[-1:] or [Interpreter(own, VENV_PYTHON)]
    for version in missing:
        print(f"host tests: no Python {version} here, and uv cannot fetch one; CI's matrix runs it", flush=True)
    for interpreter in chosen:
        print(f"host tests: Python {interpreter.version} ({interpreter.path})", flush=True)
        try:
            python = environment(interpreter)
        except subprocess.CalledProcessError as error:
            print(f"host tests: Python {interpreter.version} cannot be set up: {error}", file=sys.stderr)
            return 1
        measured = only_measure or (interpreter == chosen[-1] and interpreter.version != "3.11")
        if (code := run(python, options, measured=measured)) != 0:
            return code
        if measured:
            print(f"host tests: they reach {reached(python, in_full=only_measure)} of the lines that CPython can run")
    ran = ", ".join(interpreter.version for interpreter in chosen)
    print(
        f"host tests: passed on Python {ran or 'none besides'}",
        flush=True,
    )
    return 0


def choose(own: str) -> tuple[list[Interpreter], list[str]]:
    """Return the interpreters to run besides this one, and the wanted versions that are not available.

    Args:
        own: the version of `.venv`, which runs every test anyway.
    """
    oldest, newest = SUPPORTED[0], SUPPORTED[-1]
    chosen: list[Interpreter] = []
    missing: list[str] = []
    for wanted, stand_ins in ((oldest, ()), (newest, SUPPORTED[-2:0:-1])):
        if wanted == own:
            continue
        found = find(wanted) or fetch(wanted)
        if found is None:
            missing.append(wanted)
            found = next((other for version in stand_ins if version != own and (other := find(version))), None)
        if found is not None:
            chosen.append(found)
    return chosen, missing


def find(version: str) -> Interpreter | None:
    """Return this machine's Python of that version: on the PATH, of pyenv or of uv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)]
    managed = subprocess.run(
        [*UV, "python", "find", "--offline", "--managed-python", version], capture_output=True, text=True, check=False
    )
    for candidate in (*candidates, managed.stdout.strip()):
        if candidate and _is_version(Path(candidate), version):
            return Interpreter(version, Path(candidate))
    return None


def fetch(version: str) -> Interpreter | None:
    """Return that Python after uv has downloaded it; None if uv cannot download it."""
    done = subprocess.run(
        [*UV, "python", "install", version],
        env={**os.environ, "UV_HTTP_RETRIES": "0"},
        capture_output=True,
        check=False,
    )
    return find(version) if done.returncode == 0 else None


def environment(interpreter: Interpreter) -> Path:
    """Return the Python of an environment with the locked tools and the current wheel, made anew when the lock changed."""
    folder = RUNTIME / "pythons" / interpreter.version
    python = folder / "bin" / "python"
    key = fingerprint(str(interpreter.path), paths=[DEV_LOCK])
    with exclusive(f"python-{interpreter.version}"):
        with out_of_date(folder / "stamp", key) as is_old:
            if is_old:
                subprocess.run([*UV, "venv", "--clear", "--python", str(interpreter.path), str(folder)], check=True)
                install_locked_tools(python)
        wheel = [*UV, "pip", "install", "--python", str(python), "--no-deps", "--reinstall", str(built_wheel())]
        subprocess.run(wheel, check=True)
    return python


def run(python: Path, options: Sequence[str], *, measured: bool) -> int:
    """Run the host tests and return pytest's exit code; when `measured`, also record each line that ran.

    Args:
        python: the interpreter of an environment that has the locked tools.
        options: more arguments for pytest.
        measured: whether coverage.py watches.
    """
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *HOST_TESTS, *ONLY_ONCE]
    if not measured:
        return subprocess.run([str(python), *tests], cwd=ROOT, check=False).returncode
    subprocess.run([str(python), "-m", "coverage", "erase"], cwd=ROOT, check=True)
    command = [str(python), "-m", "coverage", "run", *tests]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "COVERAGE_CORE": "sysmon"}, check=False).returncode


def reached(python: Path, *, in_full: bool) -> str:
    """Return the share of the package's lines that the measured run reached, such as "97.8 %".

    Args:
        in_full: also print the lines that it did not reach.
    """
    coverage = [str(python), "-m", "coverage"]
    subprocess.run([*coverage, "combine", "--quiet"], cwd=ROOT, check=True)
    if in_full:
        subprocess.run([*coverage, "report"], cwd=ROOT, check=True)
    total = [*coverage, "report", "--format=total"]
    return subprocess.run(total, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip() + " %"


def _is_version(python: Path, version: str) -> bool:
    """Return whether this Python runs and has that version. A pyenv shim also exists for versions that are switched off."""
    code = "import sys; print(f'{sys.version_info.major}.{sys.version_info.minor}', sys.implementation.name)"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.split() == [version, "cpython"]


if __name__ == "__main__":
    sys.exit(main())
