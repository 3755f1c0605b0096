"""A copy of one session: its form, and the rules that are checked before any part of it is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_misfits import is_lone_surrogate, path_to
from agents_store_cloudflare.contract.json_values import MAX_DEPTH
from agents_store_cloudflare.database import Database
from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION
from agents_store_cloudflare.transfer.stream_copies import StreamCopy, check_stream
from agents_store_cloudflare.transfer.tables import HIDDEN, TABLES, StoredRows, columns_of

__all__ = ["FORMAT", "CheckedCopy", "SessionCopy", "check_format", "checked", "held"]

FORMAT: Final = 1
"""The version of the format that this code writes. The code refuses every other version."""

SessionCopy: TypeAlias = dict[str, Any]
"""The result of `export_session`: `format`, `schema`, `sessionId`, `stored` (table -> rows), `messages`, and `streams` on request."""

_STATES, _CHECKPOINTS = "__agents_states", "__agents_checkpoints"


@dataclass(frozen=True, slots=True)
class CheckedCopy:
    """A copy that has passed the checks. `stored` has every table of `TABLES`. The lists of rows are the copy's own objects."""

    session_id: str
    stored: StoredRows
    messages: Sequence[Any]
    streams: Sequence[StreamCopy]

    @property
    def is_session(self) -> bool:
        """Return whether the copy has a session, and not only the rows that a deleted session has left."""
        return bool(self.stored[_STATES])


def held(copy: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the copy, so that the caller's later changes have no effect. Texts are shared, so this costs little memory.

    Raises:
        InvalidArgumentError: the copy holds a text that no database can store. The message names its place.
    """
    try:
        return {name: _held(value, MAX_DEPTH) for name, value in copy.items()}
    except UnicodeEncodeError:
        place = path_to(copy, "copy", is_lone_surrogate) or "copy"
        raise InvalidArgumentError(f"{place} holds a lone surrogate, which no UTF-8 text can carry") from None


def _held(value: object, depth: int) -> object:
    if depth < 0:  # no row and no message may nest so deeply; the checks refuse it
        return value
    if isinstance(value, dict):
        members = cast("dict[str, object]", value).items()
        return {_held(name, depth - 1): _held(each, depth - 1) for name, each in members}
    if isinstance(value, list):
        return [_held(each, depth - 1) for each in cast("list[object]", value)]
    if isinstance(value, str) and not value.isascii():
        value.encode()  # raises for a lone surrogate
    return value


def check_format(head: Mapping[str, Any]) -> None:
    """Refuse copies that this code cannot read.

    Raises:
        InvalidArgumentError: the copy has another format or a newer schema.
    """
    if type(head.get("format")) is not int or head["format"] != FORMAT:
        raise InvalidArgumentError(
            f"the copy has format {head.get('format')!r}, this code reads {FORMAT}; install the newer package"
        )
    schema = head.get("schema")
    if type(schema) is not int or not 1 <= schema <= CURRENT_SCHEMA_VERSION:
        raise InvalidArgumentError(
            f"the copy has schema version {schema!r}, this code knows {CURRENT_SCHEMA_VERSION}; install the newer package"
        )


async def checked(database: Database, copy: Mapping[str, Any]) -> CheckedCopy:
    """Return the parts of a copy.

    Raises:
        InvalidArgumentError: the copy has another format or is incomplete, or its parts do not belong together.
    """
    check_format(copy)
    session_id = check_id(copy.get("sessionId"), "sessionId")
    stored, messages, streams = copy.get("stored"), copy.get("messages"), copy.get("streams")
    if not isinstance(stored, dict) or not isinstance(messages, list) or not isinstance(streams, list | None):
        raise InvalidArgumentError("the copy has no stored rows or no messages")
    rows: StoredRows = {}
    for table in TABLES:
        rows[table] = _rows(table, cast("dict[str, object]", stored).get(table), set(await columns_of(database, table)))
    own_streams = [check_stream(each) for each in cast("list[object]", streams or [])]
    found = CheckedCopy(session_id, rows, cast("list[Any]", copy["messages"]), own_streams)
    _check_session(found)
    return found


def _rows(table: str, value: object, columns: set[str]) -> list[dict[str, Any]]:
    rows = cast("list[object]", value) if isinstance(value, list) else [None]
    if not all(isinstance(row, dict) and cast("dict[str, object]", row).keys() <= columns for row in rows):
        raise InvalidArgumentError(f"the copy's rows of {table} are missing or have columns this schema does not know")
    for row in cast("list[dict[str, object]]", rows):
        if not all(value is None or isinstance(value, str | int | float) for value in row.values()):
            raise InvalidArgumentError(f"the copy's rows of {table} hold values that no column can hold")
    return cast("list[dict[str, Any]]", rows)


def _check_session(copy: CheckedCopy) -> None:
    """Check that every row belongs to the session, and that the session counts as many messages as there are."""
    states = copy.stored[_STATES]
    rows = [row for rows in copy.stored.values() for row in rows]
    if len(states) > 1 or any(row.get("session_id", copy.session_id) != copy.session_id for row in rows):
        raise InvalidArgumentError("the copy's rows do not belong to its session id")
    if states and states[0].get("message_count") != len(copy.messages):
        raise InvalidArgumentError("the copy's state row counts another number of messages than the copy has")
    if not states and (copy.messages or any(copy.stored[table] for table in HIDDEN)):
        raise InvalidArgumentError("the copy has messages or rows of a session, but no state row")
    numbers: set[object] = {row["session_no"] for row in rows if "session_no" in row}
    numbers |= {_number_of(row.get("id")) for row in copy.stored[_CHECKPOINTS]}
    if len(numbers) > 1:
        raise InvalidArgumentError("the copy's rows belong to sessions of different numbers")


def _number_of(key: object) -> object:
    return key >> 24 if isinstance(key, int) else None
