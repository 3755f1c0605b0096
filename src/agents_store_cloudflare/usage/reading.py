"""Reads entries and totals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Literal, LiteralString, cast

from agents_store_cloudflare.contract.arguments import (
    MAX_SAFE_INTEGER,
    check_flag,
    check_id,
    check_text,
    check_whole_number,
)
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.usage.entry_store import EntryStore
from agents_store_cloudflare.contract.usage.records import (
    UsageEntry,
    UsageRollup,
    UsageTotals,
)
from agents_store_cloudflare.contract.usage.totals_store import TotalsStore
from agents_store_cloudflare.usage import deletion_sql, sql
from agents_store_cloudflare.usage.deletions import Deletions
from agents_store_cloudflare.usage.entries import KINDS, entry_of
from agents_store_cloudflare.usage.rollup import EPOCH, rollup_of, rollup_of_entries, rollups_of, totals_of
from agents_store_cloudflare.usage.tables import backfills

__all__ = ["Reading"]

VIEWS = ("day", "model", "agent", "tool")


class Reading(Deletions, EntryStore, TotalsStore):
    """The calls of `D1UsageStore` that read."""

    _tree_sql: LiteralString = sql.SELECT_TREE

    async def get_entries(
        self,
        session_id: str,
        *,
        kinds: Sequence[str] | None = None,
        step_range: tuple[int, int] | Mapping[str, int] | None = None,
        run_id: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[UsageEntry]:
        low, high = _steps(step_range)
        page = self._batches.statement(
            sql.SELECT_PAGE,
            check_id(session_id, "session_id"),
            _kinds(kinds),
            low,
            high,
            -1 if limit is None else check_whole_number(limit, "limit"),
            check_whole_number(offset, "offset"),
            None if run_id is None else check_id(run_id, "run_id"),
        )
        [rows] = await self._batches.run(page)
        return [entry_of(row) for row in rows]

    async def get_rollup(
        self, session_id: str, *, include_sub_agents: bool = False, run_id: str | None = None
    ) -> UsageRollup:
        check_id(session_id, "session_id")
        check_flag(include_sub_agents, "include_sub_agents")
        if run_id is not None:
            if include_sub_agents:
                raise InvalidArgumentError("a run belongs to one session; leave out include_sub_agents")
            return rollup_of_entries(session_id, await self.get_entries(session_id, run_id=run_id))
        text = self._tree_sql if include_sub_agents else sql.SELECT_ROLLUP
        [rows] = await self._batches.run(self._batches.statement(text, session_id))
        return rollup_of(session_id, rows)

    async def get_tree_rollups(self, session_id: str) -> list[UsageRollup]:
        check_id(session_id, "session_id")
        [rows] = await self._batches.run(self._batches.statement(self._tree_sql, session_id))
        return rollups_of(session_id, rows)

    async def get_totals(
        self,
        by: Literal["day", "model", "agent", "tool"],
        *,
        first_day: date | str | None = None,
        last_day: date | str | None = None,
        agent: str | None = None,
        model: str | None = None,
        tool: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[UsageTotals]:
        if by not in VIEWS:
            raise InvalidArgumentError(f"by is {by!r}, it must be one of {', '.join(VIEWS)}")
        names = [
            None if value is None else check_id(value, name)
            for name, value in (("agent", agent), ("model", model), ("tool", tool))
        ]
        [rows] = await self._batches.run(
            self._batches.statement(
                sql.SELECT_TOTALS,
                by,
                _day(first_day, "first_day", 0),
                _day(last_day, "last_day", MAX_SAFE_INTEGER),
                *names,
                -1 if limit is None else check_whole_number(limit, "limit"),
                check_whole_number(offset, "offset"),
            )
        )
        return [totals_of(row, by_day=by == "day") for row in rows]

    async def rebuild_rollups(self) -> None:
        await self._batches.run(*map(self._batches.statement, [*deletion_sql.CLEAR_TOTALS, *backfills()]))

    async def exists(self, session_id: str) -> bool:
        """Return whether entries are stored for the session.

        Args:
            session_id: the session.

        Cost: 1 D1 batch (1 row read).
        """
        [rows] = await self._batches.run(self._batches.statement(sql.SELECT_EXISTS, check_id(session_id, "session_id")))
        return bool(rows)

    async def get_entry_count(self, session_id: str) -> int:
        """Return how many entries are stored for the session. It reads them all.

        Args:
            session_id: the session.

        Cost: 1 D1 batch (100 rows read).
        """
        [[row]] = await self._batches.run(
            self._batches.statement(sql.COUNT_ENTRIES, check_id(session_id, "session_id"))
        )
        return cast("int", row[0])

    async def find_session_ids(self, *, agent_type: str | None = None, limit: int | None = None) -> list[str]:
        """Return the ids of sessions with entries, the most recently used first. It reads the whole table.

        Args:
            agent_type: only sessions with entries of this agent.
            limit: the most sessions; None for all.

        Cost: 1 D1 batch (106 rows read).
        """
        wanted = None if agent_type is None else check_text(agent_type, "agent_type")
        most = -1 if limit is None else check_whole_number(limit, "limit")
        [rows] = await self._batches.run(self._batches.statement(sql.FIND_SESSIONS, wanted, most))
        return [cast("str", row[0]) for row in rows]


def _day(given: date | str | None, name: str, default: int) -> int:
    if given is None:
        return default
    if isinstance(given, str):
        try:
            given = date.fromisoformat(given)
        except ValueError as error:
            raise InvalidArgumentError(f'{name} must be a date such as "2026-11-23"') from error
    if not isinstance(cast("object", given), date):
        raise TypeError(f"{name} must be a date or its text, not {type(given).__name__}")
    return given.toordinal() - EPOCH.toordinal()


def _kinds(kinds: Sequence[str] | None) -> str | None:
    if kinds is None:
        return None
    if isinstance(kinds, str):
        raise TypeError("kinds must be a sequence of kinds, not one text")
    wanted = list(kinds)
    for kind in wanted:
        if kind not in KINDS:
            raise InvalidArgumentError(f"kinds has {kind!r}, it may hold {', '.join(KINDS)}")
    return json.dumps(wanted)


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
