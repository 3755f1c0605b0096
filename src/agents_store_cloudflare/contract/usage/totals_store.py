"""The contract of a usage store, part two: totals of sessions, of trees of sessions, and over all sessions."""

from __future__ import annotations

from datetime import date
from typing import Literal, Protocol

from agents_store_cloudflare.contract.usage.records import UsageRollup, UsageTotals

__all__ = ["TotalsStore"]


class TotalsStore(Protocol):
    """The part of a `UsageStore` that gives totals."""

    async def get_rollup(
        self, session_id: str, *, include_sub_agents: bool = False, run_id: str | None = None
    ) -> UsageRollup:
        """Return the totals of a session; zeros when nothing was recorded.

        The call reads one row for each model, tool, agent type and custom name, however many entries there are.

        Args:
            session_id: the session.
            include_sub_agents: add the totals of all descendants, each counted once.
            run_id: the totals of this run alone. They are the sum of its stored entries: every entry of the session is read, and
                deleted entries are missing even if the session kept their totals.

        Raises:
            InvalidArgumentError: `run_id` was given together with `include_sub_agents`.

        Cost: 1 D1 batch (1-101 rows read).
        """
        ...

    async def get_tree_rollups(self, session_id: str) -> list[UsageRollup]:
        """Return the totals of a session and of its descendants, one rollup each, the session first.

        A descendant without totals is left out.

        Args:
            session_id: the session.

        Cost: 1 D1 batch (10 rows read).
        """
        ...

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
        """Return totals over all sessions, one for each day, model, agent or tool.

        Args:
            by: the key of the totals. "model" counts token entries alone, "tool" counts tool entries alone.
            first_day: a date (UTC) or its text, such as "2026-11-23"; that day is included.
            last_day: as `first_day`.
            agent: only entries of this agent.
            model: only entries of this model.
            tool: only entries of this tool.
            limit: the most totals; None for all.
            offset: how many totals to leave out at the beginning.

        Raises:
            InvalidArgumentError: `by` is another key, or a day is no date.

        Cost: 1 D1 batch (35-55 rows read).
        """
        ...

    async def rebuild_rollups(self) -> None:
        """Count all entries anew. This is needed only when another program writes into the table.

        Totals that were kept of deleted entries stay.

        Cost: 1 D1 batch (8293 rows read, 22 written).
        """
        ...
