"""A JSON document that counts its encoded bytes while it is changed, and stops before it grows too large."""

from __future__ import annotations

import re
from typing import TypeAlias

import jsonpatch

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import MAX_DEPTH, JsonObject, JsonValue, decode_json, encode_json

__all__ = ["COPY_FACTOR", "Location", "OversizeError", "RefusedError", "SizedDocument", "same_json"]

Location: TypeAlias = tuple[str, ...]
"""The unescaped tokens of a JSON Pointer. The empty tuple is the whole document."""

COPY_FACTOR = 4
"""The copies and moves of one document may handle this many times `max_bytes` together.

A limit of the size is not enough: a thousand copies to the same place, each as large as the document, would use up a Worker's CPU time.
"""

_INDEX = re.compile("0|[1-9][0-9]{0,9}")


class RefusedError(Exception):
    """The change does not fit the document. The text says why, without content. The document must not be used any more."""


class OversizeError(RefusedError):
    """The document would have `size_bytes`, which is over its limit."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__("it makes the custom state too large")
        self.size_bytes = size_bytes


class SizedDocument:
    """A copy of a JSON object. It shares no object with the values that it is given.

    The size of a change is measured before the change is made, so a refused change takes no memory. A change costs as much as the values
    that it adds and removes, however large the document is. `jsonpatch` makes the changes, one at a time. Some of its versions differ
    from RFC 6902: indexes with leading zeros, indexes into text, moves of a value into itself. This class decides these cases first.

    Attributes:
        root: the document. A change can make it another value than an object.
        size_bytes: the exact number of bytes of its compact UTF-8 text.
    """

    __slots__ = ("_handled_bytes", "_max_bytes", "root", "size_bytes")

    def __init__(self, value: JsonObject, *, max_bytes: int) -> None:
        """Copy a value.

        Raises:
            TypeError: it holds a type that JSON does not have.
            InvalidArgumentError: it holds a value that JSON cannot carry.
        """
        text = encode_json(value, name="custom_state")
        self.root: JsonValue = decode_json(text)
        self.size_bytes: int = len(text.encode())
        self._max_bytes = max_bytes
        self._handled_bytes = 0

    def value_at(self, location: Location) -> JsonValue:
        """Return the value at a place of the document. It is the document's own object, not a copy."""
        node = self.root
        for token in location:
            if isinstance(node, dict) and token in node:
                node = node[token]
            elif isinstance(node, list) and _index(token) < len(node):
                node = node[int(token)]
            else:
                raise RefusedError("a location that it names does not exist")
        return node

    def add(self, location: Location, value: JsonValue) -> int:
        """Insert into a list, set a member, or replace the whole document, as "add" of RFC 6902 does. Return the bytes of the value."""
        text, value_bytes = _measured(value, location)
        self._resize(self._growth(location, value_bytes))
        self._change("add", location, value=decode_json(text))
        return value_bytes

    def replace(self, location: Location, value: JsonValue) -> None:
        """Replace the value at a place by `value`."""
        text, value_bytes = _measured(value, location)
        self._resize(value_bytes - _bytes_of(self.value_at(location)))
        self._change("replace", location, value=decode_json(text))

    def remove(self, location: Location) -> None:
        """Remove the value at a place. The whole document cannot be removed."""
        if not location:
            raise RefusedError("the whole document cannot be removed")
        parent = self.value_at(location[:-1])
        value_bytes = _bytes_of(self.value_at(location))
        others = len(parent) > 1 if isinstance(parent, dict | list) else False
        self._resize(-value_bytes - _name_bytes(parent, location[-1]) - others)
        self._change("remove", location)

    def copy(self, source: Location, target: Location) -> None:
        """Add a copy of the value at `source`."""
        self._count_handled(self.add(target, self.value_at(source)))

    def move(self, source: Location, target: Location) -> None:
        """Remove the value at `source`, then add it at `target`. A value cannot be moved into itself."""
        value = self.value_at(source)
        if source == target:
            return
        if target[: len(source)] == source:
            raise RefusedError("a value cannot be moved into itself")
        self.remove(source)
        self._count_handled(self.add(target, value))

    def append(self, location: Location, values: list[JsonValue]) -> None:
        """Append values to the list at a place."""
        present = self.value_at(location)
        if not isinstance(present, list):
            raise RefusedError("there is no list to append to")
        text, values_bytes = _measured(values, location)
        if values:
            self._resize(values_bytes - len("[]") + bool(present))
            present.extend(decode_json(text))  # type: ignore[arg-type]  # a list's text

    def _growth(self, location: Location, value_bytes: int) -> int:
        if not location:
            return value_bytes - self.size_bytes
        parent, last = self.value_at(location[:-1]), location[-1]
        if isinstance(parent, dict) and last in parent:
            return value_bytes - _bytes_of(parent[last])
        if isinstance(parent, list) and last != "-" and _index(last) > len(parent):
            raise RefusedError("an index that it names is past the end of the list")
        if not isinstance(parent, dict | list):
            raise RefusedError("a location that it names is inside a value that is neither object nor list")
        return value_bytes + _name_bytes(parent, last) + bool(parent)

    def _resize(self, delta_bytes: int) -> None:
        self.size_bytes += delta_bytes
        if delta_bytes > 0 and self.size_bytes > self._max_bytes:
            raise OversizeError(self.size_bytes)

    def _count_handled(self, value_bytes: int) -> None:
        self._handled_bytes += value_bytes
        if self._handled_bytes > COPY_FACTOR * self._max_bytes:
            raise RefusedError(f"copy and move have handled more than {COPY_FACTOR} times the largest custom state")

    def _change(self, op: str, location: Location, **value: JsonValue) -> None:
        if not location:  # when the old root is a list, versions of the library differ
            self.root = value["value"]
            return
        path = "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in location)
        try:
            self.root = jsonpatch.apply_patch(self.root, [{"op": op, "path": path, **value}], in_place=True)
        except Exception:  # noqa: BLE001 - whatever the library raises; its texts hold the document, so it is no cause
            raise RefusedError("the JSON Patch library refuses it") from None


def same_json(left: JsonValue, right: JsonValue) -> bool:
    """Return whether two values are equal by RFC 6902: numbers by value, objects in any order; true does not equal 1."""
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            if one.keys() != other.keys():
                return False
            pairs += [(value, other[key]) for key, value in one.items()]
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            pairs += zip(one, other, strict=True)
        elif isinstance(one, bool) is not isinstance(other, bool) or one != other:
            return False
    return True


def _index(token: str) -> int:
    if not _INDEX.fullmatch(token):
        raise RefusedError("it names an element of a list without an index")
    return int(token)


def _measured(value: JsonValue, location: Location) -> tuple[str, int]:
    try:
        text = encode_json(value, name="value", max_depth=MAX_DEPTH - len(location))
    except (TypeError, InvalidArgumentError):
        raise RefusedError(f"its value is not JSON, or would nest deeper than {MAX_DEPTH} levels there") from None
    return text, len(text.encode())


def _bytes_of(value: JsonValue) -> int:
    return len(encode_json(value, name="value").encode())


def _name_bytes(parent: JsonValue, token: str) -> int:
    return _bytes_of(token) + len(":") if isinstance(parent, dict) else 0
