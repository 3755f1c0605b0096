"""SQL statements and the values they carry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import LiteralString, TypeAlias

__all__ = ["MAX_VALUE_BYTES", "Row", "SqlValue", "Statement", "compact_sql"]

SqlValue: TypeAlias = "str | int | float | None"


Row: TypeAlias = "list[SqlValue]"


MAX_VALUE_BYTES = 2_000_000
"""The limit of D1 and of Durable Objects for one bound value; the local runtime does not enforce it, the seams do."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with the values of its numbered parameters (?1, ?2 …, at most 100)."""

    sql: LiteralString
    parameters: tuple[SqlValue, ...] = ()


@lru_cache(maxsize=1_000)
def compact_sql(sql: str) -> str:
    """The statement without its layout: D1 sends and parses its text with every call. No literal of ours spans lines."""
    return "\n".join(map(str.strip, sql.split("\n")))
