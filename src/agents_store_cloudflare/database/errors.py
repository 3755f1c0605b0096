"""What a database said, as facts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from agents_store_cloudflare.database.statements import SqlValue

__all__ = ["GUARD_MARK", "SqlError"]

GUARD_MARK = "agents-store "
"""What stands before the JSON object of facts in the error text of a guard that did not hold."""


# https://developers.cloudflare.com/d1/best-practices/retry-queries/ and .../observability/debug-d1/
_TRANSIENT = (
    "Network connection lost",
    "storage caused object to be reset",
    "reset because its code was updated",
    "Cannot resolve D1 DB due to transient issue on remote node",
    "Can't read from request stream because client disconnected",
)


# The database's own words for a statement that failed or was never begun. After any other failure the batch may have happened.
_NOTHING_HAPPENED = (
    "SQLITE_",
    "D1_TYPE_ERROR",
    "Wrong number of parameter bindings",
    "No SQL statements detected",
    "Too many requests queued",
    "Requests queued for too long",
)


_CONSTRAINT = re.compile(r"SQLITE_CONSTRAINT_(\w+)")


class SqlError(Exception):
    """What a database said, as facts; the stores turn it into their own errors.

    Attributes:
        constraint: the kind of a violated constraint ("PRIMARYKEY", "UNIQUE", "CHECK" …) or None.
        transient: the same batch may be sent again; it may or may not have happened already.
        outcome_unknown: the batch may have happened all the same.
        guard: the facts of a guard that did not hold, or None.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        found = _CONSTRAINT.search(message)
        self.constraint: str | None = found.group(1) if found else None
        self.transient: bool = any(text in message for text in _TRANSIENT)
        self.outcome_unknown: bool = not any(text in message for text in _NOTHING_HAPPENED)
        self.guard: Mapping[str, SqlValue] | None = _guard_facts(message)

    def is_missing_table(self) -> bool:
        return "no such table" in str(self)


def _guard_facts(message: str) -> Mapping[str, SqlValue] | None:
    start = message.find(GUARD_MARK + "{")
    if start < 0:
        return None
    # SQLite quotes the path it complains about, and doubles the quotes inside.
    text = message[start + len(GUARD_MARK) :].replace("''", "'")
    facts: dict[str, SqlValue]
    facts, _ = json.JSONDecoder().raw_decode(text)
    return facts
