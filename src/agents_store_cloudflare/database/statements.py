"""SQL statements with their parameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, LiteralString, Self, TypeAlias

__all__ = ["LOCK_TOKEN", "MAX_VALUE_BYTES", "HomeNumber", "Row", "SqlValue", "Statement", "compact_sql"]

SqlValue: TypeAlias = str | int | float | None


Row: TypeAlias = list[SqlValue]


MAX_VALUE_BYTES = 2_000_000
"""The most bytes of one parameter in D1 and in Durable Objects. The seams check it, because the local runtime does not."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with the values of its numbered parameters (?1, ?2 …, at most 100)."""

    sql: LiteralString
    parameters: tuple[SqlValue, ...] = ()


class HomeNumber(int):
    """A parameter that the session's home puts in, because the caller cannot know it yet. The value is what the caller expects.

    Attributes:
        name: "token", the fencing token that the home grants in the same call, or "sequence", the stream's position after the call.
    """

    name: str

    def __new__(cls, name: str, value: int = 0) -> Self:
        """Return a number of this name."""
        number = super().__new__(cls, value)
        number.name = name
        return number


LOCK_TOKEN: Final = HomeNumber("token", 1)


@lru_cache(maxsize=1_000)
def compact_sql(sql: str) -> str:
    """Return a statement without its layout, because every call sends the text and D1 parses it.

    No literal of this package spans lines.
    """
    return "\n".join(map(str.strip, sql.split("\n")))
