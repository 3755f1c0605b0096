"""Finds the part of a value that JSON cannot carry, and says what to write instead. It runs only after a value was refused."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Final, TypeAlias, cast
from uuid import UUID

__all__ = ["has_foreign_key", "is_foreign", "is_lone_surrogate", "is_not_finite", "path_to", "remedy_for"]

Test: TypeAlias = "Callable[[object], bool]"

MAX_PATH_CHARACTERS: Final = 200
MAX_KEY_CHARACTERS: Final = 40
JSON_TYPES: Final = (dict, list, str, int, float)

_REMEDIES: Final[tuple[tuple[tuple[type, ...], str], ...]] = (
    ((datetime, date, time), "value.isoformat()"),
    ((bytes, bytearray, memoryview), "base64.b64encode(value).decode()"),
    ((tuple, set, frozenset), "list(value)"),
    ((Decimal, UUID), "str(value)"),
    ((complex,), "[value.real, value.imag]"),
)


def path_to(value: object, name: str, is_misfit: Test) -> str | None:
    """Return the place of the first misfit, such as `custom_state.plan[2].due`, or None.

    Args:
        value: the value to look through.
        name: the name of the whole value, such as "custom_state".
        is_misfit: returns True for a value or a key that JSON cannot carry.
    """
    stack: list[tuple[str, object, tuple[int, ...]]] = [(name, value, ())]
    while stack:
        path, node, above = stack.pop()
        if is_misfit(node):
            return path
        if id(node) in above:
            continue  # a container that holds itself
        stack += reversed([(inner, child, (*above, id(node))) for inner, child in _children(path, node)])
    return None


def _children(path: str, node: object) -> Iterator[tuple[str, object]]:
    if len(path) > MAX_PATH_CHARACTERS:
        path = f"{path[:MAX_PATH_CHARACTERS]}…"
    if isinstance(node, dict):
        for key, child in cast("dict[object, object]", node).items():
            yield f"{path} (its key {_shown(key)})", key
            yield f"{path}{_step(key)}", child
    elif isinstance(node, list):
        yield from ((f"{path}[{number}]", child) for number, child in enumerate(cast("list[object]", node)))


def _step(key: object) -> str:
    return (
        f".{key}"
        if isinstance(key, str) and key.isidentifier() and len(key) <= MAX_KEY_CHARACTERS
        else f"[{_shown(key)}]"
    )


def _shown(key: object) -> str:
    shown = ascii(key)
    return shown if len(shown) <= MAX_KEY_CHARACTERS else f"{shown[:MAX_KEY_CHARACTERS]}…"


def has_foreign_key(value: object) -> bool:
    """Return whether the value is a dict with a key that is not text."""
    return isinstance(value, dict) and not all(isinstance(key, str) for key in cast("dict[object, object]", value))


def is_foreign(value: object) -> bool:
    """Return whether JSON has no such type. Subclasses of text and numbers, such as enums, are written as text and numbers."""
    return value is not None and not isinstance(value, JSON_TYPES)


def is_not_finite(value: object) -> bool:
    """Return whether the value is NaN or an infinity."""
    return isinstance(value, float) and not math.isfinite(value)


def is_lone_surrogate(value: object) -> bool:
    """Return whether the value is text that UTF-8 cannot carry."""
    return isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value)


def remedy_for(value_type: type[object]) -> str:
    """Return the advice for a value of this type: what to write instead."""
    for types, remedy in _REMEDIES:
        if issubclass(value_type, types):
            return f"write {remedy}"
    if dataclasses.is_dataclass(value_type):
        return "write dataclasses.asdict(value)"
    if hasattr(value_type, "model_dump"):
        return 'write value.model_dump(mode="json")'
    if issubclass(value_type, Enum):
        return "write value.value"
    if hasattr(value_type, "tolist"):
        return "write value.tolist()"
    return "use dict, list, str, int, float, bool or None"
