"""Fill a Worker's `python_modules/` with wheels for Emscripten, by plain pip, each set of requirements once."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from tools.places import RUNTIME, VENV_PYTHON, exclusive, fingerprint
from tools.requirements import Requirements, requirement_name
from tools.wheel import unpacked_wheel

# The tags that Pyodide 314.0.6 accepts. pip evaluates `sys_platform` markers for this machine, so a Worker's own requirements must name
# a package that only Emscripten needs.
PLATFORM = (
    *("--only-binary=:all:", "--implementation", "cp", "--python-version", "3.14"),
    *("--abi", "cp314", "--abi", "abi3", "--abi", "none"),
    *("--platform", "pyemscripten_2026_0_wasm32", "--platform", "any"),
)


class VendorError(Exception):
    """pip found no set of wheels that satisfies the Worker's requirements inside Pyodide."""


def vendor(requirements: Requirements, target: Path) -> None:
    """Fill `target` with all packages of the Worker, as hard links into shared caches. Never edit them."""
    _link_tree(third_party(requirements), target)
    if requirements.own_wheel:
        _link_tree(unpacked_wheel(), target)


def third_party(requirements: Requirements) -> Path:
    """Return the folder of installed third-party packages for these requirements."""
    text = "\n".join(requirements.lines) + "\n"
    folder = RUNTIME / "vendored" / fingerprint(text, str(requirements.locked), *PLATFORM)
    with exclusive("vendored"):
        if not folder.exists():
            _install(text, folder, locked=requirements.locked)
    return folder


def resolve(lines: list[str]) -> list[str]:
    """Return hash-pinned requirement lines for all that these requirements need inside Pyodide, sorted by name."""
    command = [*_pip_install(), "--dry-run", "--ignore-installed", "--report", "-", *lines]
    report = json.loads(_run(command))
    pins: list[str] = []
    for item in report["install"]:
        name, version = requirement_name(item["metadata"]["name"]), item["metadata"]["version"]
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        pins.append(f"{name}=={version} --hash=sha256:{digest}")
    return sorted(pins)


def _install(text: str, folder: Path, *, locked: bool) -> None:
    print(f"vendor: installing {text.count(chr(10))} requirements for Pyodide", flush=True)
    unfinished = folder.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    listing = folder.with_suffix(".txt")
    listing.write_text(text)
    extra = ["--no-deps"] if locked else []
    _run([*_pip_install(), *extra, "--no-compile", "--target", str(unfinished), "-r", str(listing)])
    shutil.rmtree(unfinished / "bin", ignore_errors=True)
    for cache in list(unfinished.rglob("__pycache__")):
        shutil.rmtree(cache)
    unfinished.rename(folder)


def _pip_install() -> list[str]:
    return [str(VENV_PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *PLATFORM]


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise VendorError(f"pip found no wheels for Pyodide (CPython 3.14, Emscripten):\n{done.stderr.strip()}")
    return done.stdout


def _link_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=os.link, dirs_exist_ok=True)
