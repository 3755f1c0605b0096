"""Stands for `orjson`, whose wheel for Pyodide is not on PyPI: what langgraph_sdk and langsmith call, over json. For tests only."""

import json
from collections.abc import Callable
from typing import Any

__all__ = ["OPT_NON_STR_KEYS", "OPT_SERIALIZE_NUMPY", "JSONDecodeError", "dumps", "loads"]

JSONDecodeError = json.JSONDecodeError
OPT_SERIALIZE_NUMPY = 16
OPT_NON_STR_KEYS = 4


def dumps(value: Any, default: Callable[[Any], Any] | None = None, option: int | None = None) -> bytes:
    """The value as JSON."""
    return json.dumps(value, default=default, separators=(",", ":"), ensure_ascii=False).encode()


def loads(text: bytes | str) -> Any:
    """The value of a JSON text."""
    return json.loads(text)
