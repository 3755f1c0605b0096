"""The conformance tests of a `UsageStore` for totals.

Subclass `UsageTotalsConformance`, and give it a `usage_store` and a `state_store` on the same database.

Each test names the clauses of docs/guarantees.md that it proves.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import InvalidArgumentError, StaleFencingTokenError, StaleStateError
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageEntry, UsageRollup, UsageTotals
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing.conformance.fixtures import UsageFixtures
from agents_store_cloudflare.usage import D1UsageStore

__all__ = ["UsageTotalsConformance", "sum_of"]

DAY_MS = 86_400_000


def sum_of(session_id: str, entries: Sequence[UsageEntry]) -> UsageRollup:
    """Return the rollup of entries, computed by plain sums."""
    calls = {
        kind: [e for e in entries if e.kind == kind and e.corrects is None] for kind in ("tool", "subagent", "custom")
    }
    tokens = [(entry.model or "", entry.tokens or TokenCounts()) for entry in entries if entry.kind == "tokens"]
    failed = sum(entry.success is False for entry in calls["tool"])
    values: dict[str, list[int | float]] = {}
    for entry in entries:
        if entry.kind == "custom":
            values.setdefault(entry.name or "", []).append(0 if entry.value is None else entry.value)
    times = [entry.timestamp or 0 for entry in entries]
    by_tool = dict.fromkeys(sorted({entry.tool_name or "" for entry in entries if entry.kind == "tool"}), 0)
    by_agent = dict.fromkeys(sorted({entry.agent_type or "" for entry in entries if entry.kind == "subagent"}), 0)
    for entry in calls["tool"]:
        by_tool[entry.tool_name or ""] += 1
    for entry in calls["subagent"]:
        by_agent[entry.agent_type or ""] += 1
    return UsageRollup.from_dict(
        {
            "session_id": session_id,
            "tokens": _sum_of_tokens([each for _, each in tokens]),
            "tokens_by_model": {
                model: _sum_of_tokens([each for other, each in tokens if other == model]) for model, _ in tokens
            },
            "tool_stats": {
                "total_calls": len(calls["tool"]),
                "successful": len(calls["tool"]) - failed,
                "failed": failed,
                "total_duration_ms": sum(entry.duration_ms or 0 for entry in entries if entry.kind == "tool"),
                "by_tool": by_tool,
            },
            "sub_agent_stats": {"total_calls": len(calls["subagent"]), "by_agent": by_agent},
            "custom": {
                name: {"count": sum(entry.name == name for entry in calls["custom"]), "total": _sum_of_values(each)}
                for name, each in values.items()
            },
            "entry_count": len(entries),
            "first_timestamp": min(times, default=None),
            "last_timestamp": max(times, default=None),
            "cost_micros": sum(entry.cost_micros or 0 for entry in entries),
            "unpriced_entries": sum(entry.kind == "tokens" and entry.cost_micros is None for entry in entries),
        }
    )


def _sum_of_tokens(counts: Sequence[TokenCounts]) -> dict[str, int]:
    names = ("prompt", "completion", "reasoning", "cached", "total")
    return {name: sum(getattr(each, name) for each in counts) for name in names}


def _sum_of_values(values: Sequence[int | float]) -> int | float:
    # Whole numbers are added directly. If a fraction is among them, fsum adds parts that floats hold exactly.
    if not any(isinstance(value, float) for value in values):
        return sum(values)
    return math.fsum(part for value in values for part in ([value] if isinstance(value, float) else _parts(value)))


def _parts(whole: int) -> list[float]:
    sign, rest, parts = (-1 if whole < 0 else 1), abs(whole), list[float]()
    while rest:
        top = rest & ~((1 << max(0, rest.bit_length() - 53)) - 1)
        parts.append(float(sign * top))
        rest -= top
    return parts


def _tokens(session_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "kind": "tokens",
        "source": {"type": "agent", "name": "writer"},
        "model": "m",
        "tokens": {"prompt": 10, "completion": 5},
        "timestamp": 1_000,
        **fields,
    }


def _custom(session_id: str, value: float, **fields: Any) -> dict[str, Any]:
    source = {"type": "agent", "name": "writer"}
    return {"session_id": session_id, "kind": "custom", "source": source, "name": "n", "value": value, **fields}


class UsageTotalsConformance(UsageFixtures):
    """The contract of `UsageStore` for totals, clause by clause."""

    async def _is_exact(self, store: D1UsageStore, session_id: str) -> UsageRollup:
        rollup = await store.get_rollup(session_id)
        assert rollup == sum_of(session_id, await store.get_entries(session_id))
        return rollup

    async def test_repetitions_count_once(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-3, US-6: Ids that are stored already add nothing, alone, beside new ids, or with other content."""
        await usage_store.record_entries([_tokens(unique, id=f"{unique}-{n}") for n in range(3)])
        await usage_store.record_entries([_tokens(unique, id=f"{unique}-{n}") for n in range(3)])
        mixed = [_tokens(unique, id=f"{unique}-{n}", model="other", timestamp=n) for n in range(6)]
        await usage_store.record_entries(mixed)
        rollup = await self._is_exact(usage_store, unique)
        assert (rollup.entry_count, rollup.tokens_by_model["m"].total, rollup.tokens_by_model["other"].total) == (
            6,
            45,
            45,
        )
        assert rollup.first_timestamp == 3

    async def test_an_id_of_another_session_changes_nothing(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-3, US-6, US-7: An id counts only in the session that stored it. Its sub-session joins no other tree."""
        await usage_store.record_entry(_tokens(f"{unique}-a", id=unique))
        await usage_store.record_tokens(f"{unique}-c", model="m", tokens={"prompt": 1, "completion": 1})
        await usage_store.record_subagent(
            f"{unique}-b", agent_type="x", sub_session_id=f"{unique}-c", duration_ms=1, success=True, id=unique
        )
        assert await usage_store.get_rollup(f"{unique}-b") == UsageRollup(session_id=f"{unique}-b")
        assert (await usage_store.get_rollup(f"{unique}-b", include_sub_agents=True)).entry_count == 0
        assert (await usage_store.get_rollup(f"{unique}-a")).entry_count == 1

    async def test_many_writers_at_once(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-6: Totals stay exact with concurrent calls that share ids."""
        calls = [
            usage_store.record_entries([_tokens(unique, id=f"{unique}-{(writer + n) % 12}") for n in range(6)])
            for writer in range(12)
        ]
        await asyncio.gather(*calls)
        assert (await self._is_exact(usage_store, unique)).entry_count == 12

    async def test_sums_neither_overflow_nor_round(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-6: The sum of the largest allowed counts is exact beyond 64 bits."""
        most = 2**53 - 1
        counts = {"prompt": most, "completion": most, "cached": most, "reasoning": most, "total": most}
        for _ in range(5):
            await usage_store.record_entries([_tokens(unique, tokens=counts, duration_ms=most) for _ in range(400)])
        assert (await usage_store.get_rollup(unique)).tokens.prompt == 2_000 * most
        assert 2_000 * most > 2**63

    async def test_any_numbers_add_up(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-6: Custom totals are exact for whole numbers of any size, and rounded once if a value is a float."""
        generator = random.Random(7)  # noqa: S311 - the same numbers every time
        broken = [generator.uniform(-1, 1) * 10.0 ** generator.randint(-300, 299) for _ in range(60)]
        whole = [generator.randint(-(10**k), 10**k) for k in range(0, 300, 5)]
        for name, values in (("broken", broken), ("whole", whole), ("both", [*broken[:20], *whole[:20], 5e-324, -0.0])):
            await usage_store.record_entries([_custom(unique, value, name=name) for value in values])
        await self._is_exact(usage_store, unique)
        await usage_store.rebuild_rollups()
        rollup = await self._is_exact(usage_store, unique)
        assert rollup.custom["whole"] == {"count": 60, "total": sum(whole)}

    async def test_corrections(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-13: A correction holds differences, also negative ones, and counts as no call."""
        first = await usage_store.record_entry(_tokens(unique, cost_micros=30))
        correction = {"prompt": -4, "completion": 0, "cached": -1}
        await usage_store.record_entry(
            _tokens(unique, corrects=first.id, tokens=correction, cost_micros=-12, duration_ms=-5)
        )
        await usage_store.record_tool(unique, tool_name="t", duration_ms=100, success=False)
        await usage_store.record_tool(unique, tool_name="t", duration_ms=-40, success=False, corrects="gone")
        rollup = await self._is_exact(usage_store, unique)
        assert rollup.tokens == TokenCounts(prompt=6, completion=5, cached=-1, total=11)
        assert (rollup.tool_stats.total_calls, rollup.tool_stats.failed, rollup.tool_stats.total_duration_ms) == (
            1,
            1,
            60,
        )
        assert (rollup.entry_count, rollup.cost_micros, rollup.unpriced_entries) == (4, 18, 0)

    async def test_optional_fields(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-1: Run, agent, provider, requested and answering model, time to the first token, duration and price come back."""
        entry = UsageEntry.from_dict(
            _tokens(
                unique,
                id=unique,
                run_id="r-1",
                agent="critic",
                provider="example",
                request_model="m-latest",
                response_model="m-2",
                time_to_first_token_ms=120,
                duration_ms=900,
                cost_micros=25,
                price_version="2026-11",
            )
        )
        assert await usage_store.record_entry(entry) == entry
        assert await usage_store.get_entries(unique) == [entry]

    async def test_delete_takes_its_share(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-8: A deletion also removes the session's totals, its share of the days, and its place in trees."""
        await usage_store.record_entries([_tokens(f"{unique}-{n % 2}", model=unique) for n in range(8)])
        await usage_store.record_subagent(
            f"{unique}-0", agent_type="x", sub_session_id=f"{unique}-1", duration_ms=1, success=True
        )
        assert await usage_store.delete(f"{unique}-0") == 5
        assert await usage_store.get_rollup(f"{unique}-0") == UsageRollup(session_id=f"{unique}-0")
        assert (await usage_store.get_rollup(f"{unique}-0", include_sub_agents=True)).entry_count == 0
        [left] = await usage_store.get_totals("model", model=unique)
        assert (left.entry_count, left.tokens.total) == (4, 60)
        await usage_store.delete(f"{unique}-1")
        assert await usage_store.get_totals("model", model=unique) == []

    async def test_delete_takes_what_was_kept(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-8: A deletion also removes the session's kept share of the days, and no other session's."""
        entries = [_tokens(f"{unique}-{n % 2}", model=unique, timestamp=n) for n in range(4)]
        await usage_store.record_entries(entries)
        since_1970_ms = time.time_ns() // 1_000_000
        assert await usage_store.delete_old_entries(age_ms=since_1970_ms - 100, keep_totals=True) >= 4
        await usage_store.record_entries([_tokens(f"{unique}-{n}", model=unique) for n in range(2)])
        [kept] = await usage_store.get_totals("model", model=unique)
        assert (kept.entry_count, kept.kept_entries, kept.tokens.total) == (6, 4, 90)
        assert await usage_store.delete(f"{unique}-0") == 1
        await usage_store.rebuild_rollups()
        [left] = await usage_store.get_totals("model", model=unique)
        assert (left.entry_count, left.kept_entries, left.tokens.total) == (3, 2, 45)
        await usage_store.delete(f"{unique}-1")
        assert await usage_store.get_totals("model", model=unique) == []

    async def test_trees_as_rollups(self, usage_store: D1UsageStore, state_store: D1StateStore, unique: str) -> None:
        """US-7: A tree can be read as one rollup for each session, its root first."""
        await state_store.save(AgentState(session_id=f"{unique}-b", agent_type="x", parent_session_id=f"{unique}-a"))
        for name in ("a", "b", "c"):
            await usage_store.record_entry(_tokens(f"{unique}-{name}"))
        await usage_store.record_subagent(
            f"{unique}-b", agent_type="x", sub_session_id=f"{unique}-c", duration_ms=1, success=True
        )
        rollups = await usage_store.get_tree_rollups(f"{unique}-a")
        assert [(each.session_id.rpartition("-")[2], each.entry_count) for each in rollups] == [
            ("a", 1),
            ("b", 2),
            ("c", 1),
        ]
        assert await usage_store.get_tree_rollups(f"{unique}-none") == [UsageRollup(session_id=f"{unique}-none")]

    async def test_views(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-14: Totals over sessions by day, model, agent and tool can be filtered and paged."""
        day = 5_000  # at a time that no other test uses
        for session, at, agent, model in (
            ("a", 0, "x", "m1"),
            ("b", 0, "y", "m1"),
            ("a", 1, "x", "m2"),
            ("a", 2, "x", "m1"),
        ):
            await usage_store.record_entry(
                _tokens(
                    f"{unique}-{session}",
                    agent=f"{unique}-{agent}",
                    model=f"{unique}-{model}",
                    timestamp=(day + at) * DAY_MS,
                )
            )
        await usage_store.record_tool(
            f"{unique}-a",
            tool_name=f"{unique}-t",
            duration_ms=7,
            success=False,
            agent=f"{unique}-x",
            timestamp=day * DAY_MS + 5,
        )

        async def view(by: Any, **filters: Any) -> list[tuple[str, int]]:
            found = await usage_store.get_totals(by, **filters)
            return [(each.key.replace(f"{unique}-", ""), each.entry_count) for each in found]

        mine = {"agent": f"{unique}-x"}
        assert await view("day", **mine) == [("1983-09-10", 2), ("1983-09-11", 1), ("1983-09-12", 1)]
        assert await view("day", **mine, first_day="1983-09-11", limit=1) == [("1983-09-11", 1)]
        assert await view("day", **mine, last_day="1983-09-11", offset=1) == [("1983-09-11", 1)]
        assert await view("model", **mine) == [("m1", 2), ("m2", 1)]
        assert await view("agent", model=f"{unique}-m1") == [("x", 2), ("y", 1)]
        assert await usage_store.get_totals("tool", tool=f"{unique}-t") == [
            UsageTotals(key=f"{unique}-t", entry_count=1, calls=1, failed=1, duration_ms=7)
        ]

    async def test_fencing(self, usage_store: D1UsageStore, state_store: D1StateStore, unique: str) -> None:
        """US-15: A token below the highest seen token of a session is refused, and nothing of the call is stored."""
        await state_store.save(AgentState(session_id=unique, agent_type="x"), fencing_token=5)
        with pytest.raises(StaleFencingTokenError) as raised:
            await usage_store.record_entries([_tokens(f"{unique}-b"), _tokens(unique)], fencing_token=4)
        assert (raised.value.resource, raised.value.expected, raised.value.actual) == (unique, 5, 4)
        assert not await usage_store.exists(f"{unique}-b")
        entry = await usage_store.record_entry(_tokens(unique), fencing_token=7)
        with pytest.raises(StaleFencingTokenError):
            await state_store.update_status(unique, "running", fencing_token=6)
        with pytest.raises(StaleFencingTokenError):
            await usage_store.delete(unique, fencing_token=6)
        assert await usage_store.record_entry(entry, fencing_token=6) == entry, "what is stored already is answered"
        assert await usage_store.delete(unique, fencing_token=7) == 1

    async def test_deletions_with_commit_ids(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-15: A deletion that is repeated with its commit id returns its first count, and leaves newer entries."""
        first, second = f"{unique}-first", f"{unique}-second"
        await usage_store.record_entries([_tokens(unique), _tokens(unique)])
        assert await usage_store.delete(unique, commit_id=first) == 2
        entry = await usage_store.record_entry(_tokens(unique))
        assert await usage_store.delete(unique, commit_id=first, fencing_token=5) == 2
        assert await usage_store.get_entries(unique) == [entry]
        with pytest.raises(StaleFencingTokenError):
            await usage_store.record_entry(_tokens(unique), fencing_token=4)
        age_ms = time.time_ns() // 1_000_000 - 5_000
        count = await usage_store.delete_old_entries(age_ms=age_ms, commit_id=second)
        assert count >= 1
        await usage_store.record_entry(entry)
        assert await usage_store.delete_old_entries(age_ms=age_ms, commit_id=second) == count
        assert await usage_store.get_entries(unique) == [entry]

    async def test_a_commit_id_of_another_deletion(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-15: Another session, age or kind of call under a used commit id is refused, and deletes nothing."""
        commit_id = f"{unique}-commit"
        entry = await usage_store.record_entry(_tokens(unique), commit_id=commit_id)
        other = f"{unique}-other"
        await usage_store.delete(f"{unique}-b", commit_id=other)
        for call in (
            usage_store.delete(unique, commit_id=commit_id),
            usage_store.delete(unique, commit_id=other),
            usage_store.delete_old_entries(0, commit_id=other),
            usage_store.delete_old_settlements(0, commit_id=other),
            usage_store.record_entry(_tokens(unique), commit_id=other),
        ):
            with pytest.raises(InvalidArgumentError, match="commit_id"):
                await call
        assert await usage_store.get_entries(unique) == [entry]

    async def test_commit_ids(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-15: A call that is repeated with its commit id stores nothing twice and returns the first entries.

        Other entries are refused.
        """
        entries = [_tokens(unique, timestamp=None), _custom(unique, 1)]
        commit_id = f"{unique}-commit"
        first = await usage_store.record_entries(entries, commit_id=commit_id)
        assert await usage_store.record_entries(entries, commit_id=commit_id) == first
        others = [
            [*entries, _custom(unique, 2)],
            entries[:1],
            [{**each, "session_id": f"{unique}-b"} for each in entries],
            [{**entries[0], "id": f"{unique}-own"}, entries[1]],
            [{**entries[0], "step_count": 9}, entries[1]],
            [{**entries[0], "timestamp": 7}, entries[1]],
            [_custom(unique, 2), _custom(unique, 2), _custom(unique, 2)],
        ]
        for other in others:
            with pytest.raises(InvalidArgumentError, match="commit_id"):
                await usage_store.record_entries(other, commit_id=commit_id)
        assert (await self._is_exact(usage_store, unique)).entry_count == 2
        assert not await usage_store.exists(f"{unique}-b")
        assert await usage_store.delete(unique) == 2
        assert len(await usage_store.record_entries(entries, commit_id=commit_id)) == 2
        assert not await usage_store.exists(unique), "the call took effect once, and was deleted"

    async def test_a_time_that_no_date_has(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-10, US-14: A time after the year 9999 is refused, and the error mentions the unit."""
        with pytest.raises(InvalidArgumentError, match="milliseconds"):
            await usage_store.record_entry(_tokens(unique, timestamp=253_402_300_800_000))
        await usage_store.record_entry(_tokens(unique, timestamp=253_402_300_799_999))
        [day] = await usage_store.get_totals("day", first_day="9999-12-31")
        assert day.key == "9999-12-31"
        assert await usage_store.delete(unique) == 1

    async def test_what_is_stored_is_what_was_given(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-1: When the caller changes user JSON during or after the call, neither the stored nor the returned entry changes."""
        data: list[Any] = [1]
        task = asyncio.ensure_future(usage_store.record_custom(unique, name="n", value=1, data=data))
        await asyncio.sleep(0)
        data.append(2)
        stored = await task
        data.append(3)
        assert stored.data == [1]
        assert await usage_store.get_entries(unique) == [stored]

    async def test_saved_with_a_state(self, usage_store: D1UsageStore, state_store: D1StateStore, unique: str) -> None:
        """US-23, US-6: Entries of a save are stored once with it, or not at all if the save fails."""

        state = AgentState(session_id=unique, agent_type="x")
        step = [_tokens(unique), _custom(unique, 2)]
        assert await state_store.save_state(unique, state, commit_id="step-1", usage=step) == 1
        assert await state_store.save_state(unique, state, expected_version=0, commit_id="step-1", usage=step) == 1
        with pytest.raises(StaleStateError):
            await state_store.save(AgentState(session_id=unique, agent_type="x"), usage=step)
        with pytest.raises(InvalidArgumentError, match="other"):
            await state_store.save(state, usage=[_tokens(f"{unique}-other")])
        with pytest.raises(InvalidArgumentError, match=r"tokens\.prompt"):
            await state_store.save(state, usage=[_tokens(unique, tokens={"prompt": -1, "completion": 0})])
        assert state.version == 1
        assert (await self._is_exact(usage_store, unique)).entry_count == 2
        [entry, _] = await usage_store.get_entries(unique)
        assert await state_store.save(state, usage=[entry, _tokens(unique)]) == 2
        assert (await self._is_exact(usage_store, unique)).entry_count == 3

    @pytest.mark.parametrize(
        ("change", "word"),
        [
            ({"cost_micros": 1.5}, "cost_micros"),
            ({"cost_micros": -1}, "cost_micros"),
            ({"price_version": "v"}, "price_version"),
            ({"provider": 5}, "provider"),
            ({"agent": "\x00"}, "agent"),
            ({"run_id": "__x"}, "run_id"),
            ({"duration_ms": -1}, "duration_ms"),
            ({"time_to_first_token_ms": 1.5}, "time_to_first_token_ms"),
            ({"corrects": ""}, "corrects"),
            ({"corrects": "x", "tokens": {"prompt": -(2**53), "completion": 0}}, "tokens.prompt"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_bad_fields(self, usage_store: D1UsageStore, unique: str, change: dict[str, Any], word: str) -> None:
        """US-10: Costs must be whole millionths, only corrections may be negative, and names must be ids. A refused call stores nothing."""
        with pytest.raises((InvalidArgumentError, TypeError), match=word):
            await usage_store.record_entries([_tokens(unique), {**_tokens(unique), **change}])
        assert await usage_store.get_rollup(unique) == UsageRollup(session_id=unique)

    async def test_bad_views(self, usage_store: D1UsageStore) -> None:
        """US-10: Unknown views, invalid days, and pages out of range are refused by name."""
        views: list[tuple[dict[str, Any], str]] = [
            ({"by": "hour"}, "by"),
            ({"by": "day", "first_day": "today"}, "first_day"),
            ({"by": "day", "last_day": 5}, "last_day"),
            ({"by": "day", "limit": -1}, "limit"),
            ({"by": "day", "offset": 1.5}, "offset"),
            ({"by": "day", "agent": ""}, "agent"),
        ]
        for arguments, word in views:
            with pytest.raises((InvalidArgumentError, TypeError), match=word):
                await usage_store.get_totals(**arguments)
