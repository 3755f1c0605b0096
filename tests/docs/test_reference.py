"""The reference names every public name once, and every public name says what it is."""

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

PACKAGE = "agents_store_cloudflare"
REFERENCE = Path(__file__).parents[2] / "docs/reference"
DIRECTIVE = re.compile(rf"^::: ({PACKAGE}\.[\w.]+)$", re.MULTILINE)
SHOWN_AS_SOURCE = {"LockServer", "SessionServer", "StreamServer"}
"""Classes that need the Workers runtime: their docstrings are read from their source, not from here."""


def _shown() -> list[str]:
    return [name for page in sorted(REFERENCE.glob("*.md")) for name in DIRECTIVE.findall(page.read_text())]


def _public_modules() -> list[ModuleType]:
    return [importlib.import_module(name) for name in (PACKAGE, f"{PACKAGE}.testing")]


def test_every_public_name_stands_on_one_page() -> None:
    """Every public name is in the reference exactly once, and no other name is."""
    public = {f"{module.__name__}.{name}" for module in _public_modules() for name in module.__all__}
    shown = _shown()
    assert sorted(name for name in shown if shown.count(name) > 1) == []
    assert sorted(public - set(shown)) == []


@pytest.mark.parametrize("module", _public_modules(), ids=lambda module: module.__name__)
def test_every_public_class_and_function_has_a_docstring(module: ModuleType) -> None:
    """Classes, functions and the public methods that they define have docstrings."""
    silent: list[str] = []
    for name in sorted(set(module.__all__) - SHOWN_AS_SOURCE):
        value = getattr(module, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        members = inspect.getmembers(value, inspect.isfunction) if inspect.isclass(value) else []
        silent += [f"{name}.{member}" for member, own in members if member[0] != "_" and not inspect.getdoc(own)]
        silent += [] if inspect.getdoc(value) else [name]
    assert silent == []
