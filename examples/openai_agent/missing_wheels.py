"""Fills in `cryptography` and `rpds` where there are none: the SDK imports them through `mcp`.

Their wheels for Workers are in Pyodide's index, not on PyPI.
"""

import sys
from pathlib import Path

__all__ = ["fill_in_missing"]

STAND_INS = str(Path(__file__).parent / "stand_ins")


def fill_in_missing() -> None:
    """Let the modules of `stand_ins` be found after all others. Call it before the SDK is imported."""
    if STAND_INS not in sys.path:
        sys.path.append(STAND_INS)
