"""`D1UsageStore`: what sessions used, one D1 batch a call."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import LiteralString, Self, TypedDict, Unpack, cast

from agents_store_cloudflare.arguments import check_id, check_text, check_whole_number, span_ms, system_now_ms
from agents_store_cloudflare.bindings import as_database
from agents_store_cloudflare.database import MAX_VALUE_BYTES, Row, SqlError, SqlValue, Statement, batch_with_retry
from agents_store_cloudflare.errors import InvalidArgumentError, UsageError
from agents_store_cloudflare.json_values import JsonValue
from agents_store_cloudflare.records import TokenCounts, UsageEntry, UsageRollup, UsageSource
from agents_store_cloudflare.usage import sql
from agents_store_cloudflare.usage.entries import KINDS, columns_of, complete, entry_of
from agents_store_cloudflare.usage.options import DEFAULT_TABLE, UsageOptions
from agents_store_cloudflare.usage.rollup import rollup_of

__all__ = ["D1UsageStore"]

LONGEST_AGE_S = 100 * 366 * 86_400

AGENT = UsageSource(type="agent", name="agent")


class EntryFields(TypedDict, total=False):
    """What every shorthand takes beside its own: the entry's id, its step, its time, and who caused it (`AGENT` where absent)."""

    id: str
    step_count: int
    timestamp: int
    source: UsageSource


class D1UsageStore:
    """`UsageStore` on D1: what each call promises stands there.

    Args:
        database: a D1 binding or session, raw or as the Workers SDK wraps it, or a `Database`.
        table_name: a table of your own; `ensure_table` makes it. The documented one comes with `run_migration`.
        now_ms: the clock of entries without a timestamp, in milliseconds since 1970.
    """

    def __init__(
        self,
        database: object,
        *,
        table_name: str = DEFAULT_TABLE,
        logger: logging.Logger | None = None,
        now_ms: Callable[[], int] = system_now_ms,
    ) -> None:
        self._database = as_database(database)
        self._table = sql.check_table_name(table_name)
        self._logger = logger or logging.getLogger("agents_store_cloudflare.usage")
        self._now_ms = now_ms

    @classmethod
    def from_options(cls, database: object, options: UsageOptions) -> Self:
        """A store with options made elsewhere."""
        return cls(database, table_name=options.table_name, logger=options.logger)

    async def ensure_table(self) -> None:
        """Make the table of a custom name with its indexes; nothing to do when it is there."""
        await self._run(*(self._statement(each) for each in sql.CREATE_TABLE))

    async def record_entry(self, entry: UsageEntry | Mapping[str, object]) -> UsageEntry:
        """`UsageStore.record_entry`."""
        [stored] = await self.record_entries([entry])
        return stored

    async def record_entries(self, entries: Sequence[UsageEntry | Mapping[str, object]]) -> list[UsageEntry]:
        """`UsageStore.record_entries`."""
        completed = [complete(entry, self._now_ms) for entry in entries]
        if not completed:
            return []
        ids = [entry.id for entry in completed]
        if len(set(ids)) != len(ids):
            raise InvalidArgumentError("two entries of one call have the same id")
        body = json.dumps([columns_of(entry) for entry in completed], ensure_ascii=False, separators=(",", ":"))
        if (size_bytes := len(body.encode())) > MAX_VALUE_BYTES:
            raise InvalidArgumentError(
                f"the entries have {size_bytes:,} bytes, one call takes {MAX_VALUE_BYTES:,}; send fewer"
            )
        _, rows = await self._run(
            self._statement(sql.INSERT_ENTRIES, body, self._now_ms()),
            self._statement(sql.SELECT_STORED_OTHERWISE, body),
        )
        earlier = {entry.id: entry for entry in map(entry_of, rows)}
        return [earlier.get(entry.id, entry) for entry in completed]

    async def record_tokens(
        self, session_id: str, *, model: str, tokens: TokenCounts | Mapping[str, int], **fields: Unpack[EntryFields]
    ) -> UsageEntry:
        """Record what one model call used. Cached tokens are inside `prompt`, reasoning ones inside `completion`."""
        return await self._record(session_id, fields, kind="tokens", model=model, tokens=tokens)

    async def record_tool(
        self,
        session_id: str,
        *,
        tool_name: str,
        duration_ms: int,
        success: bool,
        error: str | None = None,
        **fields: Unpack[EntryFields],
    ) -> UsageEntry:
        """Record one tool call."""
        return await self._record(
            session_id, fields, kind="tool", tool_name=tool_name, duration_ms=duration_ms, success=success, error=error
        )

    async def record_subagent(
        self,
        session_id: str,
        *,
        agent_type: str,
        sub_session_id: str,
        duration_ms: int,
        success: bool,
        **fields: Unpack[EntryFields],
    ) -> UsageEntry:
        """Record one run of a sub-agent; its own session's entries count in this one's rollup with `include_sub_agents`."""
        return await self._record(
            session_id,
            fields,
            kind="subagent",
            agent_type=agent_type,
            sub_session_id=sub_session_id,
            duration_ms=duration_ms,
            success=success,
        )

    async def record_custom(
        self, session_id: str, *, name: str, value: float, data: JsonValue = None, **fields: Unpack[EntryFields]
    ) -> UsageEntry:
        """Record a number under a name of your own."""
        return await self._record(session_id, fields, kind="custom", name=name, value=value, data=data)

    async def _record(self, session_id: str, fields: EntryFields, **body: object) -> UsageEntry:
        return await self.record_entry({"session_id": session_id, "source": AGENT, **fields, **body})

    async def get_entries(
        self,
        session_id: str,
        *,
        kinds: Sequence[str] | None = None,
        step_range: tuple[int, int] | Mapping[str, int] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[UsageEntry]:
        """`UsageStore.get_entries`."""
        low, high = _steps(step_range)
        page = self._statement(
            sql.SELECT_PAGE,
            check_id(session_id, "session_id"),
            _kinds(kinds),
            low,
            high,
            -1 if limit is None else check_whole_number(limit, "limit"),
            check_whole_number(offset, "offset"),
        )
        [rows] = await self._run(page)
        return [entry_of(row) for row in rows]

    async def get_rollup(self, session_id: str, *, include_sub_agents: bool = False) -> UsageRollup:
        """`UsageStore.get_rollup`."""
        check_id(session_id, "session_id")
        [rows] = await self._run(
            self._statement(sql.SELECT_TREE if include_sub_agents else sql.SELECT_SESSION, session_id)
        )
        return rollup_of(session_id, rows)

    async def exists(self, session_id: str) -> bool:
        """Whether anything was recorded for the session."""
        [rows] = await self._run(self._statement(sql.SELECT_EXISTS, check_id(session_id, "session_id")))
        return bool(rows)

    async def get_entry_count(self, session_id: str) -> int:
        """How many entries the session has."""
        [[row]] = await self._run(self._statement(sql.COUNT_ENTRIES, check_id(session_id, "session_id")))
        return cast("int", row[0])

    async def find_session_ids(self, *, agent_type: str | None = None, limit: int | None = None) -> list[str]:
        """Sessions with entries (from the agent of that name), the most recently used first. Reads the whole table."""
        wanted = None if agent_type is None else check_text(agent_type, "agent_type")
        most = -1 if limit is None else check_whole_number(limit, "limit")
        [rows] = await self._run(self._statement(sql.FIND_SESSIONS, wanted, most))
        return [cast("str", row[0]) for row in rows]

    async def delete(self, session_id: str) -> int:
        """Delete the session's entries; how many there were."""
        return await self._delete(sql.DELETE_ENTRIES, check_id(session_id, "session_id"))

    async def delete_old_entries(self, age: float | timedelta | None = None, *, age_ms: float | None = None) -> int:
        """Delete entries strictly older than `age` (seconds, or a timedelta) by their timestamp; how many there were."""
        span = span_ms(age, age_ms, "age", most_seconds=LONGEST_AGE_S)
        if span is None:
            raise TypeError("give age (seconds) or age_ms (milliseconds)")
        return await self._delete(sql.DELETE_OLD, self._now_ms() - span)

    async def _delete(self, text: LiteralString, parameter: SqlValue) -> int:
        # Not sent again by itself: a repetition after a lost reply could not tell how many there were.
        try:
            [rows] = await self._database.batch([self._statement(text, parameter)])
        except SqlError as error:
            raise self._failed(error) from error
        return len(rows)

    async def _run(self, *statements: Statement) -> list[list[Row]]:
        """One batch; safe to send again, for an entry's id makes its second coming a no-op."""
        try:
            return await batch_with_retry(self._database, statements)
        except SqlError as error:
            raise self._failed(error) from error

    def _statement(self, text: LiteralString, *parameters: SqlValue) -> Statement:
        return Statement(sql.for_table(text, self._table), parameters)

    def _failed(self, error: SqlError) -> UsageError:
        self._logger.warning("usage call failed: %s", error)
        hint = ""
        if error.is_missing_table():
            hint = "; run_migration makes the tables, ensure_table one of another name"
        return UsageError(
            f"the usage table {self._table!r} failed: {error}{hint}", outcome_unknown=error.outcome_unknown
        )


def _kinds(kinds: Sequence[str] | None) -> str | None:
    if kinds is None:
        return None
    if isinstance(kinds, str):
        raise TypeError("kinds must be a sequence of kinds, not one text")
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidArgumentError(f"kinds has {kind!r}, it may hold {', '.join(KINDS)}")
    return json.dumps(list(kinds))


def _steps(step_range: tuple[int, int] | Mapping[str, int] | None) -> tuple[int | None, int | None]:
    if step_range is None:
        return None, None
    if isinstance(step_range, Mapping):
        if unknown := sorted(set(step_range) - {"min", "max"}):
            raise InvalidArgumentError(f"step_range has {unknown[0]!r}, it may hold min and max")
        low, high = step_range.get("min"), step_range.get("max")
    else:
        if len(cast("tuple[object, ...]", step_range)) != 2:
            raise TypeError("step_range must be (low, high) or a mapping with min and max")
        low, high = step_range
    for name, step in (("min", low), ("max", high)):
        if step is not None:
            check_whole_number(step, f"step_range {name}")
    return low, high
