"""SQL statements with their parameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import LiteralString, TypeAlias

__all__ = ["MAX_VALUE_BYTES", "Row", "SqlValue", "Statement", "compact_sql"]

SqlValue: TypeAlias = "str | int | float | None"


Row: TypeAlias = "list[SqlValue]"


MAX_VALUE_BYTES = 2_000_000
"""The most bytes of one parameter in D1 and in Durable Objects. The seams check it, because the local runtime does not."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with the values of its numbered parameters (?1, ?2 …, at most 100)."""

    sql: LiteralString
    parameters: tuple[SqlValue, ...] = ()


@lru_cache(maxsize=1_000)
def compact_sql(sql: str) -> str:
    """Return a statement without its layout, because every call sends the text and D1 parses it.

    No literal of this package spans lines.
    """
    return "\n".join(map(str.strip, sql.split("\n")))
