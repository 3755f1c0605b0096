"""Changes of a session's custom state, and the results of applying them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from agents_store_cloudflare.contract.arguments import check_id, check_text, check_whole_number
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue, encode_json
from agents_store_cloudflare.contract.record import Record, as_mapping

__all__ = ["MergeChanges", "MergeResult", "PromoteResult", "StagedChange"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeChanges(Record):
    """Values to merge into a custom state, by top-level key.

    Attributes:
        values: a list is appended to a stored list; any other value replaces the stored value of its key.
        array_replacements: the keys whose lists replace the stored list. A key that `values` does not have has no effect.
    """

    values: JsonObject
    array_replacements: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        _check_object(self.values, "MergeChanges.values")
        if not isinstance(cast("object", self.array_replacements), frozenset | set | list | tuple):
            raise TypeError(
                f"MergeChanges.array_replacements must be a set of keys, not {type(self.array_replacements).__name__}"
            )
        keys = [check_text(key, "a key in array_replacements", empty=True) for key in self.array_replacements]
        object.__setattr__(self, "array_replacements", frozenset(keys))

    @classmethod
    def of(cls, changes: MergeChanges | Mapping[str, JsonValue]) -> MergeChanges:
        """Return the changes that a caller gave as a record, as the mapping of a record, or as a plain mapping of values.

        A mapping with exactly the two keys `values` and `arrayReplacements` (or `array_replacements`) is the mapping of a record, as
        `to_dict` writes it. Every other mapping holds plain values, also a mapping with the key `values` alone.

        Raises:
            TypeError: it is neither a record nor a mapping, or JSON does not have the type of a value.
            InvalidArgumentError: JSON cannot carry a value.
        """
        if isinstance(changes, MergeChanges):
            return changes
        given = dict(as_mapping(changes, "merge_changes"))
        if given.keys() in ({"values", "arrayReplacements"}, {"values", "array_replacements"}):
            return cls.from_dict(given)
        return cls(values=given)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedChange(Record):
    """The change that one tool call wants to make. It is kept until its step is promoted.

    `merge_changes` and `patches` describe the same change. When `merge_changes` is given, it is applied and the patches are not.

    Attributes:
        patches: RFC 6902 operations on the custom state. They are tried when they are promoted.
        merge_changes: values to merge. A mapping becomes a `MergeChanges`.
        timestamp: changes are promoted in the order of their timestamps (milliseconds since 1970). None means the time of staging.
    """

    tool_call_id: str
    patches: list[JsonObject] = field(default_factory=list[JsonObject])
    merge_changes: MergeChanges | Mapping[str, JsonValue] | None = None
    timestamp: int | None = None

    def __post_init__(self) -> None:
        check_id(self.tool_call_id, "tool_call_id")
        if self.timestamp is not None:
            check_whole_number(self.timestamp, "timestamp")
        if not isinstance(cast("object", self.patches), list):
            raise TypeError(f"patches must be a list of operations, not {type(self.patches).__name__}")
        for index, operation in enumerate(self.patches):
            name = f"patches[{index}]"
            _check_object(operation, name)
            if not isinstance(operation.get("op"), str):
                raise InvalidArgumentError(f"{name} needs a text 'op'")
        if self.merge_changes is not None:
            object.__setattr__(self, "merge_changes", MergeChanges.of(self.merge_changes))


def _check_object(value: object, name: str) -> None:
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be a dict, not {type(value).__name__}")
    encode_json(cast("object", value), name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteResult(Record):
    """The result of a promotion.

    Attributes:
        version: the session's version after it.
        applied: the ids of the applied tool calls, in order.
        warnings: texts for a person.
        checkpoint_id: the id of the checkpoint that was kept with it, or None.
    """

    version: int
    applied: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    checkpoint_id: str | None = None

    def __post_init__(self) -> None:
        _keep_as_tuples(self, "applied", "warnings")


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeResult(Record):
    """The result of a merge.

    Attributes:
        version: the session's version after it.
        applied: always empty, because a merge belongs to no tool call.
        warnings: texts for a person.
    """

    version: int
    applied: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _keep_as_tuples(self, "applied", "warnings")


def _keep_as_tuples(record: object, *names: str) -> None:
    """Turn the lists of a record that was made from JSON into tuples, so that it equals the record that wrote the JSON."""
    for name in names:
        object.__setattr__(record, name, tuple(getattr(record, name)))
