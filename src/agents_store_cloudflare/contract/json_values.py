"""User JSON, exactly as it was given: one encoder, one decoder, one reader for text from outside.

Keys stay in order, integers keep every digit, and 1.0 stays a float. A value that JSON cannot hold is refused before anything is sent:
NaN, infinities, lone surrogates, tuples and other types, keys that are not text. A value may nest 200 levels deep. In WebAssembly,
CPython's JSON scanner does not raise an error on deeper input: it ends the whole isolate.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_misfits import (
    has_foreign_key,
    is_foreign,
    is_lone_surrogate,
    is_not_finite,
    path_to,
    remedy_for,
)
from agents_store_cloudflare.contract.json_types import JsonObject, JsonValue

__all__ = ["MAX_DEPTH", "JsonObject", "JsonValue", "decode_json", "encode_each", "encode_json", "parse_json"]

MAX_DEPTH = 200

_SCALARS = frozenset({str, int, float, bool, type(None)})
_TEXT = frozenset({str})
_are_scalars = _SCALARS.issuperset
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
"""An unfinished string matches too. It is an error anyway, and a search for its end from each quote would take very long."""

_NOT_BRACKETS = re.compile(r"[^][{}]+")


def _make_encode() -> Callable[[object, int], Iterable[str]]:
    """Return a faster `JSONEncoder.encode`. It takes a value and 0, and returns the pieces of the text.

    The encoder's own method prepares the same objects again for every value, which takes half of a chunk's time. This one prepares them
    once. It does not look for cycles, because every value that gets here has passed the check of its depth.
    """
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return lambda value, _level: encoder.encode(value)
    markers = indent = None
    sort_keys = skip_keys = allow_nan = False
    write_text = json.encoder.encode_basestring
    pieces: Callable[[object, int], Iterable[str]] = make(
        markers, encoder.default, write_text, indent, ":", ",", sort_keys, skip_keys, allow_nan
    )
    return pieces


_encode = _make_encode()
_join = "".join


def encode_json(value: object, *, name: str, max_depth: int = MAX_DEPTH) -> str:
    """Return the compact JSON text of a value. `decode_json` makes an equal value of it.

    Args:
        value: dict, list, str, int, float, bool or None, nested at most `max_depth` levels deep.
        name: the name of the value for error messages, such as "message 3" or "custom_state".
        max_depth: less than 200 for a value that will stand inside another one.

    Raises:
        TypeError: the value holds a type that JSON does not have, or a key that is not text.
        InvalidArgumentError: the value holds NaN, an infinity, a lone surrogate or an integer with too many digits, or it nests too
            deep. This error is a ValueError.
    """
    node: Any = value
    kind: type = type(value)
    if kind is not dict or not _TEXT.issuperset(map(type, node)) or not _are_scalars(map(type, node.values())):
        _check_shape(value, name, max_depth)  # most chunks are flat
    try:
        text = _join(_encode(value, 0))
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError as error:
        place = path_to(value, name, is_lone_surrogate)
        _refuse(f"{place or name} holds a lone surrogate, which no UTF-8 text can carry", error)
    except ValueError as error:
        place = path_to(value, name, is_not_finite)
        _refuse(f"{place or name} holds a number that JSON cannot carry (NaN, infinity, or too many digits)", error)
    return text


def encode_each(values: Sequence[object], *, name: str) -> list[str]:
    """Return the compact JSON text of each value. One call for all takes a fraction of the time of one call for each.

    Args:
        values: the values.
        name: the name of one value. Error messages add its number: "message 3".

    Raises:
        TypeError: as `encode_json` raises it, for the first value that it refuses.
        InvalidArgumentError: as `encode_json` raises it, for the first value that it refuses.
    """
    try:
        _check_shape(values, name, MAX_DEPTH + 1)
        texts = [_join(_encode(value, 0)) for value in values]
        _join(texts).encode()
    except (TypeError, ValueError):  # one by one, so that the error names the value
        return [encode_json(value, name=f"{name} {number}") for number, value in enumerate(values)]
    return texts


def decode_json(text: str) -> JsonValue:
    """Return the value of a JSON text that `encode_json` made."""
    value: JsonValue = json.loads(text)
    return value


def parse_json(text: str | bytes, *, name: str) -> JsonValue:
    """Return the value of a JSON text that comes from outside.

    Args:
        text: the JSON text, or its UTF-8 bytes.
        name: the name of the text, for error messages.

    Raises:
        InvalidArgumentError: the text is not UTF-8, is not strict JSON, or nests over 200 levels deep.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode()
    except UnicodeDecodeError as error:
        _refuse(f"{name} is not UTF-8 text", error)
    if _nests_too_deep(decoded):
        _refuse(f"{name} nests deeper than {MAX_DEPTH} levels, or its brackets do not match")
    try:
        value: JsonValue = json.loads(decoded, parse_constant=_refuse_constant)
    except ValueError as error:
        _refuse(f"{name} is not valid JSON", error)
    return value


def _check_shape(value: object, name: str, max_depth: int) -> None:
    """Check the types and the depth, level by level, so that no nesting can exhaust the stack."""
    level: list[Any] = [value]
    for _ in range(max_depth):
        if _are_scalars(map(type, level)):
            return
        inner: list[Any] = []
        has_others = False
        # Each value once. A container that holds itself would multiply from level to level.
        for node in dict(zip(map(id, level), level, strict=True)).values():
            if type(node) in _SCALARS:
                continue
            if issubclass(type(node), dict):
                try:
                    _join(node)
                except TypeError:
                    _refuse_key(path_to(value, name, has_foreign_key) or name)
                inner += node.values()
            elif issubclass(type(node), list):
                inner += node
            else:
                has_others = True
        if has_others:
            _refuse_foreign(value, name)
        level = inner
    if not _are_scalars(map(type, level)):
        _refuse(f"{name} nests deeper than {max_depth} levels")


def _refuse_foreign(value: object, name: str) -> None:
    """Raise TypeError for the first value whose type JSON does not have. Subclasses of text and numbers pass."""
    found: list[type] = []

    def is_misfit(node: object) -> bool:
        if is_foreign(node):
            found.append(type(node))
        return bool(found)

    place = path_to(value, name, is_misfit)
    if found:
        raise TypeError(f"{place} is of type {found[0].__name__}, which is not JSON; {remedy_for(found[0])}")


def _refuse_key(place: str) -> NoReturn:
    raise TypeError(f"{place} has a key that is not text; JSON objects have text keys only: write str(key)")


def _nests_too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    brackets = _NOT_BRACKETS.sub("", _STRING.sub("", text))
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        brackets = brackets.replace("[]", "").replace("{}", "")
    return bool(brackets)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(constant)


def _refuse(message: str, cause: Exception | None = None) -> NoReturn:
    raise InvalidArgumentError(message) from cause
