"""Takes the raw JavaScript binding out of the Workers SDK's wrapper.

The SDK wraps each binding, such as `env.AGENT_DB`, in a proxy. The proxy converts value by value, which takes 4 to 20 times as long.
So the package takes the raw binding inside it (`_binding`).
"""

from __future__ import annotations

from functools import cache
from os import PathLike
from typing import Any, TypeAlias

__all__ = ["JsObject", "ffi", "not_a_binding", "raw_binding"]

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type


@cache
def ffi() -> Any:
    """Return the module `pyodide.ffi`. An import statement takes some microseconds each time, and it would stand in every call."""
    import pyodide.ffi

    return pyodide.ffi


def raw_binding(binding: object) -> JsObject:
    return getattr(binding, "_binding", binding)


def not_a_binding(what: str, section: str, binding: object) -> str:
    if isinstance(binding, str | PathLike):
        return (
            f"expected a {what}, got a path; outside Workers pass agents_store_cloudflare.testing.SqliteDatabase(path)"
        )
    return (
        f"expected a {what}, got {type(binding).__name__}; is the binding in the [[{section}]] of the Worker's wrangler.toml? "
        "check_bindings(self.env) names what is missing"
    )
