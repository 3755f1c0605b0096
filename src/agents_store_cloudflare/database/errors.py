"""Database errors as facts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from agents_store_cloudflare.database.statements import SqlValue

__all__ = ["GUARD_MARK", "LostReplyError", "SqlError"]

GUARD_MARK = "agents-store "
"""Stands before the JSON object of facts in the error text of a guard that refused its batch. The first fact is "fault"."""


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


# Of D1 at its limit, and of SQLite.
_NO_ROOM = ("Exceeded maximum DB size", "SQLITE_FULL", "database or disk is full")


# A value that no database takes.
_MISFITS = ("SQLITE_TOOBIG", "SQLITE_MISMATCH", "D1_TYPE_ERROR")


_CONSTRAINT = re.compile(r"SQLITE_CONSTRAINT_(\w+)")
_FAULT = re.compile(r'\{"fault":"(\w+)"')


class SqlError(Exception):
    """A failed batch, as facts. The stores turn it into their own errors.

    Only the database's own words are searched. The facts of a guard hold text of users; they are parsed, never searched.

    Attributes:
        constraint: the kind of the violated constraint ("PRIMARYKEY", "UNIQUE", "CHECK" …), or None.
        transient: the same batch may be sent again. It may or may not have happened already.
        outcome_unknown: the batch may have happened in spite of the failure.
        guard: the facts of the guard that refused the batch, or None. It always has "fault"; where the database shortened the
            text, later facts may be missing, and a "fault" of "" means that its name is missing too.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        words, mark, facts = message.partition(GUARD_MARK)
        self.guard: Mapping[str, SqlValue] | None = _guard_facts(facts) if mark else None
        refused = self.guard is not None
        found = None if refused else _CONSTRAINT.search(words)
        self.constraint: str | None = found.group(1) if found else None
        self.transient: bool = not refused and any(text in words for text in _TRANSIENT)
        self.outcome_unknown: bool = not refused and not any(text in words for text in _NOTHING_HAPPENED)
        self._missing_table = not refused and "no such table" in words
        self._no_room = any(text in words for text in _NO_ROOM)
        self._is_misfit = any(text in words for text in _MISFITS)

    @property
    def is_refusal(self) -> bool:
        """Whether the same batch would fail at every later time too."""
        return not self.transient and (self.guard is not None or self.constraint is not None or self._is_misfit)

    @property
    def is_full(self) -> bool:
        """Whether the database is as large as it may become."""
        return self._no_room and not self.transient

    def is_missing_table(self) -> bool:
        """Whether a table that the batch names does not exist."""
        return self._missing_table


class LostReplyError(SqlError):
    """A batch whose reply did not come: it may have happened.

    Args:
        transient: the same batch may be sent again.
    """

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message.replace(GUARD_MARK, ""))  # the platform's words, in which no guard speaks
        self.transient = transient
        self.outcome_unknown = True


def _guard_facts(text: str) -> Mapping[str, SqlValue]:
    """The facts that follow the mark, as many of them as the database left whole."""
    # SQLite quotes the path it complains about, and doubles the quotes inside.
    text = text.replace("''", "'")
    try:
        return _object_at_the_start(text)
    except ValueError:
        pass
    while (end := text.rfind(',"')) > 0:
        text = text[:end]
        try:
            return _object_at_the_start(text + "}")
        except ValueError:
            continue
    fault = _FAULT.match(text)
    return {"fault": fault.group(1) if fault else ""}


def _object_at_the_start(text: str) -> Mapping[str, SqlValue]:
    facts: dict[str, SqlValue]
    facts, _ = json.JSONDecoder().raw_decode(text)
    return facts
