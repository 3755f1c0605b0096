"""Converts SQL values into JavaScript's.

None becomes JavaScript's null, because D1 refuses undefined. A number must lie within ±2^53. Text passes as it is. Any other type is
refused. Results come back as arrays, in one conversion.

Pyodide makes a JavaScript text that is not ASCII character by character, and each of them takes over 20 bytes until the engine frees
them. So long texts cross as UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agents_store_cloudflare.cloudflare.raw import JsObject, ffi
from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER
from agents_store_cloudflare.database import (
    MAX_VALUE_BYTES,
    Row,
    SqlError,
    SqlValue,
)

__all__ = ["called", "crossed", "message_of", "rows_of"]

SHORT = MAX_VALUE_BYTES // 4  # a character has at most four bytes, so only longer texts are counted

LONG_TEXT: Final = 1_000
"""The number of characters from which bytes are cheaper than text that is not ASCII."""


def called(function: JsObject, arguments: Sequence[JsObject], this: JsObject = None) -> JsObject:
    """Return the result of a JavaScript function.

    Args:
        function: the function, or a method as an attribute of its object.
        arguments: texts, numbers and JavaScript's null.
        this: the object of a method.
    """
    for each in arguments:
        if type(each) is str and len(each) > LONG_TEXT and not each.isascii():
            return _called_with_bytes(function, arguments, this)
    return function(*arguments)


def _called_with_bytes(function: JsObject, arguments: Sequence[JsObject], this: JsObject) -> JsObject:
    from js import Array, Reflect

    crossing = Array.new()
    for each in arguments:
        if type(each) is str and not each.isascii():
            crossing = crossing.concat(_text_in_array(each))
        else:
            crossing.push(each)
    return Reflect.apply(function, this, crossing)


def _text_in_array(text: str) -> JsObject:
    """Return a JavaScript array with the text. A text by itself would become Python's again."""
    from js import Array, Object, TextDecoder

    to_js = ffi().to_js
    try:
        data = text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return Array.of(text)
    decoder = TextDecoder.new("utf-8", to_js({"ignoreBOM": True}, dict_converter=Object.fromEntries))
    decode = decoder.decode
    # `map` calls its function with three arguments. `apply` takes the first one, a list of arguments, and ignores the others.
    return Array.of(Array.of(to_js(data))).map(decode.apply.bind(decode, decoder))


def crossed(values: Sequence[SqlValue]) -> list[JsObject]:
    """Return the parameters of one statement as JavaScript's values."""
    null = ffi().jsnull
    # Most parameters are short texts or None. A call for each of them would cost more than the rest.
    return [
        null if each is None else each if type(each) is str and len(each) <= SHORT else _crossed(each)
        for each in values
    ]


def _crossed(value: str | float) -> str | float:
    if isinstance(value, str):
        if len(value) > SHORT and (size_bytes := len(value.encode())) > MAX_VALUE_BYTES:
            raise SqlError(f"string or blob too big: {size_bytes:,} bytes: SQLITE_TOOBIG")
        return value
    if abs(value) > MAX_SAFE_INTEGER:
        raise SqlError(f"{value} would change on its way through JavaScript; pass it as text: SQLITE_MISMATCH")
    return float(value)


def rows_of(arrays: JsObject) -> list[Row]:
    jsnull = ffi().jsnull
    return [[None if value is jsnull else value for value in row] for row in arrays.to_py()]


def message_of(error: Exception) -> str:
    return str(getattr(error, "message", error))
