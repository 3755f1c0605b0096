"""Asking for the kind of a value of which nothing is known."""

from __future__ import annotations

from typing import Any

__all__ = ["is_a", "is_exactly", "kind_of"]


def is_a(value: object, *kinds: type[Any]) -> bool:
    """Whether the value is of one of the kinds. Type checkers go on knowing nothing of it: it may hold anything."""
    return isinstance(value, kinds)


def is_exactly(value: object, kind: type[Any]) -> bool:
    """Whether the value is of this kind and of no kind made from it."""
    return type(value) is kind


def kind_of(value: object) -> Any:
    """The class of the value."""
    return type(value)
