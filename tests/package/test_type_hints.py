"""`typing.get_type_hints` works for every public class and function: frameworks and help pages call it."""

import inspect
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import agents_store_cloudflare
from agents_store_cloudflare import testing, transfer

MODULES = (agents_store_cloudflare, testing, transfer)


def _public() -> Iterator[tuple[str, Any]]:
    """Yield every public class and function, and the public methods of the classes."""
    for module in MODULES:
        for name in sorted(dir(module)):
            value = None if name.startswith("_") else _value(module, name)
            if inspect.isfunction(value) or inspect.isclass(value):
                yield name, value
            if inspect.isclass(value):
                yield from _methods(name, value)


def _value(module: ModuleType, name: str) -> object:
    try:
        return getattr(module, name)
    except ImportError:
        return None  # the Workers runtime has it


def _methods(name: str, owner: type[object]) -> Iterator[tuple[str, Any]]:
    for method in dir(owner):
        value = getattr(owner, method, None)
        if inspect.isfunction(value) and (method == "__init__" or not method.startswith("_")):
            yield f"{name}.{method}", value


PUBLIC = dict(_public())


def test_the_names_are_found() -> None:
    assert len(PUBLIC) > 500
    assert {"D1UsageStore.__init__", "CloudflareStore.turn", "export_session", "FakeClock.advance"} <= PUBLIC.keys()


@pytest.mark.parametrize("name", PUBLIC)
def test_hints(name: str) -> None:
    hints = typing.get_type_hints(PUBLIC[name])
    assert not any(isinstance(hint, str) for hint in hints.values())
