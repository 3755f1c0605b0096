"""Names of a package that load their module when a program first uses them.

A Worker pays for each module at every cold start. A Worker that uses one part of the package should not pay for the others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module

__all__ = ["lazy_names"]

_RUNTIME_MODULES = {"js", "pyodide", "workers"}


def lazy_names(
    package: str, modules: Mapping[str, Iterable[str]], *, parts: Iterable[str] = ()
) -> Callable[[str], object]:
    """Return a `__getattr__` for the package: it loads a name's module, and keeps the name for the next time.

    The package imports the same names below `TYPE_CHECKING`, for type checkers and editors.

    Args:
        package: the package's `__name__`.
        modules: modules below the package, each with the names that it defines.
        parts: modules below the package that are names of the package themselves.

    Raises:
        AttributeError: from the returned function: the package has no such name.
        ImportError: from the returned function: the module needs the Workers runtime, and this is CPython.
    """
    module_of = {name: f"{package}.{module}" for module, names in modules.items() for name in names}
    module_of |= {part: f"{package}.{part}" for part in parts}

    def load(name: str) -> object:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = import_module(module_of[name])
        except ModuleNotFoundError as error:
            if error.name not in _RUNTIME_MODULES:
                raise
            raise ImportError(
                f"{name} is a Durable Object class and needs the Workers runtime; on CPython use "
                "agents_store_cloudflare.testing.LocalObjects"
            ) from error
        value: object = module if name in parts else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return load
