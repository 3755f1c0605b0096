"""Lists of sessions, page by page, with a bound on the rows that a page reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, LiteralString, TypeAlias, cast, get_args

from agents_store_cloudflare.console import directory_lists_sql as directory, listing_sql as sql
from agents_store_cloudflare.console.sources import Sources
from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER, check_id, check_text
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.record import Record
from agents_store_cloudflare.database import SqlValue, Statement
from agents_store_cloudflare.state.stored_text import stored_text, text_of
from agents_store_cloudflare.usage.amounts import count
from agents_store_cloudflare.usage.rollup import UNREADABLE, stored_amounts
from agents_store_cloudflare.usage.table_names import for_table

__all__ = ["SessionFilter", "SessionList", "SessionSummary", "View", "list_sessions", "list_tree", "read_summary"]

View: TypeAlias = Literal["all", "running", "open-runs", "expired"]

PAGE: Final = 15
COST_ROWS: Final = 29
"""The most rows of models that a page reads for its costs.

Each session with models costs one more row. With 15 sessions and the next one, a page reads 60 rows.
"""
SCANNED: Final = 460
"""The most rows that a filtered page looks at. With the costs a page reads fewer than 500."""
TREE: Final = 100
LAST_CHARACTER: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary(Record):
    """The facts of a session's row that a list shows. It has no large values.

    Attributes:
        checkpoint_count, staged_count, run_count: None in the list of a store with homes, because the directory does not have them.
        open_run_count: the number of runs that have not ended. An open turn counts too.
        turn_since: the time since which a turn is open or its closing chunk is not confirmed (milliseconds since 1970).
        open_turn: the id, number and fencing token of the open turn.
        owed_closings: the ids of turns whose closing chunk is not confirmed. Usually the stream has the chunk already, and the
            session's next turn or the sweep removes the id.
        cost_micros: the cost of its models in millionths of a dollar; None if it was not read.
        depth: in a tree, the number of levels below the root of the list.
        unreadable: the facts that another program has damaged. Each has a neutral value here.
    """

    session_id: str
    agent_type: str
    status: str
    step_count: int
    version: int
    message_count: int
    checkpoint_count: int | None
    staged_count: int | None
    run_count: int | None
    open_run_count: int | None
    parent_session_id: str | None
    root_session_id: str | None
    stream_id: str
    created_at: int
    updated_at: int
    expires_at: int | None
    aborted: bool
    error: str | None
    turn_since: int | None
    open_turn: dict[str, Any] | None
    owed_closings: tuple[str, ...]
    cost_micros: int | None = None
    unpriced_entries: int | None = None
    depth: int = 0
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter(Record):
    """The filter of a list. An empty filter shows all sessions."""

    prefix: str | None = None
    status: str | None = None
    agent: str | None = None
    parent: str | None = None
    view: View = "all"

    def __post_init__(self) -> None:
        for name, value in (("prefix", self.prefix), ("status", self.status), ("agent", self.agent)):
            if value is not None:
                check_text(value, name)
        if self.parent is not None:
            check_id(self.parent, "parent")
        if self.view not in get_args(View):
            raise InvalidArgumentError(f"view must be one of {', '.join(get_args(View))}")

    @property
    def path(self) -> str:
        """The index that the list uses."""
        if self.view in ("running", "expired"):
            return self.view
        if self.prefix is not None:
            return "prefix"
        return "all" if self.parent is None else "parent"

    @property
    def is_complete(self) -> bool:
        """True when every row of the index matches the filter."""
        asked = {name for name in ("prefix", "status", "agent", "parent") if getattr(self, name) is not None}
        return self.view not in ("open-runs", "running") and asked <= {self.path}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionList(Record):
    """A page of sessions.

    Attributes:
        next_cursor: the cursor of the next call; None at the end.
        scanned: the number of rows that were looked at. If it is higher than the number of found sessions and there is a cursor,
            the filter has not looked at all rows yet.
    """

    sessions: tuple[SessionSummary, ...]
    next_cursor: str | None
    scanned: int


_IN_DATABASE: Final[Mapping[str, LiteralString]] = {
    "all": sql.LIST_NEWEST,
    "prefix": sql.LIST_PREFIXED,
    "parent": sql.LIST_CHILDREN,
    "running": sql.LIST_TURNS,
    "expired": sql.LIST_EXPIRED,
}
_IN_DIRECTORY: Final[Mapping[str, LiteralString]] = {
    "all": directory.LIST_NEWEST,
    "prefix": directory.LIST_PREFIXED,
    "parent": directory.LIST_CHILDREN,
    "running": directory.LIST_TURNS,
    "expired": directory.LIST_EXPIRED,
}

_KINDS: Final[Mapping[str, tuple[type, Any]]] = {
    **dict.fromkeys(("session_id", "agent_type", "status"), (str, "")),
    **dict.fromkeys(("step_count", "version", "message_count"), (int, 0)),
    **dict.fromkeys(("checkpoint_count", "staged_count", "run_count", "open_run_count"), (int, None)),
    **dict.fromkeys(("parent_session_id", "root_session_id", "stream_id"), (str, None)),
    **dict.fromkeys(("created_at", "updated_at"), (int, 0)),
    "expires_at": (int, None),
    "aborted": (int, 0),
    "error": (str, None),
    "turn_since": (int, None),
    "open_turn": (dict, None),
    "owed_closings": (list, ()),
}
"""Fact of a summary -> its kind, and the value of a damaged one. The order is that of the SQL."""

Start: TypeAlias = "tuple[int | str, int | str]"
_STARTS: Final[Mapping[str, Start]] = {
    "all": (MAX_SAFE_INTEGER, 0),
    "prefix": ("", 0),
    "parent": (MAX_SAFE_INTEGER, 0),
    "running": (0, 0),
    "expired": (0, 0),
}
_DIRECTORY_STARTS: Final[Mapping[str, Start]] = {
    **_STARTS,
    "parent": ("", 0),
    "running": (0, ""),
    "expired": (0, ""),
}
"""The start position of each list. Its two parts have the same types as in the list's cursors."""


async def list_sessions(sources: Sources, wanted: SessionFilter, cursor: str | None = None) -> SessionList:
    """Return a page of at most 15 sessions with the cost of their models.

    Without a filter it reads at most 60 rows. With a filter it looks at 460 rows at most, and its cursor continues after them.

    Raises:
        InvalidArgumentError: the cursor does not belong to this list.
    """
    is_directory = sources.database_of is not None
    if is_directory and wanted.view == "open-runs":
        raise InvalidArgumentError("the directory has no runs; see the page of a session")
    most = PAGE + 1 if wanted.is_complete else SCANNED
    starts, statements = (_DIRECTORY_STARTS, _IN_DIRECTORY) if is_directory else (_STARTS, _IN_DATABASE)
    parameters = (
        *_position(cursor, wanted, starts[wanted.path]),
        stored_text(wanted.agent),
        stored_text(wanted.status),
        wanted.parent,
        wanted.prefix,
        None if wanted.prefix is None else wanted.prefix + LAST_CHARACTER,
        int(wanted.view == "open-runs"),
        int(wanted.view == "running"),
        sources.now_ms() if wanted.view == "expired" else None,
        most,
    )
    [rows] = await sources.rows(Statement(statements[wanted.path], parameters))
    found: list[SessionSummary] = []
    used = 0
    for used, row in enumerate(rows, 1):  # noqa: B007 - the last position of the page
        if row[2] is not None:
            found.append(_summary(row[2]))
        if len(found) == PAGE:
            break
    more = used < len(rows) or len(rows) == most
    return SessionList(
        sessions=tuple(await _with_costs(sources, found)),
        next_cursor=_cursor(wanted.path, rows[used - 1]) if more else None,
        scanned=len(rows),
    )


async def read_summary(sources: Sources, session_id: str) -> SessionSummary | None:
    """Return the facts of one session, or None if there is no such session. It reads one row."""
    check_id(session_id, "session_id")
    [rows] = await sources.session_rows(session_id, Statement(sql.SELECT_SUMMARY, (session_id,)))
    return _summary(rows[0][0]) if rows else None


async def list_tree(sources: Sources, session_id: str) -> tuple[SessionSummary, ...]:
    """Return at most 100 descendants of a session, each below its parent."""
    [rows] = await sources.session_rows(session_id, Statement(sql.SELECT_TREE, (session_id, TREE)))
    found: dict[str, SessionSummary] = {}
    for depth, facts in rows:
        summary = _summary(facts, depth=cast("int", depth))
        found.setdefault(summary.session_id, summary)
    return tuple(found.values())


async def _with_costs(sources: Sources, sessions: Sequence[SessionSummary]) -> list[SessionSummary]:
    """Return the sessions with the cost of their models. Only `COST_ROWS` rows are read, so later sessions may have no cost."""
    if not sessions:
        return []
    ids = [each.session_id for each in sessions]
    parameters = (COST_ROWS, *ids, *[None] * (PAGE - len(ids)))
    statement = Statement(for_table(sql.MODEL_COSTS, sources.usage_table), parameters)
    [rows] = await sources.rows(statement)
    costs: dict[int, list[int]] = {}
    damaged: set[int] = set()
    for place, text in rows:
        amounts = stored_amounts(text)
        damaged |= {cast("int", place)} if UNREADABLE in amounts else set()
        sums = costs.setdefault(cast("int", place), [0, 0])
        sums[0] += count(amounts, "costMicros")
        sums[1] += amounts.get("unpriced", 0)
    # The last session may have more rows than were read.
    known = len(sessions) if len(rows) < COST_ROWS else max(costs, default=0)
    return [
        replace(each, cost_micros=sums[0], unpriced_entries=sums[1]) if place < known and place not in damaged else each
        for place, each in enumerate(sessions)
        for sums in [costs.get(place, [0, 0])]
    ]


def _summary(text: SqlValue, *, depth: int = 0) -> SessionSummary:
    facts, unreadable = _facts(json.loads(cast("str", text)))
    facts["agent_type"], facts["status"] = text_of(facts["agent_type"]), text_of(facts["status"])
    facts["error"] = text_of(facts["error"])
    facts["stream_id"] = facts["stream_id"] or facts["session_id"]
    facts["owed_closings"] = tuple(facts["owed_closings"])
    facts["aborted"] = bool(facts["aborted"])
    return SessionSummary(**facts, depth=depth, unreadable=tuple(unreadable))


def _facts(values: Sequence[Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the facts by name, and the names of those that another program has damaged. These have neutral values."""
    facts: dict[str, Any] = {}
    unreadable: list[str] = []
    for (name, (kind, neutral)), value in zip(_KINDS.items(), values, strict=True):
        facts[name] = value
        if name == "owed_closings" and isinstance(value, list):
            facts[name] = [_turn_id(each) for each in cast("list[object]", value)]
        if not _is_of(facts[name], kind) and not (value is None and neutral is None):
            facts[name] = neutral
            unreadable.append(name)
    return facts, unreadable


def _turn_id(owed: object) -> object:
    return cast("dict[str, object]", owed).get("turnId") if isinstance(owed, dict) else None


def _is_of(value: object, kind: type) -> bool:
    if kind is list:
        return isinstance(value, list) and all(isinstance(each, str) for each in cast("list[object]", value))
    return isinstance(value, kind) and (kind is not int or abs(cast("int", value)) <= MAX_SAFE_INTEGER)


def _cursor(path: str, row: Sequence[SqlValue]) -> str:
    return json.dumps([path, row[0], row[1]], ensure_ascii=False, separators=(",", ":"))


def _position(cursor: str | None, wanted: SessionFilter, start: Start) -> tuple[SqlValue, SqlValue]:
    """Return the two parts of the position after which the list continues.

    Raises:
        InvalidArgumentError: the cursor does not belong to a list in this order.
    """
    path = wanted.path
    if cursor is None:
        return (wanted.prefix, 0) if path == "prefix" else start
    try:
        parts: object = json.loads(cursor)
    except (ValueError, RecursionError):
        parts = None
    match parts:
        case [str(name), (int() | str()) as first, (int() | str()) as second] if (name, type(first), type(second)) == (
            path,
            type(start[0]),
            type(start[1]),
        ):
            if isinstance(first, str):
                # Ids hold no control characters, so no id lies between this one and the next.
                return max(first + "\x01", wanted.prefix or ""), second
            if 0 <= first <= MAX_SAFE_INTEGER and (isinstance(second, str) or 0 <= second <= MAX_SAFE_INTEGER):
                return first, second
        case _:
            pass
    raise InvalidArgumentError("cursor is not from this list; pass nextCursor unchanged")
