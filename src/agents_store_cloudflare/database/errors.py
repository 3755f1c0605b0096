"""Errors of the database, read as facts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from agents_store_cloudflare.database.statements import SqlValue

__all__ = ["GUARD_MARK", "LostReplyError", "SqlError"]

GUARD_MARK = "agents-store "
"""Stands before the JSON object of facts in the text of a guard's error. The first fact is "fault"."""


# https://developers.cloudflare.com/d1/best-practices/retry-queries/ and .../observability/debug-d1/
_TRANSIENT = (
    "Network connection lost",
    "storage caused object to be reset",
    "reset because its code was updated",
    "Cannot resolve D1 DB due to transient issue on remote node",
    "Can't read from request stream because client disconnected",
)


# The database's own words for a statement that failed or never ran. After any other failure the batch may have happened.
_NOTHING_HAPPENED = (
    "SQLITE_",
    "D1_TYPE_ERROR",
    "Wrong number of parameter bindings",
    "No SQL statements detected",
    "Too many requests queued",
    "Requests queued for too long",
)


# The words of D1 at its limit, and of SQLite.
_NO_ROOM = ("Exceeded maximum DB size", "SQLITE_FULL", "database or disk is full")


# The words for a value that no database takes.
_MISFITS = ("SQLITE_TOOBIG", "SQLITE_MISMATCH", "D1_TYPE_ERROR")


_CONSTRAINT = re.compile(r"SQLITE_CONSTRAINT_(\w+)")
_FAULT = re.compile(r'\{"fault":"(\w+)"')


class SqlError(Exception):
    """A batch that failed, as facts. The stores turn it into their own errors.

    The constructor searches only the database's own words. The facts of a guard hold text of users, so they are parsed, never searched.

    Attributes:
        constraint: the kind of the violated constraint ("PRIMARYKEY", "UNIQUE", "CHECK" …), or None.
        transient: whether the same batch may be sent again. It may have happened already.
        outcome_unknown: whether the batch may have happened in spite of the failure.
        guard: the facts of the guard that refused the batch, or None. They always have "fault". When the database shortened the text,
            later facts may be missing; a "fault" of "" means that its name is missing too.
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
        """True when the same batch would fail at any later time too."""
        return not self.transient and (self.guard is not None or self.constraint is not None or self._is_misfit)

    @property
    def is_full(self) -> bool:
        """True when the database has reached its largest size."""
        return self._no_room and not self.transient

    def is_missing_table(self) -> bool:
        """Return whether a table that the batch names does not exist."""
        return self._missing_table


class LostReplyError(SqlError):
    """A batch without a reply. It may have happened.

    Args:
        message: the platform's words.
        transient: whether the same batch may be sent again.
    """

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message.replace(GUARD_MARK, ""))  # a guard does not write the words of the platform
        self.transient = transient
        self.outcome_unknown = True


def _guard_facts(text: str) -> Mapping[str, SqlValue]:
    """Return the facts after the mark, without the facts that the database cut off."""
    # SQLite quotes the text of the error, and doubles the quotes inside.
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
