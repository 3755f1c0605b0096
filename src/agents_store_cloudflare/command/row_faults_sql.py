"""The rules of `row_rules` as SQL, for a whole table at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import LiteralString, cast

from agents_store_cloudflare.command.row_rules import FIELDS, IDS, JSON_COLUMNS, Column, JsonKind, kind_of, least
from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER
from agents_store_cloudflare.database import MAX_VALUE_BYTES
from agents_store_cloudflare.state.numbering import KEYS_PER_SESSION

__all__ = ["fault_statement"]


def fault_statement(table: str, columns: Sequence[Column]) -> LiteralString:
    """Return the SQL of the rules of `row_rules`. ?1 most rows -> (the row, its first fault). Reads the whole table."""
    whens = [when for column in columns for when in _whens(table, column)]
    sql = f"""
    SELECT {_LABELS.get(table, _label(columns))} || ': ' || found.fault
    FROM (SELECT *, CASE {" ".join(whens)} END AS fault FROM {table}) AS found
    WHERE found.fault IS NOT NULL
    LIMIT ?1
    """
    # It contains only the names of the package's own tables and columns.
    return cast("LiteralString", sql)  # type: ignore[redundant-cast]


def _whens(table: str, column: Column) -> Iterator[str]:
    name, kind = column.name, JSON_COLUMNS.get(table, {}).get(column.name)
    allowed = f"'{'integer' if column.is_integer else 'text'}'" + (", 'null'" if column.is_nullable else "")
    what = kind_of(column)
    yield f"WHEN typeof({name}) NOT IN ({allowed}) THEN '{name} is no {what}'"
    if column.is_integer:
        yield f"WHEN {name} NOT BETWEEN {least(column)} AND {MAX_SAFE_INTEGER} THEN '{name} is no {what}'"
        return
    yield f"WHEN length(CAST({name} AS BLOB)) > {MAX_VALUE_BYTES} THEN '{name} has more than {MAX_VALUE_BYTES:,} bytes'"
    if name in IDS:
        yield f"WHEN {name} GLOB {_CONTROLS} THEN '{name} holds a control character'"
    if name == "session_id":
        yield f"WHEN {name} = '' OR {name} GLOB '__*' OR length(CAST({name} AS BLOB)) > 512 THEN '{name} is no id that a call accepts'"
    if kind is not None:
        shared = "base_id IS NULL AND " if (table, name) == ("__agents_checkpoints", "custom_state") else ""
        yield f"WHEN {shared}{name} IS NOT NULL AND json_valid({name}) = 0 THEN '{name} is no JSON'"
        yield from (f"WHEN {shared}{condition} THEN '{name} {says}'" for condition, says in _json_whens(name, kind))


def _json_whens(name: str, kind: JsonKind) -> Iterator[tuple[str, str]]:
    if kind == "any":
        return
    yield f"json_type({name}) <> '{'array' if kind == 'array' else 'object'}'", "is JSON of another kind"
    if kind == "amounts":
        yield (
            f"EXISTS (SELECT 1 FROM json_each({name}) WHERE type <> 'integer')",
            "holds a value that is no whole number",
        )
    if kind in FIELDS:
        known = ", ".join(f"'{field}'" for field in sorted(FIELDS[kind]))
        yield (
            f"EXISTS (SELECT 1 FROM json_each({name}) WHERE key NOT IN ({known}))",
            "holds a member that is not allowed",
        )


_CONTROLS = "'*[' || char(1) || '-' || char(31) || char(127) || '-' || char(159) || ']*'"
_OF_NUMBER = "coalesce((SELECT session_id FROM __agents_states WHERE session_no = {}), 'session number ' || {})"
_OF_ROW = _OF_NUMBER.replace("{}", "found.session_no")
_OF_KEY = _OF_NUMBER.replace("{}", f"(found.id / {KEYS_PER_SESSION})")
_LABELS: Mapping[str, str] = {
    "__agents_checkpoints": f"{_OF_KEY} || ', checkpoint ' || (found.id % {KEYS_PER_SESSION})",
    "__agents_message_blocks": f"{_OF_KEY} || ', message ' || (found.id % {KEYS_PER_SESSION})",
    "__agents_runs": f"{_OF_ROW} || ', run ' || found.turn",
    "__agents_staged_changes": f"{_OF_ROW} || ', staged change ' || found.tool_call_id",
    "__agents_sub_sessions": f"{_OF_ROW} || ', reference ' || found.sub_session_id",
    "__agents_usage": "found.session_id || ', usage entry ' || found.id",
}
"""The SQL of a text by which a person finds a row of these tables."""


def _label(columns: Sequence[Column]) -> str:
    return " || ', ' || ".join(f"coalesce(found.{column.name}, 'NULL')" for column in columns if column.is_key)
