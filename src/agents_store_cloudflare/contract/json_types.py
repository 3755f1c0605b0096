"""The types of JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

__all__ = ["JsonObject", "JsonValue", "UserJson"]

if TYPE_CHECKING:
    JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
    """Any JSON that the package takes. A type checker refuses types that JSON does not have."""
else:
    # `typing.get_type_hints` looks up the names of a text in the module that uses the alias, where they are missing.
    JsonValue = bool | int | float | str | Sequence[Any] | Mapping[str, Any] | None

UserJson: TypeAlias = Any
"""Any JSON that the package gives back. Only its owner knows its shape, so a type checker lets the owner use it."""

JsonObject: TypeAlias = dict[str, UserJson]
"""A JSON object that its owner reads and changes, such as a session's custom state."""
