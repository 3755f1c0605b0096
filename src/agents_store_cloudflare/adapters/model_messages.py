"""Turns pydantic-ai's messages into JSON, for all adapters that store them. It needs no newer parts of pydantic-ai than its messages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import cast

from pydantic import BaseModel, ValidationError
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter
from pydantic_core import PydanticSerializationError

from agents_store_cloudflare.adapters.errors import ForeignValueError
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject, encode_json

__all__ = ["check_finite", "json_text", "message_json", "told"]


def json_text(value: object, name: str) -> str:
    """Return the JSON text of a value.

    Raises:
        ForeignValueError: JSON or UTF-8 cannot hold the value.
    """
    try:
        return encode_json(value, name=name)
    except InvalidArgumentError as error:
        raise ForeignValueError(str(error)) from error


def message_json(message: ModelMessage, name: str) -> JsonObject:
    """Return a message as pydantic-ai's own JSON.

    Args:
        name: the name of the message in errors.

    Raises:
        ForeignValueError: JSON cannot hold the message.
    """
    check_finite(message, name)
    try:
        [dumped] = ModelMessagesTypeAdapter.dump_python([message], mode="json")
    except PydanticSerializationError as error:
        raise ForeignValueError(f"{name} cannot be stored as JSON: {error}") from error
    return cast("JsonObject", dumped)


def told(error: Exception) -> str:
    """Return the fault as text, without content."""
    if not isinstance(error, ValidationError):
        return type(error).__name__
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def check_finite(value: object, name: str) -> None:
    """Refuse NaN and infinities, which pydantic would store as null."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ForeignValueError(f"{name} holds {value!r}, which JSON cannot hold")
    elif isinstance(value, Mapping):
        for each in cast("Mapping[object, object]", value).values():
            check_finite(each, name)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in cast("Sequence[object]", value):
            check_finite(each, name)
    elif isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type)):
        for each in vars(value).values():
            check_finite(each, name)
