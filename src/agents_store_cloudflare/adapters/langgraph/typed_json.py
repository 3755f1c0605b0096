"""`TypedJsonSerializer`: values of a graph as JSON text that is read back as the same types."""

from __future__ import annotations

import base64
import importlib
import json
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, Literal, cast

from agents_store_cloudflare.adapters.langgraph.errors import ForeignValueError
from agents_store_cloudflare.adapters.langgraph.kinds import is_a, kind_of
from agents_store_cloudflare.adapters.langgraph.typed_classes import ClassPort
from agents_store_cloudflare.adapters.langgraph.typed_scalars import SCALAR_TYPES, pack_scalar, unpack_scalar

__all__ = ["TypedJsonSerializer"]

KIND: Final = "typed-json"
MARK: Final = "$"
MAX_DEPTH: Final = 190
"""The most levels of the JSON text.

In WebAssembly, CPython's JSON scanner does not raise an error on deeper input: it ends the isolate.
"""

_SELF = frozenset({str, int, bool, type(None)})
_dump = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode


class TypedJsonSerializer:
    """A LangGraph serializer, and the saver's default. Plain JSON stays plain; every other value becomes `{"$": [tag, …]}`.

    Tuples, sets, deques, bytes, dates, UUIDs, decimals, paths, patterns, IP addresses, keys that are not text, floats that JSON
    lacks, messages, `Send`, `Command`, `Interrupt`, enums, dataclasses, named tuples and pydantic models come back as their own
    types. Objects of subclasses of dict and list come back as dict and list. An exception becomes the text of its `repr`, as
    everywhere in LangGraph.

    Only allowed classes are written and rebuilt. Other classes are refused when they are written. A value never becomes None: a
    value that cannot be rebuilt raises `ForeignValueError`.

    Args:
        allow: your own classes, as classes or as pairs (module, name). True allows every class that can be imported; use it only if
            nobody else writes to the database. LangChain's messages, LangGraph's types and the standard library's values are always
            allowed.
    """

    def __init__(self, *, allow: Iterable[type | tuple[str, ...]] | Literal[True] = ()) -> None:
        self._classes = ClassPort(allow)

    def with_allowlist(self, extra: Collection[tuple[str, ...]]) -> TypedJsonSerializer:
        """Return a new serializer that allows more classes. This serializer stays unchanged."""
        return TypedJsonSerializer(allow=self._classes.widened(extra))

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Return the type and the bytes of a value."""
        return KIND, self.dump(obj).encode()

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Rebuild a value from its type and its bytes.

        Raises:
            ForeignValueError: another serializer wrote the value, or it cannot be rebuilt.
        """
        kind, content = data
        if kind != KIND:
            raise ForeignValueError(
                f"a value of kind {kind!r} was written by another serializer; give the saver that serializer"
            )
        return self.load(content.decode())

    def dump(self, value: Any) -> str:
        """Return the value as one line of JSON text.

        Raises:
            ForeignValueError: a class is not allowed, a type cannot be written, or the value nests over 190 levels.
        """
        packed = self._pack(value, 0)
        try:
            text = _dump(packed)
            if not text.isascii():
                text.encode()
        except UnicodeEncodeError:  # a lone surrogate
            return _dump(_encodable(packed))
        except ValueError as error:
            raise ForeignValueError(f"a number has too many digits to be written: {error}") from error
        return text

    def load(self, text: str) -> Any:
        """Return the value of a text from `dump`.

        Raises:
            ForeignValueError: the text is not from `dump`, or a class no longer exists or is not allowed.
        """
        try:
            return json.loads(text, object_hook=self._unpack)
        except ForeignValueError:
            raise
        except Exception as error:
            raise ForeignValueError(f"a stored value cannot be rebuilt: {type(error).__name__}: {error}") from error

    def _pack(self, value: Any, depth: int) -> Any:
        kind = kind_of(value)
        if kind in _SELF:
            return value
        if depth > MAX_DEPTH:
            raise ForeignValueError(f"a value nests deeper than {MAX_DEPTH} levels of JSON, or contains itself")
        if kind is list:
            return [item if type(item) in _SELF else self._pack(item, depth + 1) for item in cast("list[Any]", value)]
        if kind is dict:
            return self._pack_dict(cast("dict[Any, Any]", value), depth)
        if kind in SCALAR_TYPES:
            return pack_scalar(value)
        return self._pack_other(value, depth)

    def _pack_dict(self, value: dict[Any, Any], depth: int) -> Any:
        if MARK not in value and all(kind_of(key) is str for key in value):
            return {key: item if type(item) in _SELF else self._pack(item, depth + 1) for key, item in value.items()}
        pairs = [[self._pack(key, depth + 4), self._pack(item, depth + 4)] for key, item in value.items()]
        return {MARK: ["dict", pairs]}

    def _pack_other(self, value: Any, depth: int) -> Any:
        if (tag := _COLLECTIONS.get(kind_of(value))) is not None:
            return {MARK: [tag, [self._pack(item, depth + 3) for item in value]]}
        if is_a(value, deque):
            return {MARK: ["deque", [self._pack(item, depth + 3) for item in value], value.maxlen]}
        if (packed := pack_scalar(value)) is not None:
            return packed
        if (made := self._classes.taken_apart(value)) is not None:
            tag, *parts = made
            return {MARK: [tag, *(self._pack(part, depth + 2) for part in parts)]}
        return self._pack_subclass(value, depth)

    def _pack_subclass(self, value: Any, depth: int) -> Any:
        for kind, plain in _PLAIN:
            if is_a(value, kind):
                return self._pack(plain(value), depth)
        if is_a(value, BaseException):
            return self._pack(repr(value), depth)
        if (numpy := sys.modules.get("numpy")) is not None and is_a(value, numpy.ndarray):
            return _pack_array(value)
        raise ForeignValueError(
            f"a value of type {kind_of(value).__module__}.{kind_of(value).__qualname__} cannot be stored in a checkpoint; "
            "keep plain data in the state, or give the saver a serializer of your own"
        )

    def _unpack(self, found: dict[str, Any]) -> Any:
        if MARK not in found:
            return found
        if len(found) != 1:
            raise ForeignValueError(f"a stored object has the key {MARK!r} and other keys; another program wrote it")
        tag, *parts = found[MARK]
        if (maker := _MAKERS.get(tag)) is not None:
            return maker(*parts)
        scalar = unpack_scalar(tag, parts)
        return self._classes.rebuilt(tag, parts) if scalar is None else scalar


def _encodable(packed: Any) -> Any:
    """Return the packed value. Texts that UTF-8 cannot carry become bytes.

    JSON's escapes would join two surrogates into one character.
    """
    if is_a(packed, str):
        return packed if _is_utf8(packed) else {MARK: ["text", base64.b64encode(_utf8(packed)).decode()]}
    if is_a(packed, list):
        return [_encodable(each) for each in packed]
    if not is_a(packed, dict):
        return packed
    if all(map(_is_utf8, packed)):
        return {key: _encodable(item) for key, item in packed.items()}
    return {MARK: ["dict", [[_encodable(key), _encodable(item)] for key, item in packed.items()]]}


def _utf8(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _is_utf8(text: str) -> bool:
    return text.isascii() or _utf8(text) == text.encode(errors="replace")


def _text_of(content: str) -> str:
    return base64.b64decode(content).decode(errors="surrogatepass")


def _pack_array(value: Any) -> Any:
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    if value.dtype.hasobject:
        raise ForeignValueError("a numpy array of Python objects cannot be stored in a checkpoint; use tolist()")
    content = base64.b64encode(value.tobytes(order=order)).decode()
    return {MARK: ["array", value.dtype.str, list(value.shape), order, content]}


def _unpack_array(dtype: str, shape: list[int], order: str, content: str) -> Any:
    numpy: Any = importlib.import_module("numpy")
    return numpy.frombuffer(base64.b64decode(content), dtype=dtype).reshape(shape, order=order).copy(order)


_PLAIN: Final[tuple[tuple[type, Callable[[Any], Any]], ...]] = (
    (dict, dict),
    (list, list),
    (str, str.__str__),
    (int, int),
    (float, float),
)
_COLLECTIONS: Final[dict[type, str]] = {tuple: "tuple", set: "set", frozenset: "frozenset"}
_MAKERS: Final[dict[str, Callable[..., Any]]] = {
    "text": _text_of,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
    "dict": dict,
    "array": _unpack_array,
}
