"""Takes the raw JavaScript binding out of the Workers SDK's wrapper, and calls what is in it.

The SDK wraps each binding, such as `env.AGENT_DB`, in a proxy. The proxy converts value by value, which takes 4 to 20 times as long.
So the package takes the raw binding inside it (`_binding`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from os import PathLike
from typing import Any, Final, TypeAlias

__all__ = ["LONG_TEXT", "JsObject", "called", "ffi", "has_long_text", "not_a_binding", "raw_binding"]

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

LONG_TEXT: Final = 1_000
"""The number of characters from which bytes are cheaper than text that is not ASCII."""


@cache
def ffi() -> Any:
    """Return the module `pyodide.ffi`. An import statement takes some microseconds each time, and it would stand in every call."""
    import pyodide.ffi

    return pyodide.ffi


def called(function: JsObject, arguments: Sequence[JsObject], this: JsObject = None) -> JsObject:
    """Return the result of a JavaScript function. Long texts cross as bytes (`long_texts.py`).

    Args:
        function: the function, or a method as an attribute of its object.
        arguments: texts, numbers and JavaScript's null.
        this: the object of a method.
    """
    if has_long_text(arguments):
        from agents_store_cloudflare.cloudflare.long_texts import called_with_bytes

        return called_with_bytes(function, arguments, this)
    return function(*arguments)


def has_long_text(arguments: Sequence[JsObject]) -> bool:
    """Return whether one of the arguments is a text that crosses as bytes."""
    for each in arguments:  # noqa: SIM110 - a generator would cost more than the rest
        if type(each) is str and len(each) > LONG_TEXT and not each.isascii():
            return True
    return False


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
