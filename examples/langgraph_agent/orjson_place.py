"""Fills in `orjson` where there is none: LangGraph's client imports it, and its wheel for Workers is in Pyodide's index, not on PyPI."""

import importlib.util
import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["fill_in_orjson"]


def fill_in_orjson() -> None:
    """Put what LangGraph's client calls, over json, in the place of a missing `orjson`. Call it before LangGraph is imported."""
    if "orjson" in sys.modules or importlib.util.find_spec("orjson") is not None:
        return
    module = ModuleType("orjson")
    vars(module).update(
        dumps=_dumps, loads=json.loads, JSONDecodeError=json.JSONDecodeError, OPT_SERIALIZE_NUMPY=16, OPT_NON_STR_KEYS=4
    )
    sys.modules["orjson"] = module


def _dumps(value: Any, default: Callable[[Any], Any] | None = None, *_: Any, **__: Any) -> bytes:
    return json.dumps(value, default=default, separators=(",", ":"), ensure_ascii=False).encode()
