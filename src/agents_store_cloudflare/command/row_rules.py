"""The rules for each row of this package's tables. They find the faults of a row that another program wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from typing import Final, Literal, LiteralString, TypeAlias, cast

from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import MAX_VALUE_BYTES, SqlValue, Statement
from agents_store_cloudflare.database.sqlite import SqliteDatabase
from agents_store_cloudflare.migrations import TABLE_NAMES, run_migration

__all__ = [
    "IDS",
    "JSON_COLUMNS",
    "Column",
    "JsonKind",
    "columns_by_table",
    "faults_of",
    "kind_of",
    "least",
    "neutral_value",
]

JsonKind: TypeAlias = Literal["any", "object", "array", "amounts", "details", "change"]
"""`amounts`: an object of whole numbers.

`details`: an object with fields of a state. `change`: an object with fields of a staged change.
"""

JSON_COLUMNS: Final[Mapping[str, Mapping[str, JsonKind]]] = {
    "__agents_states": {
        "custom_state": "object",
        "output": "any",
        "details": "details",
        "commits": "array",
        "open_turn": "object",
        "owed_closings": "array",
    },
    "__agents_checkpoints": {"custom_state": "object", "output": "any", "details": "details"},
    "__agents_runs": {"output": "any", "facts": "object"},
    "__agents_staged_changes": {"change": "change"},
    "__agents_sub_sessions": {"output": "any"},
    "__agents_fences": {"past": "array", "plans": "array", "streams": "array", "children": "array"},
    "__agents_usage": {"data": "object"},
    "__agents_usage_by_session": {"amounts": "amounts"},
    "__agents_usage_by_day": {"amounts": "amounts"},
    "__agents_usage_kept": {"amounts": "amounts"},
    "__agents_budgets": {"chain": "array"},
}
"""The columns with JSON, and the kind of JSON that each must hold."""

FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "details": frozenset(field.name for field in fields(AgentState)),
    "change": frozenset({"patches", "mergeChanges"}),
}
"""The members that an object of each kind may have."""

IDS: Final = frozenset(
    {
        "session_id", "parent_session_id", "root_session_id", "sub_session_id", "stream_id", "run_id", "step_id", "tool_call_id"
    }
)  # fmt: skip
"""The columns of ids. They must hold no control character."""

_COUNTERS: Final = frozenset({"step_count", "resume_count", "version"})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TYPES: Final[Mapping[str, type]] = {"object": dict, "array": list, "amounts": dict, "details": dict, "change": dict}


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a migration has made."""

    name: str
    is_integer: bool
    is_nullable: bool
    is_key: bool


# ?1 table -> (name, type, 1 where NULL is refused, place in the primary key or 0)
_COLUMNS: LiteralString = "SELECT name, type, [notnull], pk FROM pragma_table_info(?1) ORDER BY cid"


async def columns_by_table() -> Mapping[str, tuple[Column, ...]]:
    """Return the columns of every table, read from a database that was migrated just now."""
    with closing(SqliteDatabase()) as fresh:
        await run_migration(fresh)
        tables = await fresh.batch([Statement(_COLUMNS, (table,)) for table in TABLE_NAMES])
    return {
        table: tuple(
            Column(cast("str", name), kind == "INTEGER", not (required or key), bool(key))
            for name, kind, required, key in rows
        )
        for table, rows in zip(TABLE_NAMES, tables, strict=True)
    }


def faults_of(table: str, columns: Sequence[Column], row: Mapping[str, object]) -> dict[str, str]:
    """Return the columns of a row that cannot be read, each with the reason."""
    rules = JSON_COLUMNS.get(table, {})
    found: dict[str, str] = {}
    for column in columns:
        value = row.get(column.name)
        fault = _fault(column, value) or (
            _json_fault(value, rules[column.name])
            if isinstance(value, str) and column.name in rules and not _is_shared(table, column.name, row)
            else None
        )
        if fault is not None:
            found[column.name] = fault
    return found


def neutral_value(table: str, column: Column) -> SqlValue:
    """Return the value that replaces an unreadable value."""
    if column.is_nullable:
        return None
    if column.is_integer:
        return 0
    return {"array": "[]", None: "(unreadable)"}.get(JSON_COLUMNS.get(table, {}).get(column.name), "{}")


def least(column: Column) -> int:
    """Return the least number that a column may hold. A session with a negative counter could not be saved."""
    return 0 if column.name in _COUNTERS else -MAX_SAFE_INTEGER


def kind_of(column: Column) -> str:
    """Return what a column may hold, in words."""
    if not column.is_integer:
        return "text"
    return f"whole number {'from 0 to' if least(column) == 0 else 'up to'} 2^53 - 1"


def _is_shared(table: str, column: str, row: Mapping[str, object]) -> bool:
    """Return whether a checkpoint's state lies in an earlier checkpoint."""
    return table == "__agents_checkpoints" and column == "custom_state" and row.get("base_id") is not None


def _fault(column: Column, value: object) -> str | None:
    if value is None:
        return None if column.is_nullable else "is NULL"
    if column.is_integer:
        is_whole = isinstance(value, int) and least(column) <= value <= MAX_SAFE_INTEGER
        return None if is_whole else f"is no {kind_of(column)}"
    if not isinstance(value, str):
        return "is no text"
    if column.name in IDS and _CONTROL.search(value):
        return "holds a control character"
    is_large = len(value) > MAX_VALUE_BYTES // 4 and len(value.encode(errors="surrogatepass")) > MAX_VALUE_BYTES
    return f"has more than {MAX_VALUE_BYTES:,} bytes" if is_large else None


def _json_fault(text: str, kind: JsonKind) -> str | None:
    try:
        value = cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return "is no JSON"
    expected = _TYPES.get(kind)
    if expected is not None and not isinstance(value, expected):
        return "is JSON of another kind"
    members = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    if kind == "amounts" and not all(type(each) is int for each in members.values()):
        return "holds a value that is no whole number"
    if kind in FIELDS and not members.keys() <= FIELDS[kind]:
        return "holds a member that is not allowed"
    return None
