"""Names of a package that load their module when a program first uses them.

A Worker pays for each module at every cold start. Modules that only some Workers use are loaded when one of their names is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["lazy_names"]

_RUNTIME_MODULES = {"js", "pyodide", "workers"}


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return a `__getattr__` for the package: it loads a name's module, and keeps the name for the next time.

    Args:
        package: the package's `__name__`.
        homes: each lazy name, and the module that defines it. When the module has the same name, the value is the module itself.

    Raises:
        AttributeError: from the returned function: the package has no such name.
        ImportError: from the returned function: the module needs the Workers runtime, and this is CPython.
    """

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        try:
            module = import_module(home)
        except ModuleNotFoundError as error:
            if error.name not in _RUNTIME_MODULES:
                raise
            raise ImportError(
                f"{name} is a Durable Object class and needs the Workers runtime; on CPython use "
                "agents_store_cloudflare.testing.LocalObjects"
            ) from error
        value: object = module if home == f"{package}.{name}" else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return load
