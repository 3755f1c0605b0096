"""The database's clock, as SQL. It decides over what Workers share, because a Worker's own clock may be wrong."""

from __future__ import annotations

from typing import Final, LiteralString

__all__ = ["NOW_MS", "SELECT_NOW"]

NOW_MS: Final[LiteralString] = "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
"""The present in milliseconds since 1970. It stands still during a statement."""

# -> (now). For a batch whose statements must agree on the time.
SELECT_NOW: Final[LiteralString] = f"SELECT {NOW_MS} AS now"
