"""Installs the stand-in of `ormsgpack` if the real module is missing, as in Pyodide, which has no wheel of it."""

from __future__ import annotations

import importlib
import importlib.util
import sys

__all__ = ["fill_in_ormsgpack"]


def fill_in_ormsgpack() -> None:
    """Make `import ormsgpack` work if the module is not installed. An installed module stays."""
    if "ormsgpack" not in sys.modules and importlib.util.find_spec("ormsgpack") is None:
        name = "agents_store_cloudflare.adapters.langgraph.ormsgpack_stand_in"
        sys.modules["ormsgpack"] = importlib.import_module(name)
