"""Build the package's wheel when a source changed. Workers and host tests run on this wheel, never on src/."""

import shutil
import subprocess
import zipfile
from pathlib import Path

from tools.places import ROOT, RUNTIME, VENV_PYTHON, exclusive, fingerprint

KEPT_BUILDS = 5
SOURCES = ("src", "durable_objects", "migrations", "pyproject.toml", "README.md", "LICENSE")


class WheelError(Exception):
    """The package's wheel cannot be built from the sources as they are."""


def wheel_key() -> str:
    """Return the fingerprint of everything that goes into the wheel."""
    return fingerprint(paths=[ROOT / source for source in SOURCES])


def built_wheel() -> Path:
    """Return the wheel of the current sources, built once per content."""
    folder = RUNTIME / "wheels" / wheel_key()
    with exclusive("wheel"):
        if not folder.exists():
            _build(folder)
    return next(folder.glob("*.whl"))


def unpacked_wheel() -> Path:
    """Return a folder with the current wheel's content, as `pip install --target` would leave it."""
    wheel = built_wheel()
    folder = wheel.parent / "unpacked"
    with exclusive("wheel"):
        if not folder.exists():
            unfinished = wheel.parent / "unpacked.part"
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unfinished)
            unfinished.rename(folder)
    return folder


def install_wheel() -> None:
    """Install the current wheel into the virtual environment, in place of any earlier build."""
    command = [str(VENV_PYTHON), "-m", "pip", "install", "-qq", "--no-deps", "--no-index", "--force-reinstall"]
    subprocess.run([*command, str(built_wheel())], check=True)


def lay_out_sources() -> None:
    """Copy the sources to their places in the wheel, for the type checkers: pyright skips symbolic links."""
    package = ROOT / "build" / "package" / "agents_store_cloudflare"
    shutil.rmtree(package, ignore_errors=True)
    left_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / package.name, package, ignore=left_out)
    for mapped in ("durable_objects", "migrations"):
        shutil.copytree(ROOT / mapped, package / mapped, ignore=left_out)


def _build(folder: Path) -> None:
    unfinished = folder.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [str(VENV_PYTHON), "-m", "hatchling", "build", "-t", "wheel", "-d", str(unfinished)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        reason = (built.stderr.strip() or built.stdout.strip()).splitlines()[-1:]
        raise WheelError(f"`python -m hatchling build` says: {''.join(reason)}")
    unfinished.rename(folder)
    builds = sorted(folder.parent.iterdir(), key=lambda build: build.stat().st_mtime)
    for outdated in builds[:-KEPT_BUILDS]:
        shutil.rmtree(outdated, ignore_errors=True)
