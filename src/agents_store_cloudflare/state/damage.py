"""Rows that another program has damaged: SQL that skips them, and the error that names one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString, cast

from agents_store_cloudflare.contract.errors import D1StateError
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue, parse_json
from agents_store_cloudflare.database import Row

__all__ = [
    "DAMAGE",
    "check_kinds",
    "damaged",
    "decode_row",
    "list_or_empty",
    "open_turn_of",
    "owed_closings_of",
    "shown_row",
]

DAMAGE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""The errors that Python raises when the values of a row are not in the package's form."""

_FACTS_OF_A_CLOSING = {"streamId": str, "turnId": str, "turn": int, "status": str, "agentId": str, "agentType": str}


def list_or_empty(column: LiteralString) -> LiteralString:
    """Return the SQL of a column with JSON, or `[]` if the column holds no JSON. Then json_each fails for no row.

    An entry of the list may still be of another type than the package writes. `json_each.type = 'array'` leaves it out.
    """
    return f"CASE WHEN json_valid({column}) THEN {column} ELSE '[]' END"


def damaged(row: str, error: Exception) -> D1StateError:
    """Return the error that names a damaged row.

    Args:
        row: the name of the row, such as "run 'r1' of session 's'".
        error: what Python raised for its values.
    """
    kind = type(error).__name__
    return D1StateError(f"the row of {row} cannot be read ({kind}); `agents-store doctor` names its column")


def check_kinds(row: Row, kinds: Sequence[type]) -> None:
    """Refuse a row that holds a value of another type than the package writes. SQLite stores any value in any column.

    Args:
        row: the values of some columns; NULL is of every type.
        kinds: the types of these columns, `str` or `int`.

    Raises:
        TypeError: a value has another type.
    """
    for value, kind in zip(row, kinds, strict=True):
        if type(value) is not kind and value is not None:
            raise TypeError(f"a column of {kind.__name__} holds {type(value).__name__}")


def shown_row(row: Row, kinds: Sequence[type]) -> Row:
    """Return a damaged row for a list: a value of another type is shown as text, and as 0 where a number must stand."""
    return [
        value if value is None or type(value) is kind else repr(value) if kind is str else 0
        for value, kind in zip(row, kinds, strict=True)
    ]


def decode_row(text: str) -> JsonValue:
    """Return the value of the JSON text of a row. A text that nests too deeply is refused: in WebAssembly it would end the isolate."""
    return parse_json(text, name="the text")


def open_turn_of(session_id: str, text: str | None) -> JsonObject | None:
    """Return the open turn of a session from its JSON text.

    Raises:
        D1StateError: another program has damaged the row.
    """
    if text is None:
        return None
    try:
        turn = decode_row(text)
        if not isinstance(turn, dict) or not isinstance(turn.get("token"), int):
            raise TypeError("no turn")
    except DAMAGE as error:
        raise damaged(f"session {session_id!r}", error) from error
    return cast("JsonObject", turn)


def owed_closings_of(session_id: str, text: str) -> list[JsonObject]:
    """Return a session's closing chunks that streams must still get, from their JSON text.

    Raises:
        D1StateError: another program has damaged the row.
    """
    try:
        owed = cast("list[Any]", decode_row(text))
        if not isinstance(cast("object", owed), list):
            raise TypeError("no list")
        for each in owed:
            for name, kind in _FACTS_OF_A_CLOSING.items():
                if not isinstance(each[name], kind):
                    raise TypeError(name)
    except DAMAGE as error:
        raise damaged(f"session {session_id!r}", error) from error
    return owed
