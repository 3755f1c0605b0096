"""Bring the generated parts of this working tree up to date. A step runs only after a change of its sources.

Plain standard library: it runs before the virtual environment exists.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.locked_tools import DEV_LOCK
from tools.places import BUNDLE, NODE_BIN, ROOT, RUNTIME, VENV, VENV_PYTHON, exclusive, fingerprint
from tools.wheel import SOURCES, WheelError, install_wheel, lay_out_sources

NPM_FILES = (ROOT / "package.json", ROOT / "package-lock.json", ROOT / ".npmrc")
BUNDLE_FILES = (ROOT / "tools" / "pyodide_bundle.py", ROOT / "tools" / "pyodide.capnp", *NPM_FILES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One generated thing. The step is skipped if `key` is unchanged and `result` exists."""

    name: str
    key: Callable[[], str]
    result: Path
    run: Callable[[], None]
    remedy: str


class SetupError(Exception):
    """A step failed; the message names it and says what to do."""


def install_node_packages() -> None:
    """Install wrangler, workerd, Pyodide and the Node that runs them, exactly as locked."""
    npm = shutil.which("npm")
    if npm is None:
        raise SetupError("npm is not on the PATH")
    # npm warns that wrangler wants a newer Node than the system's. The packages bring such a Node.
    subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=ROOT, check=True)


def make_virtual_environment() -> None:
    """Make `.venv` with the locked development tools, every file checked against its hash."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    install = [str(VENV_PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*install, "--no-deps", "--require-hashes", "-r", str(DEV_LOCK)], check=True)


def assemble_bundle() -> None:
    """Write the Python runtime for workerd, with the virtual environment's Python, which has the Cap'n Proto writer."""
    subprocess.run([str(VENV_PYTHON), "-m", "tools.pyodide_bundle"], cwd=ROOT, check=True)


STEPS = (
    Step(
        name="node packages",
        key=lambda: fingerprint(paths=NPM_FILES),
        result=NODE_BIN / "wrangler",
        run=install_node_packages,
        remedy="install Node >= 20 with npm, check that the npm registry is reachable, then `make setup`",
    ),
    Step(
        name="python tools",
        key=lambda: fingerprint(sys.version, paths=[DEV_LOCK]),
        result=VENV_PYTHON,
        run=make_virtual_environment,
        remedy="use Python >= 3.11 (`make setup PYTHON=python3.12`), check that PyPI is reachable, then `make setup`",
    ),
    Step(
        name="pyodide bundle",
        key=lambda: fingerprint(paths=BUNDLE_FILES),
        result=BUNDLE,
        run=assemble_bundle,
        remedy="the message above names the assumption that broke; tools/pyodide_bundle.py holds them all",
    ),
    Step(
        name="package wheel",
        key=lambda: fingerprint(DEV_LOCK.read_text(), paths=[ROOT / source for source in SOURCES]),
        result=VENV_PYTHON,
        run=install_wheel,
        remedy="fix what hatchling reports; the wheel holds src/, durable_objects/ and migrations/",
    ),
)


def bring_up_to_date(step: Step) -> bool:
    """Run the step if it is out of date, and return whether it ran."""
    stamp = RUNTIME / "stamps" / step.name.replace(" ", "-")
    key = step.key()
    if step.result.exists() and stamp.exists() and stamp.read_text() == key:
        return False
    print(f"setup: {step.name} …", flush=True)
    started_s = time.monotonic()
    try:
        step.run()
    except (SetupError, WheelError, OSError, subprocess.CalledProcessError) as error:
        raise SetupError(f"step '{step.name}' failed: {error}\nsetup: remedy: {step.remedy}") from error
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(key)
    print(f"setup: {step.name} done in {time.monotonic() - started_s:.1f} s", flush=True)
    return True


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - this file alone runs on whatever Python the machine has
        print("setup: Python >= 3.11 is needed (`make setup PYTHON=python3.12`)", file=sys.stderr)
        return 1
    # pip must not look at an outer environment's target or prefix settings.
    for name in ("PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PYTHONPATH", "PYTHONHOME"):
        os.environ.pop(name, None)
    try:
        with exclusive("setup"):
            for step in STEPS:
                bring_up_to_date(step)
            lay_out_sources()
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
