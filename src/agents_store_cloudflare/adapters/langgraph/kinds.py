"""Asks for the type of a value of unknown type."""

from __future__ import annotations

from typing import Any

__all__ = ["is_a", "is_exactly", "kind_of"]


def is_a(value: object, *kinds: type[Any]) -> bool:
    """Return whether the value is an instance of one of the types. Type checkers do not narrow its type, so its content stays unknown."""
    return isinstance(value, kinds)


def is_exactly(value: object, kind: type[Any]) -> bool:
    """Return whether the value has exactly this type, and not a subclass."""
    return type(value) is kind


def kind_of(value: object) -> Any:
    """Return the class of the value."""
    return type(value)
