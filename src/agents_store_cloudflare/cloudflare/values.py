"""Converts SQL values into JavaScript's.

None becomes JavaScript's null, because D1 refuses undefined. A number must lie within ±2^53. Text passes as it is. Any other type is
refused. Results come back as arrays, in one conversion.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents_store_cloudflare.cloudflare.raw import JsObject, ffi
from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER
from agents_store_cloudflare.database import (
    MAX_VALUE_BYTES,
    Row,
    SqlError,
    SqlValue,
)

__all__ = ["crossed", "message_of", "rows_of"]

SHORT = MAX_VALUE_BYTES // 4  # a character has at most four bytes, so only longer texts are counted


def crossed(values: Sequence[SqlValue]) -> list[JsObject]:
    """Return the parameters of one statement as JavaScript's values."""
    null = ffi().jsnull
    # Most parameters are short texts, None or whole numbers. A call for each of them would cost more than the rest.
    return [
        null
        if each is None
        else each
        if type(each) is str and len(each) <= SHORT
        else float(each)
        if type(each) is int and -MAX_SAFE_INTEGER <= each <= MAX_SAFE_INTEGER
        else _crossed(each)
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
