"""Takes objects of allowed classes apart, and rebuilds them."""

from __future__ import annotations

import dataclasses
import enum
import importlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, Literal

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde import types as serde_types
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES
from langgraph.store.base import Item
from langgraph.types import Send
from pydantic import ValidationError

from agents_store_cloudflare.adapters.langgraph.errors import ForeignValueError
from agents_store_cloudflare.adapters.langgraph.kinds import is_a, kind_of

__all__ = ["ClassPort"]

_MESSAGES: Final = "langchain_core.messages."
_DEFAULTS: Final[Mapping[str, object]] = {
    "additional_kwargs": {},
    "response_metadata": {},
    "name": None,
    "id": None,
    "example": False,
    "artifact": None,
    "status": "success",
    "usage_metadata": None,
    "tool_calls": [],
    "invalid_tool_calls": [],
}
"""The fields of messages that are not written if they have this value."""

_AGENTS: Final = frozenset(
    ("langchain_core.agents", name) for name in ("AgentAction", "AgentActionMessageLog", "AgentStep", "AgentFinish")
)
"""What LangChain's agents keep in their states. LangGraph's own serializer takes them without being told."""

Key = tuple[str, ...]
DeltaSnapshot: Any = vars(serde_types)["_DeltaSnapshot"]


class ClassPort:
    """Takes objects apart and rebuilds them, if their class is allowed.

    Args:
        allow: classes or pairs (module, name), or True for all classes that can be imported.
    """

    def __init__(self, allow: Iterable[type | Key] | Literal[True]) -> None:
        self._all = allow is True
        self._allowed: set[Key] = set(SAFE_MSGPACK_TYPES | _AGENTS)
        if not isinstance(allow, bool):
            self._allowed |= {_key_of(each) if isinstance(each, type) else tuple(each) for each in allow}
        self._found: dict[Key, type] = {}

    def widened(self, extra: Collection[Key]) -> Iterable[type | Key] | Literal[True]:
        """Return the argument `allow` for these classes and more."""
        return True if self._all else (self._allowed | set(extra))

    def taken_apart(self, value: Any) -> tuple[Any, ...] | None:
        """Return a tag and the parts of the object, or None for an object of another kind.

        Raises:
            ForeignValueError: the class is not allowed, or cannot be imported again.
        """
        if is_a(value, DeltaSnapshot):
            return ("delta", value.value)
        for tag, part_of in _KINDS:
            if (part := part_of(value)) is not _NOT_ITS_KIND:
                return (tag, self._name(kind_of(value)), part)
        return None

    def rebuilt(self, tag: str, parts: list[Any]) -> Any:
        """Return the object of a tag and its parts.

        Raises:
            ForeignValueError: the class is not allowed, no longer exists, or refuses the parts.
        """
        if tag == "delta":
            return DeltaSnapshot(parts[0])
        if tag == "serde":
            raise ForeignValueError(
                f"a value of kind {parts[0]!r} was written by another serializer; give the saver that serializer"
            )
        if tag not in {"message", "enum", "object", "model", "namedtuple", "single"}:
            raise ForeignValueError(f"a stored value has the tag {tag!r}, which this version does not know")
        kind = self._class_of(_key(parts[0]))
        try:
            return _made(tag, kind, parts[1])
        except Exception as error:
            raise ForeignValueError(
                f"a stored {kind.__module__}.{kind.__qualname__} cannot be rebuilt: {type(error).__name__}: {error}"
            ) from error

    def _name(self, kind: type) -> Any:
        key = _key_of(kind)
        self._check(key)
        if "<locals>" in kind.__qualname__:
            raise ForeignValueError(
                f"{kind.__module__}.{kind.__qualname__} is defined inside a function, so nobody could rebuild it; "
                "define it at the top of its module"
            )
        return _short(key)

    def _check(self, key: Key) -> None:
        if not (self._all or key in self._allowed):
            raise ForeignValueError(
                f"{'.'.join(key)} is not allowed in checkpoints; name it: TypedJsonSerializer(allow=[{key[-1]}, …])"
            )

    def _class_of(self, key: Key) -> type:
        if (found := self._found.get(key)) is not None:
            return found
        self._check(key)
        try:
            place: Any = importlib.import_module(key[0])
            for name in key[1].split("."):
                place = getattr(place, name)
        except (ImportError, AttributeError) as error:
            raise ForeignValueError(f"the class {'.'.join(key)} of a stored value is gone: {error}") from error
        if not isinstance(place, type):
            raise ForeignValueError(f"{'.'.join(key)} of a stored value is no class")
        self._found[key] = place
        return place


def _key_of(kind: type) -> Key:
    return (kind.__module__, kind.__qualname__)


def _short(key: Key) -> Any:
    """Return the short name of a LangChain message, such as `human.HumanMessage`: most stored values are messages."""
    return f"{key[0].removeprefix(_MESSAGES)}.{key[1]}" if key[0].startswith(_MESSAGES) else list(key)


def _key(name: Any) -> Key:
    if isinstance(name, str):
        module, _, qualname = name.partition(".")
        return (_MESSAGES + module, qualname)
    return tuple(name)


_NOT_ITS_KIND: Final = object()
FIELDS: Final = "__dataclass_fields__"


def _message(value: Any) -> Any:
    if not is_a(value, BaseMessage):
        return _NOT_ITS_KIND
    fields: dict[str, Any] = {**value.__dict__, **(value.__pydantic_extra__ or {})}
    declared = kind_of(value).model_fields
    defaults = {**_DEFAULTS, "type": declared["type"].default}
    if fields.get("additional_kwargs"):  # otherwise LangChain would make missing tool calls from them
        del defaults["tool_calls"], defaults["invalid_tool_calls"]
    return {
        name: item
        for name, item in fields.items()
        if not (name in defaults and name in declared and item == defaults[name])
    }


def _enum(value: Any) -> Any:
    return value.value if is_a(value, enum.Enum) else _NOT_ITS_KIND


def _model(value: Any) -> Any:
    if not (hasattr(kind_of(value), "__pydantic_fields__") and callable(getattr(value, "model_dump", None))):
        return _NOT_ITS_KIND
    fields: dict[str, Any] = {**value.__dict__, **(value.__pydantic_extra__ or {})}
    return fields


def _named_tuple(value: Any) -> Any:
    return list(value) if is_a(value, tuple) and hasattr(kind_of(value), "_fields") else _NOT_ITS_KIND


def _object(value: Any) -> Any:
    names = _field_names(value)
    if names is None:
        return _NOT_ITS_KIND
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _field_names(value: Any) -> list[str] | None:
    if hasattr(kind_of(value), FIELDS):
        return [each.name for each in dataclasses.fields(value)]
    return list(kind_of(value).__slots__) if is_a(value, Send, Item) else None


def _secret(value: Any) -> Any:
    return value.get_secret_value() if callable(getattr(value, "get_secret_value", None)) else _NOT_ITS_KIND


_KINDS: Final[tuple[tuple[str, Callable[[Any], Any]], ...]] = (
    ("message", _message),
    ("enum", _enum),
    ("model", _model),
    ("namedtuple", _named_tuple),
    ("object", _object),
    ("single", _secret),
)


def _made(tag: str, kind: Any, part: Any) -> Any:
    match tag:
        case "message":
            return kind(**part)
        case "model":
            return _made_model(kind, part)
        case "object":
            return _made_object(kind, part)
        case "namedtuple":
            return kind(*part)
        case _:
            return kind(part)


def _made_model(kind: Any, fields: dict[str, Any]) -> Any:
    try:
        return kind(**fields)
    except (ValidationError, TypeError):  # the rules of the class have changed since; the stored value stays unchanged
        return kind.model_construct(**fields)


def _made_object(kind: Any, fields: dict[str, Any]) -> Any:
    if kind is Send:
        node, arg = fields.pop("node"), fields.pop("arg")
        return Send(node, arg, **{name: value for name, value in fields.items() if value is not None})
    later = {each.name for each in dataclasses.fields(kind) if not each.init} if hasattr(kind, FIELDS) else set[str]()
    made = kind(**{name: value for name, value in fields.items() if name not in later})
    for name in later & fields.keys():
        object.__setattr__(made, name, fields[name])
    return made
