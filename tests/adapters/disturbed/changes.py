"""Changes everything that a caller may change of what it has handed over: also texts and numbers inside the frameworks' objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from google.protobuf.message import Message
from pydantic import BaseModel
from pydantic_ai.conversation import Conversation

__all__ = ["scramble"]


def scramble(value: Any) -> int:
    """Change the lists, dicts, and objects inside a value. Return how many changes there were.

    A conversation keeps its own texts and numbers, because pydantic-ai reads them when it wants.
    """
    return _scrambled(value, {})


def _scrambled(value: Any, seen: dict[int, Any]) -> int:
    if value is None or id(value) in seen:
        return 0
    seen[id(value)] = value
    if isinstance(value, Message):
        return _of_protobuf(value)
    if isinstance(value, dict | list):
        return _of_container(cast("Any", value), seen)
    if isinstance(value, Mapping | tuple):
        given = cast("Any", value)
        parts: list[Any] = list(given.values()) if isinstance(value, Mapping) else list(given)
        return sum(_scrambled(each, seen) for each in parts)
    return _of_object(value, seen)


def _of_container(value: Any, seen: dict[int, Any]) -> int:
    parts: list[Any] = list(cast("dict[str, Any]", value).values()) if isinstance(value, dict) else list(value)
    changed = sum(_scrambled(each, seen) for each in parts)
    if isinstance(value, dict):
        value["intruder"] = "intruder"
    elif value:
        value.append(value[0])
    return changed + 1


def _of_object(value: Any, seen: dict[int, Any]) -> int:
    kind = cast("Any", type(value))
    if dataclasses.is_dataclass(value):
        names = [each.name for each in dataclasses.fields(value)]
        changes = not (kind.__dataclass_params__.frozen or isinstance(value, Conversation))
    else:
        names, changes = list(kind.model_fields) if isinstance(value, BaseModel) else [], True
    changed = 0
    for name in names:
        own = getattr(value, name)
        if changes and isinstance(own, str) and name in {"content", "error", "run_id", "tool_name"}:
            setattr(value, name, f"changed {own}")
            changed += 1
        elif changes and isinstance(own, int) and not isinstance(own, bool):
            setattr(value, name, own + 1)
            changed += 1
        else:
            changed += _scrambled(own, seen)
    return changed


def _of_protobuf(value: Any) -> int:
    value.metadata.update({"intruder": True})
    if value.DESCRIPTOR.name == "Task":
        value.status.state = 2
        value.history.add(message_id="intruder")
        return 3
    return 1
