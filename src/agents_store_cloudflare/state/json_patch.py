"""Reads one RFC 6902 operation strictly and applies it to a `SizedDocument`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.state.json_document import Location, RefusedError, SizedDocument, same_json

__all__ = ["apply_operation"]

_BAD_ESCAPE = re.compile("~(?![01])")


def apply_operation(document: SizedDocument, operation: Mapping[str, JsonValue]) -> None:
    """Apply one operation. Members that the operation does not define are ignored.

    Raises:
        RefusedError: the operation is malformed or does not fit. The document must not be used any more.
    """
    path = _location(operation, "path")
    match operation.get("op"):
        case "add":
            document.add(path, _value(operation))
        case "remove":
            document.remove(path)
        case "replace":
            document.replace(path, _value(operation))
        case "move":
            document.move(_location(operation, "from"), path)
        case "copy":
            document.copy(_location(operation, "from"), path)
        case "test":
            if not same_json(document.value_at(path), _value(operation)):
                raise RefusedError("its test does not hold")
        case _:
            raise RefusedError("its 'op' is none of add, remove, replace, move, copy, test")


def _value(operation: Mapping[str, JsonValue]) -> JsonValue:
    if "value" not in operation:
        raise RefusedError("it needs a 'value'")
    return operation["value"]


def _location(operation: Mapping[str, JsonValue], member: str) -> Location:
    pointer = operation.get(member)
    if not isinstance(pointer, str):
        raise RefusedError(f"it needs a text '{member}'")
    if not pointer:
        return ()
    if not pointer.startswith("/") or _BAD_ESCAPE.search(pointer):
        raise RefusedError(f"its '{member}' is no JSON Pointer")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/"))
