"""`new`: makes a Worker project to begin with. Without a change its tests pass, and it can be served."""

from __future__ import annotations

import argparse
import re
import shutil
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from agents_store_cloudflare.command.failure import BAD_ARGUMENTS, CommandError
from agents_store_cloudflare.command.migrations_copy import copy_migrations
from agents_store_cloudflare.command.parsers import Commands

__all__ = ["FRAMEWORKS", "add_parser", "make_project"]

SUFFIX = ".template"
NAME = "@name@"
FRAMEWORKS: Final = ("langgraph", "openai-agents", "pydantic-ai")
"""The frameworks with an adapter and a template."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,53}", re.ASCII)
"""The characters of a Worker's name, which is a part of its address."""
_WHEEL = re.compile(r"agents_store_cloudflare-[\w.]+-py3-none-any\.whl", re.ASCII)


def add_parser(commands: Commands) -> None:
    """Add the command."""
    new = commands.add_parser("new", help="make a Worker project: entry, agent, tests, wrangler.toml")
    new.add_argument("folder", type=Path, help="a folder that does not exist yet; its name becomes the Worker's")
    new.add_argument(
        "--wheel",
        type=Path,
        metavar="FILE",
        help="this package's wheel, which is copied into the project; for a version that PyPI does not have",
    )
    new.add_argument(
        "--framework",
        choices=("none", *FRAMEWORKS),
        default="none",
        help="what the agent is written with (default: none)",
    )
    new.set_defaults(run=_run)


async def _run(options: argparse.Namespace) -> int:
    framework = None if options.framework == "none" else options.framework
    make_project(options.folder, wheel=options.wheel, framework=framework)
    print(f"\nmade {options.folder}. Next:\n  cd {options.folder}\n  uv sync && uv run pytest\n  uv run pywrangler dev")
    return 0


def make_project(folder: Path, *, wheel: Path | None = None, framework: str | None = None) -> None:
    """Write the project's files.

    Args:
        folder: a new folder. Its name becomes the Worker's.
        wheel: the package's wheel. The project takes the package from its copy instead of from PyPI.
        framework: one of `FRAMEWORKS`. Its agent and tests replace the plain ones. None for plain Python.

    Raises:
        CommandError: the folder exists and is not empty, its name cannot be a Worker's, or `wheel` is no wheel of this package.
    """
    if wheel is not None and not (wheel.is_file() and _WHEEL.fullmatch(wheel.name)):
        raise CommandError(f"{wheel} is not a wheel of agents-store-cloudflare", status=BAD_ARGUMENTS)
    name = folder.resolve().name
    if _NAME.fullmatch(name) is None:
        raise CommandError(
            f"{name!r} cannot be a Worker's name: small letters, digits and hyphens, a letter first",
            status=BAD_ARGUMENTS,
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CommandError(f"{folder} exists already; name a new folder", status=BAD_ARGUMENTS)
    here = resources.files(__package__ or "")
    texts = _texts(here / "template")
    if framework is not None:
        texts |= _texts(here / "frameworks" / framework)
    for path, text in texts.items():
        _write(folder / path, text.replace(NAME, name))
    copy_migrations(folder / "migrations")
    if wheel is not None:
        _take_from(wheel, folder)


def _take_from(wheel: Path, folder: Path) -> None:
    """Copy the wheel into the project and name it as the package's source."""
    copy = folder / "wheels" / wheel.name
    copy.parent.mkdir()
    shutil.copyfile(wheel, copy)
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as project:
        project.write(f'\n[tool.uv.sources]\nagents-store-cloudflare = {{ path = "wheels/{wheel.name}" }}\n')
    print(f"wrote {copy}")


def _texts(template: Traversable, above: str = "") -> dict[str, str]:
    """Return the texts of a template's files by their paths in the project."""
    texts: dict[str, str] = {}
    for each in template.iterdir():
        if each.is_dir():
            texts |= _texts(each, f"{above}{each.name}/")
        elif each.name.endswith(SUFFIX):
            name = each.name.removesuffix(SUFFIX).replace("gitignore", ".gitignore")
            texts[above + name] = each.read_text(encoding="utf-8")
    return texts


def _write(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    print(f"wrote {target}")
