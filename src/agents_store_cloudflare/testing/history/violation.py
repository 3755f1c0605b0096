"""The finding of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Rule", "Violation"]

Rule: TypeAlias = Literal[
    "token reused",
    "token fell",
    "lease revived",
    "write out of token order",
    "write lost",
    "write from nowhere",
    "write refused for nothing",
    "not linearizable",
    "turn wrote after its end",
    "turn ran twice",
    "end told twice",
    "end not told",
    "end from nowhere",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken promise, and the lines of the history that show it.

    Attributes:
        name: the lock's key, the resource, or the session.
    """

    rule: Rule
    name: str
    message: str
    lines: tuple[int, ...]

    def __str__(self) -> str:
        lines = ", ".join(map(str, self.lines))
        return f"{self.rule}: {self.name}: {self.message} (line {lines})"
