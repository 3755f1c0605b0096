"""Gives a copy other ids: the session's own id, and the ids of the sessions and streams that it names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.homes import child_id, home_of
from agents_store_cloudflare.database import SqlValue
from agents_store_cloudflare.transfer.copies import CheckedCopy
from agents_store_cloudflare.transfer.tables import StoredRow

__all__ = ["check_rename", "names_in_homes", "renamed"]

IDS: Final = frozenset({"session_id", "parent_session_id", "root_session_id", "sub_session_id", "stream_id"})
"""The columns that hold the id of a session or a stream."""

IDS_WITHIN: Final[Mapping[str, str]] = {"open_turn": "streamId", "owed_closings": "streamId", "data": "subSessionId"}
"""The columns of JSON that hold such an id, each with the member that holds it."""

_OF_DELETIONS: Final[StoredRow] = {"plans": "[]", "streams": None, "children": None}
"""The columns of a fence about deletions under the old id, and about the streams and children that they have left."""


def check_rename(rename: Mapping[str, str]) -> None:
    """Refuse ids that no session can have, and two sessions under one id.

    Raises:
        TypeError, InvalidArgumentError: an id is not valid; the message names it.
    """
    for old, new in rename.items():
        check_id(new, f"the new id of {old!r}")
    if len(set(rename.values())) != len(rename):
        raise InvalidArgumentError("two ids are to become the same one")


def names_in_homes(copies: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return old id -> new id of the children that homes would refuse under their ids, for the argument `rename` of `import_session`.

    A child gets the id that `child_id` makes of its parent's new id and its own id. Ids that homes accept are left out.

    Args:
        copies: every copy of the trees, children with their parents. Budgets may be among them.

    Raises:
        InvalidArgumentError: an id would be longer than 512 bytes, or no id would do; the message names it.
    """
    parents: dict[str, str] = {}
    for copy in copies:
        for row in copy["stored"].get("__agents_states", ()):
            if isinstance(parent := row.get("parent_session_id"), str):
                parents[row["session_id"]] = parent
    names: dict[str, str] = {}
    for session_id in parents:
        line = [session_id]
        while (parent := parents.get(line[-1])) is not None and parent not in line and line[-1] not in names:
            line.append(parent)
        for above, each in zip(line[:0:-1], line[-2::-1], strict=True):
            parent = names.get(above, above)
            if home_of(each) != home_of(parent):
                names[each] = child_id(parent, each)
    return names


def renamed(copy: CheckedCopy, rename: Mapping[str, str]) -> CheckedCopy:
    """Return the copy with every id of `rename` changed in all rows. The users' own data in states and messages stays unchanged."""
    if not rename:
        return copy
    stored = {table: [_row(row, rename) for row in rows] for table, rows in copy.stored.items()}
    for row in stored["__agents_fences"]:
        row.update(_OF_DELETIONS)
    if copy.session_id in rename:
        for row in stored["__agents_states"]:
            row["open_turn"] = _without_reservation(row.get("open_turn"))
    streams = [{**each, "streamId": rename.get(each["streamId"], each["streamId"])} for each in copy.streams]
    return CheckedCopy(rename.get(copy.session_id, copy.session_id), stored, copy.messages, streams)


def _without_reservation(open_turn: SqlValue) -> SqlValue:
    """Return the open turn of a copy under another id, without its reservation.

    The original keeps the reservation, because its turn may continue.
    """
    try:
        turn: object = json.loads(open_turn) if isinstance(open_turn, str) else None
    except ValueError:
        turn = None  # somebody else's
    if not isinstance(turn, dict) or "reservation" not in turn:
        return open_turn
    return json.dumps(
        {**cast("dict[str, object]", turn), "reservation": None}, ensure_ascii=False, separators=(",", ":")
    )


def _row(row: StoredRow, rename: Mapping[str, str]) -> StoredRow:
    return {name: _value(name, value, rename) for name, value in row.items()}


def _value(name: str, value: SqlValue, rename: Mapping[str, str]) -> SqlValue:
    if not isinstance(value, str):
        return value
    if name in IDS:
        return rename.get(value, value)
    member = IDS_WITHIN.get(name)
    # The other texts stay the same, byte for byte.
    if member is None or not any(json.dumps(old, ensure_ascii=False) in value for old in rename):
        return value
    return _within(value, member, rename)


def _within(text: str, member: str, rename: Mapping[str, str]) -> str:
    try:
        value: object = json.loads(text)
    except ValueError:
        return text  # somebody else's
    for each in cast("list[object]", value) if isinstance(value, list) else [value]:
        own = cast("dict[str, object]", each) if isinstance(each, dict) else {}
        if isinstance(old := own.get(member), str):
            own[member] = rename.get(old, old)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
