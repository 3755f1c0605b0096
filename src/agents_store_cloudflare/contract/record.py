"""The base of all records: `to_dict` and `from_dict`.

Every record is a slotted dataclass. `to_dict()` writes camelCase keys, as they are stored and sent. `from_dict()` reads camelCase or
snake_case keys. The two are inverse. Keys inside user JSON are never renamed. Times are integer milliseconds since 1970.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Set as AbstractSet
from copy import copy, deepcopy
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any, ClassVar, Final, Self, cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue

__all__ = ["STORED_HISTORY", "Record", "as_mapping", "check_extra", "shape_of"]

STORED_HISTORY: Final = "storedHistory"


_PLAIN_TYPES = frozenset({str, int, float, bool, type(None)})


_SNAKE = re.compile(r"_([a-z0-9])")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """The facts about a record class that `to_dict` and `from_dict` need.

    Attributes:
        keys: field name -> camelCase key, in the order of the fields. `extra` and `stored_history` are missing: they have methods of
            their own.
        names: camelCase key or snake_case key -> field name.
        plain: the fields that take text, numbers, bools and None as they are.
        required: the fields without a default.
        has_extra: whether unknown keys go to `extra`.
        taken: the keys that `extra` may not have.
    """

    keys: Mapping[str, str]
    names: Mapping[str, str]
    plain: frozenset[str]
    required: frozenset[str]
    has_extra: bool
    taken: frozenset[str]


@cache
def shape_of(record: Hashable) -> _Shape:
    parts = fields(cast("Any", record))
    own_way = {"extra", "stored_history"}
    keys = {
        part.name: _SNAKE.sub(lambda match: match.group(1).upper(), part.name)
        for part in parts
        if part.name not in own_way
    }
    return _Shape(
        keys=keys,
        names={spelling: name for name, key in keys.items() for spelling in (name, key)},
        plain=_plain_fields(cast("type[Record]", record), keys),
        required=frozenset(part.name for part in parts if part.default is MISSING and part.default_factory is MISSING),
        has_extra=any(part.name == "extra" for part in parts),
        taken=frozenset({"extra", STORED_HISTORY, *keys, *keys.values()}),
    )


def _plain_fields(record: type[Record], keys: Mapping[str, str]) -> frozenset[str]:
    reads_its_own_way = "_read" in vars(record)
    return frozenset[str]() if reads_its_own_way else frozenset(keys) - frozenset(record._NESTED)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


class Record:
    """The base of the records. A subclass names its fields that hold records in `_NESTED`."""

    __slots__ = ()
    _NESTED: ClassVar[Mapping[str, type[Record]]] = {}

    def to_dict(self) -> JsonObject:
        """Return all fields under camelCase keys, with the keys of `extra` beside them. The result is a deep copy."""
        body: JsonObject = deepcopy(cast("JsonObject", getattr(self, "extra", {})))
        for name, key in shape_of(cast("Hashable", type(self))).keys.items():
            value = getattr(self, name)
            body[key] = value if type(value) in _PLAIN_TYPES else _plain(value)
        return body

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """Return the record of a mapping with camelCase or snake_case keys.

        Raises:
            TypeError: `body` is no mapping.
            InvalidArgumentError: a required field is missing, a field is given under both spellings, or the record has no such field.
        """
        if not isinstance(cast("object", body), Mapping):
            raise TypeError(f"{cls.__name__} must be given as a record or a mapping, not {type(body).__name__}")
        shape = shape_of(cast("Hashable", cls))
        names = shape.names
        rest: dict[str, Any] = {}
        known: dict[str, Any] = {}
        for key, value in body.items():
            if (name := names.get(key)) is None:
                rest[key] = value
            elif name in known:
                raise InvalidArgumentError(f"{cls.__name__} has both {shape.keys[name]!r} and {name!r}; give one")
            else:
                known[name] = value if name in shape.plain and type(value) in _PLAIN_TYPES else cls._read(name, value)
        if not shape.required <= known.keys():
            raise InvalidArgumentError(f"{cls.__name__} needs {min(shape.required - known.keys())!r}")
        if rest:
            if shape.has_extra:
                known["extra"] = {**as_mapping(rest.pop("extra", {}), "extra"), **rest}
            else:
                names_it_has = ", ".join(shape.keys)
                raise InvalidArgumentError(f"{cls.__name__} has no field {min(rest)!r}; its fields are {names_it_has}")
        return cls(**known)

    @classmethod
    def _read(cls, name: str, value: Any) -> Any:
        if (nested := cls._NESTED.get(name)) is not None and value is not None and not isinstance(value, nested):
            return nested.from_dict(value)
        # A copy: a message that is appended to a state must not change the mapping that the state was made from.
        return copy(cast("object", value)) if isinstance(value, list | dict) else value


def as_mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")
    return cast("Mapping[str, Any]", value)


def check_extra(record: Record, extra: Mapping[str, JsonValue]) -> None:
    """Refuse keys in `extra` that are names of fields: nobody could tell the two apart afterwards.

    Raises:
        TypeError: `extra` is no mapping.
        InvalidArgumentError: a key is the name of a field; the message names it.
    """
    taken = shape_of(cast("Hashable", type(record))).taken.intersection(as_mapping(extra, "extra"))
    if taken:
        raise InvalidArgumentError(f"extra has {min(taken)!r}, which is a field of {type(record).__name__}")


def _plain(value: Any) -> JsonValue:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, frozenset | set):
        return sorted(cast("AbstractSet[str]", value))
    if isinstance(value, tuple):
        return [_plain(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, dict) and any(isinstance(each, Record) for each in cast("dict[str, object]", value).values()):
        return {key: _plain(each) for key, each in cast("dict[str, object]", value).items()}
    # A copy: the record may change later.
    return cast("JsonValue", deepcopy(cast("object", value)) if isinstance(value, dict | list) else value)
