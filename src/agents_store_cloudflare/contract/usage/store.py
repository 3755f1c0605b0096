"""The contract of a usage store."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from datetime import date, timedelta
from typing import Literal, Protocol

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken
from agents_store_cloudflare.contract.usage.budgets import Budget, Reservation, Settlement
from agents_store_cloudflare.contract.usage.records import UsageEntry, UsageRollup, UsageTotals

__all__ = ["UsageStore"]


class UsageStore(Protocol):
    """What sessions used: tokens, tool calls, sub-agents, and whatever else one counts; what may be used; what it cost.

    Totals are kept in the same transaction as the entries: they equal the sum of the entries at every moment.
    """

    async def record_entry(
        self,
        entry: UsageEntry | Mapping[str, object],
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> UsageEntry:
        """Store one entry; the same id again changes nothing. Returns the stored entry with its id and time."""
        ...

    async def record_entries(
        self,
        entries: Sequence[UsageEntry | Mapping[str, object]],
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> list[UsageEntry]:
        """Store entries in one batch, all or none.

        Args:
            fencing_token: of each of the entries' sessions; a lower one than was seen is refused, unless all entries are stored already.
            commit_id: gives ids to entries without one, so that the call repeated with it stores nothing twice.
        """
        ...

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
        """A session's entries by time, then insertion.

        Args:
            kinds: only these; an empty sequence matches nothing.
            step_range: (low, high) or {"min": low, "max": high}, both inclusive.
            run_id: only entries of this run; a turn's run has the id of the turn. All entries of the session are read.
        """
        ...

    async def get_rollup(
        self, session_id: str, *, include_sub_agents: bool = False, run_id: str | None = None
    ) -> UsageRollup:
        """The totals of a session, zeros where nothing was recorded; with its descendants, each counted once, if asked.

        Reads a row for each model, tool, agent type and custom name, however many entries there are.

        Args:
            run_id: the totals of this run alone. They are the sum of its stored entries: every entry of the session is read, and deleted
                entries are missing, also where the session kept their totals.

        Raises:
            InvalidArgumentError: `run_id` together with `include_sub_agents`.
        """
        ...

    async def get_tree_rollups(self, session_id: str) -> list[UsageRollup]:
        """The totals of a session and of each of its descendants that has any, each by itself, the session first."""
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
        """Totals over all sessions, by key.

        Args:
            by: what the totals are of. "model" counts token entries alone, "tool" tool entries.
            first_day, last_day: dates (UTC) or their text, both inclusive.
            agent, model, tool: only entries of that agent, model or tool.
        """
        ...

    async def rebuild_rollups(self) -> None:
        """Count all entries anew: needed only where something else writes into the table. Totals kept of deleted entries stay."""
        ...

    async def delete(
        self, session_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> int:
        """Delete a session's entries and totals; how many entries there were.

        Args:
            commit_id: the call repeated with it gives the first count and leaves what was recorded since. With it the store also sends
                the call again by itself after a lost reply.
        """
        ...

    async def delete_old_entries(
        self,
        age: float | timedelta | None = None,
        *,
        age_ms: float | None = None,
        keep_totals: bool = False,
        commit_id: str | None = None,
    ) -> int:
        """Delete entries strictly older than `age` (seconds, or a timedelta) by their timestamp; how many there were.

        Args:
            keep_totals: totals stay as they are, and say in `kept_entries` how many of their entries are gone.
            commit_id: as in `delete`.
        """
        ...

    async def set_budget(self, scope: str, cap: int, unit: str, *, parent: str | None = None) -> Budget:
        """Give a scope its cap, or another one; what was reserved and settled stays.

        Args:
            unit: what is counted, such as "tokens" or "micro_usd": one for a whole tree of scopes.
            parent: the scope it stands in, which has a budget already; it cannot change.
        """
        ...

    async def get_budget(self, scope: str) -> Budget | None:
        """The cap of a scope and what was taken of it; None where it has no budget."""
        ...

    def reserve(
        self, scope: str, amount: int, *, ttl: float | timedelta | None = None, ttl_ms: float | None = None
    ) -> Awaitable[Reservation | None]:
        """Set an amount aside in a scope and in all scopes around it, or None where it does not fit under one of their caps.

        Reserved and settled together never exceed a cap through a reservation, however many callers there are. A reservation that is
        neither settled nor released is given back after `ttl` (10 minutes). With `async with` what does not fit raises
        `BudgetExceededError`, and what is not settled at the end is given back.
        """
        ...

    async def settle(self, reservation: Reservation, actual: int) -> Settlement:
        """Record what a reservation came to, once, also after it expired; the rest is given back.

        More than was reserved is recorded too, and marked `overrun`; where that reaches a cap, nothing more can be reserved.
        """
        ...

    async def release(self, reservation: Reservation) -> bool:
        """Give a reservation back unsettled; False if it was settled, or its time was over. A repeated release gives True again."""
        ...

    async def delete_old_settlements(
        self, age: float | timedelta | None = None, *, age_ms: float | None = None, commit_id: str | None = None
    ) -> int:
        """Forget settlements older than `age`; how many. The budgets keep their sums; only a repeated `settle` needs them.

        Args:
            commit_id: as in `delete`.
        """
        ...
