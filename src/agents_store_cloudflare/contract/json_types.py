"""The types of JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

__all__ = ["JsonObject", "JsonValue", "UserJson"]

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
"""Any JSON that the package takes. A type checker refuses types that JSON does not have."""

UserJson: TypeAlias = Any
"""Any JSON that the package gives back. Only its owner knows its shape, so a type checker lets the owner use it."""

JsonObject: TypeAlias = "dict[str, UserJson]"
"""A JSON object that its owner reads and changes, such as a session's custom state."""
