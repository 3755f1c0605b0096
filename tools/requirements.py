"""The requirements of a Worker: from its `pyproject.toml` and its `requirements.lock`, and those of every Worker."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

OWN_PACKAGE = "agents-store-cloudflare"
# The SDK belongs to the runtime, and the package needs the other two. They are pinned, because a Worker without a lock must be the
# same Worker tomorrow.
ALWAYS = {
    "jsonpatch": ("1.47", "c9ba6de59c481bf2be05041514ecb0d97f994aa645c4e00831805dbe2281811a"),
    "jsonpointer": ("3.12", "89f391335ee2719ae72149e1bf30a4d4c7c5d92f15a3f53faa8d20cc7c6c7f19"),
    "workers-runtime-sdk": ("1.9.5", "f2b912660a3ab60d2a24920106422f9eaf4cd7a794e42b022237ad2444287fef"),
}


class RequirementsError(Exception):
    """A Worker's requirements contradict each other or its lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """The contents of `python_modules/`: pip's requirement lines, and whether the package's own wheel is among them."""

    lines: tuple[str, ...]
    locked: bool
    own_wheel: bool


def requirement_name(line: str) -> str:
    """Return the normalised project name that a requirement line begins with."""
    match = re.match(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)", line)
    if match is None:
        raise RequirementsError(f"not a requirement: {line!r}")
    return re.sub(r"[-_.]+", "-", match[1]).lower()


def worker_requirements(config: Path, main: Path) -> Requirements:
    """Return the requirements of the Worker.

    They are in the `pyproject.toml` nearest to `main`, at most as high as the config's folder.

    A Worker without one gets the package alone. A `requirements.lock` beside it must name every requirement.
    """
    project = nearest_pyproject(config.parent, main.parent)
    if project is None:
        return Requirements(lines=_with_always([]), locked=False, own_wheel=True)
    wanted = project_dependencies(project)
    own_wheel = wanted.pop(OWN_PACKAGE, None) is not None
    lock = project.with_name("requirements.lock")
    if not lock.exists():
        return Requirements(lines=_with_always(list(wanted.values())), locked=False, own_wheel=own_wheel)
    pinned = locked_lines(lock.read_text())
    missing = set(wanted) - {requirement_name(line) for line in pinned} - set(ALWAYS)
    if missing:
        raise RequirementsError(
            f"{lock} lacks {', '.join(sorted(missing))}; regenerate it with `make lock-worker CONFIG={config}`."
        )
    return Requirements(lines=_with_always(pinned), locked=True, own_wheel=own_wheel)


def project_dependencies(project: Path) -> dict[str, str]:
    """Return the requirement lines of a `pyproject.toml` by name; a project depends on itself if it is this one."""
    metadata = tomllib.loads(project.read_text()).get("project", {})
    wanted = {requirement_name(line): line for line in metadata.get("dependencies", [])}
    if requirement_name(metadata.get("name", "unnamed")) == OWN_PACKAGE:
        wanted[OWN_PACKAGE] = OWN_PACKAGE
    return wanted


def nearest_pyproject(top: Path, folder: Path) -> Path | None:
    """Return the `pyproject.toml` closest to `folder`, looking up no further than `top`."""
    top, folder = top.resolve(), folder.resolve()
    above = [parent for parent in folder.parents if parent.is_relative_to(top)]
    return next(
        (place / "pyproject.toml" for place in [folder, *above, top] if (place / "pyproject.toml").exists()), None
    )


def locked_lines(text: str) -> list[str]:
    """Return the lock's requirements, one logical line each, without comments and without the package itself."""
    logical = re.sub(r"\\\n\s*", " ", text).splitlines()
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in logical]
    return [line for line in lines if line and requirement_name(line) != OWN_PACKAGE]


def _with_always(lines: list[str]) -> tuple[str, ...]:
    hashed = any("--hash=" in line for line in lines)
    named = {requirement_name(line) for line in lines if "==" in line}
    pins = [
        f"{name}=={version}" + (f" --hash=sha256:{digest}" if hashed else "")
        for name, (version, digest) in ALWAYS.items()
        if name not in named
    ]
    return tuple(sorted([*lines, *pins]))
