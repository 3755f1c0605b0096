"""`ormsgpack` for Pyodide, which has no wheel of it.

It has the part that LangGraph uses, is made with `msgpack`, and writes the same bytes.

LangGraph's checkpoint package always imports `ormsgpack`, also when another serializer is used.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import msgpack

from agents_store_cloudflare.adapters.langgraph.kinds import is_a, kind_of

__all__ = [
    "OPT_NON_STR_KEYS",
    "OPT_PASSTHROUGH_DATACLASS",
    "OPT_PASSTHROUGH_DATETIME",
    "OPT_PASSTHROUGH_ENUM",
    "OPT_PASSTHROUGH_UUID",
    "OPT_REPLACE_SURROGATES",
    "Ext",
    "MsgpackDecodeError",
    "MsgpackEncodeError",
    "packb",
    "unpackb",
]

# The numbers are those of the real module, because callers combine options and may store them.
OPT_NON_STR_KEYS = 1 << 1
OPT_PASSTHROUGH_DATACLASS = 1 << 4
OPT_PASSTHROUGH_DATETIME = 1 << 5
OPT_PASSTHROUGH_UUID = 1 << 12
OPT_PASSTHROUGH_ENUM = 1 << 13
OPT_REPLACE_SURROGATES = 1 << 15

NEEDED = OPT_PASSTHROUGH_DATACLASS | OPT_PASSTHROUGH_DATETIME | OPT_PASSTHROUGH_UUID | OPT_PASSTHROUGH_ENUM
KNOWN = NEEDED | OPT_NON_STR_KEYS | OPT_REPLACE_SURROGATES
MOST_DEPTH = 254

Default: TypeAlias = "Callable[[Any], Any]"
ExtHook: TypeAlias = "Callable[[int, bytes], Any]"


# As in the real module, these are other names of Python's own errors.
MsgpackEncodeError = TypeError
MsgpackDecodeError = ValueError


class Ext(NamedTuple):
    """An extension value: its code and its bytes."""

    tag: int
    data: bytes


def packb(obj: Any, /, default: Default | None = None, option: int | None = None) -> bytes:
    """Return the value as msgpack.

    Args:
        default: returns the replacement of a value of another type.
        option: a combination of the options above. Dataclasses, datetimes, UUIDs and enums must be passed through.

    Raises:
        MsgpackEncodeError: `default` refuses a value.
        NotImplementedError: this module does not have an option.
    """
    options = option or 0
    if options & ~KNOWN or options & NEEDED != NEEDED:
        raise NotImplementedError(f"the stand-in of ormsgpack does not have option {options}")
    packing = _Packing(default, options)
    try:
        return msgpack.packb(packing.plain(obj, 0), use_bin_type=True)
    except (ValueError, OverflowError, RecursionError) as error:
        raise MsgpackEncodeError(str(error)) from error


def unpackb(data: Any, /, *, ext_hook: ExtHook | None = None, option: int | None = None) -> Any:
    """Return the value of msgpack bytes.

    Args:
        ext_hook: returns the value of an extension.
        option: OPT_NON_STR_KEYS allows keys that are not text.

    Raises:
        MsgpackDecodeError: the bytes are no msgpack.
    """
    non_str_keys = bool((option or 0) & OPT_NON_STR_KEYS)
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=False,
            object_pairs_hook=_mapping_of if non_str_keys else _mapping_of_texts,
            ext_hook=ext_hook or msgpack.ExtType,
        )
    except (TypeError, msgpack.UnpackException) as error:
        raise MsgpackDecodeError(str(error)) from error


def _mapping_of(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    return {_hashable(key): value for key, value in pairs}


def _mapping_of_texts(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    if any(not is_a(key, str) for key, _ in pairs):
        raise ValueError("a key of a map is not text")
    return dict(pairs)


def _hashable(key: Any) -> Any:
    return tuple(map(_hashable, key)) if is_a(key, list) else key


_PLAIN = frozenset({bool, type(None), float})
_PASSED = (enum.Enum, dt.datetime, dt.date, dt.time, uuid.UUID)


class _Packing:
    """One call of `packb`. It passes to msgpack only values that both modules pack in the same way."""

    def __init__(self, default: Default | None, options: int) -> None:
        self.default = default
        self.replace_surrogates = bool(options & OPT_REPLACE_SURROGATES)
        self.non_str_keys = bool(options & OPT_NON_STR_KEYS)
        self.keys: tuple[tuple[tuple[type, ...], Callable[[Any], Any]], ...] = (
            ((enum.Enum,), lambda key: self.key(key.value)),
            ((tuple,), lambda key: tuple(map(self.key, key))),
            ((dt.datetime, dt.date, dt.time), lambda key: key.isoformat()),
            ((uuid.UUID,), str),
            ((type(None), bool, float, bytes), lambda key: key),
            ((int,), lambda key: self.number(int(key))),
        )

    def plain(self, value: Any, depth: int) -> Any:
        kind = kind_of(value)
        if kind in _PLAIN:
            return value
        if kind is str:
            return self.text(value)
        if kind is int:
            return self.number(value)
        if kind in (bytes, bytearray, memoryview):
            return bytes(value)
        if depth > MOST_DEPTH:
            raise MsgpackEncodeError("default serializer exceeds recursion limit" if depth else "too deep")
        return self.container(value, depth)

    def container(self, value: Any, depth: int) -> Any:
        # ormsgpack checks in this order: an enum of text goes to `default`, a subclass of text is text.
        if is_a(value, Ext):
            return msgpack.ExtType(value.tag, value.data)
        if is_a(value, *_PASSED) or _is_dataclass(value):
            return self.passed_on(value, depth)
        if is_a(value, str, int):
            return self.text(str.__str__(value)) if is_a(value, str) else self.number(int(value))
        if is_a(value, list) or kind_of(value) is tuple:
            return [self.plain(item, depth + 1) for item in value]
        if is_a(value, dict):
            return self.mapping(value, depth)
        return self.passed_on(value, depth)

    def mapping(self, value: Any, depth: int) -> dict[Any, Any]:
        return {self.key(key): self.plain(item, depth + 1) for key, item in value.items()}

    def key(self, key: Any) -> Any:
        if is_a(key, str) and not is_a(key, enum.Enum):
            return _encodable(str.__str__(key))
        if not self.non_str_keys:
            raise MsgpackEncodeError("Dict key must be str")
        for kinds, plain in self.keys:
            if is_a(key, *kinds):
                return plain(key)
        raise MsgpackEncodeError(
            f"Dict key must a type serializable with OPT_NON_STR_KEYS, not {kind_of(key).__name__}"
        )

    def text(self, text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            if not self.replace_surrogates:
                raise MsgpackEncodeError("str is not valid UTF-8: surrogates not allowed") from error
            return text.encode(errors="replace").decode()
        return text

    def number(self, number: int) -> int:
        if not -(2**63) <= number < 2**64:
            raise MsgpackEncodeError("Integer exceeds 64-bit range")
        return number

    def passed_on(self, value: Any, depth: int) -> Any:
        if self.default is None:
            raise MsgpackEncodeError(f"Type is not msgpack serializable: {kind_of(value).__name__}")
        return self.plain(self.default(value), depth + 1)


def _encodable(key: str) -> str:
    """Return the key. Unlike other texts, a key is not repaired."""
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise MsgpackEncodeError("string contains surrogates") from error
    return key


def _is_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(kind_of(value))
