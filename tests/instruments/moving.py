"""A database that is lived in: the walk over every call of sessions, usage, kept totals and budgets; and how it moves to another one."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from state_walk.draws import WalkClock
from state_walk.walk import StateWalk

from agents_store_cloudflare import transfer
from agents_store_cloudflare.contract.arguments import system_now_ms
from agents_store_cloudflare.contract.errors import AgentsStoreError
from agents_store_cloudflare.contract.usage.budgets import Reservation
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.transfer import copies_of, export_all, import_copy
from agents_store_cloudflare.usage import D1UsageStore

__all__ = ["Life", "moved"]

DAY_MS = 86_400_000
SCOPES = ("team", "team/a", "team/b", "alone")
PARENTS = {"team/a": "team", "team/b": "team"}
NAMES = ("one", "two", "a \\n 'quote' 日本 %_")


class Life:
    """Random calls on a database, and everything that reads tell of it.

    The walk compares sessions with its model at each step. Usage and budgets have none here: `reads` is compared before and after a
    move, and `check_totals` compares the totals with those counted anew.
    """

    def __init__(self, database: SqliteDatabase, random: Random, *, prefix: str = "") -> None:
        self.clock, self._random = WalkClock(), random
        self.walk = StateWalk(
            D1StateStore(database, now_ms=self.clock.now_ms), self.clock, prefix=prefix, database_now_ms=system_now_ms
        )
        self._reservations: list[Reservation] = []
        self._entries = 0
        self._take(database)

    def _take(self, database: SqliteDatabase) -> None:
        self.database = database
        self.states = D1StateStore(database, now_ms=self.clock.now_ms)
        self.usage = D1UsageStore(database, now_ms=self.clock.now_ms)

    async def reopen(
        self, place: SqliteDatabase | CloudflareStore, whole: Callable[[D1StateStore], D1StateStore] | None = None
    ) -> None:
        """Continue in another database or store, which must be equal by every read.

        Args:
            whole: makes a store whose lists have whole states, for a store whose lists have less.
        """
        before = await self.reads()
        if isinstance(place, CloudflareStore):
            self.states, self.usage = place.state_store, place.usage_store
        else:
            self._take(place)
        assert await self.reads() == before
        self.walk.reopened(self.states if whole is None else whole(self.states))
        await self.walk.compare_all(self._random)
        await self.check_totals()

    async def live(self, steps: int) -> None:
        """Make this number of calls, most of them on sessions."""
        for _ in range(steps):
            match self._random.randrange(8):
                case 0:
                    await self._record()
                case 1:
                    await self._spend()
                case _:
                    await self.walk.step(self._random)

    async def _sessions(self) -> list[str]:
        return [state.session_id for state in (await self.states.list_sessions(limit=1000)).items]

    async def _record(self) -> None:
        random = self._random
        session_id = random.choice([*await self._sessions(), "nobody"])
        self._entries += 1
        facts: Any = {"id": f"e{self._entries}", "timestamp": self.clock.now_ms() - random.randrange(5 * DAY_MS)}
        match random.randrange(6):
            case 0:
                tokens = {"prompt": random.randrange(2**40), "completion": 5, "cached": 0}
                await self.usage.record_tokens(
                    session_id, model=random.choice(NAMES), tokens=tokens, cost_micros=7, **facts
                )
            case 1:
                await self.usage.record_tool(
                    session_id, tool_name=random.choice(NAMES), duration_ms=3, success=True, **facts
                )
            case 2:
                child = random.choice([*await self._sessions(), "gone"])
                call: Any = {"agent_type": "x", "sub_session_id": child, "duration_ms": 1, "success": False}
                await self.usage.record_subagent(session_id, **call, **facts)
            case 3:
                value = random.choice([10**30, -1, 0.1, 1e-300])
                await self.usage.record_custom(session_id, name=random.choice(NAMES), value=value, data=[1.0], **facts)
            case 4:
                await self.usage.delete_old_entries(
                    random.randrange(1, 5 * DAY_MS) / 1000, keep_totals=random.random() < 0.8
                )
            case _:
                await self.usage.delete(session_id)

    async def _spend(self) -> None:
        random = self._random
        scope = random.choice(SCOPES)
        try:
            match random.randrange(4):
                case 0:
                    await self.usage.set_budget(scope, random.randrange(10**6), "tokens", parent=PARENTS.get(scope))
                case 1:
                    if (reserved := await self.usage.reserve(scope, random.randrange(1000), ttl=60)) is not None:
                        self._reservations.append(reserved)
                case 2 if self._reservations:
                    await self.usage.settle(random.choice(self._reservations), random.randrange(1500))
                case _ if self._reservations:
                    await self.usage.release(random.choice(self._reservations))
                case _:
                    pass
        except AgentsStoreError:
            pass  # no budget yet, or settled with another amount: the outcome is part of the reads

    async def reads(self) -> list[str]:
        """Return the result of every read."""
        ids = [*await self._sessions(), "nobody", "gone"]
        found: list[Any] = [ids]
        for session_id in ids:
            state = await self.states.load_state(session_id)
            found.append(None if state is None else state.to_dict())
            found.append([each.to_dict() for each in await self.usage.get_entries(session_id)])
            found.append((await self.usage.get_rollup(session_id, include_sub_agents=True)).to_dict())
        found += await self._totals()
        found += [
            None if (budget := await self.usage.get_budget(scope)) is None else budget.to_dict() for scope in SCOPES
        ]
        return [json.dumps(each) for each in found]

    async def _totals(self) -> list[Any]:
        kinds: Any = ("day", "model", "agent", "tool")
        return [[total.to_dict() for total in await self.usage.get_totals(by)] for by in kinds]

    async def check_totals(self) -> None:
        """Check that the totals are the sums of the stored entries and the kept totals."""
        before = await self.reads()
        await self.usage.rebuild_rollups()
        assert await self.reads() == before


async def moved(source: SqliteDatabase | CloudflareStore, target: SqliteDatabase | CloudflareStore) -> None:
    """Copy everything from a database or a store through our own export into an empty one."""
    lines = list(transfer.lines_of([copy async for copy in export_all(source)], now_ms=1))
    for _, copy in reversed(list(copies_of(lines))):
        await import_copy(target, copy)
