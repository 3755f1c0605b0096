"""The conformance tests of a `UsageStore`.

Subclass `UsageConformance`, and give it a `usage_store` and a `state_store` on the same database.

Each test names the clauses of docs/guarantees.md that it proves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageEntry, UsageRollup
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing.conformance.fixtures import UsageFixtures
from agents_store_cloudflare.usage import D1UsageStore

__all__ = ["UsageConformance", "entry_of_each_kind"]

AGENT = {"type": "agent", "name": "researcher"}


def entry_of_each_kind(session_id: str, at: int = 1_000) -> list[UsageEntry]:
    """Return one valid entry of each kind, in order of time, with fields that this package does not know."""
    common: dict[str, Any] = {"sessionId": session_id, "source": AGENT, "stepCount": 1}
    bodies: list[dict[str, Any]] = [
        {"kind": "tokens", "model": "m-1", "tokens": {"prompt": 10, "completion": 5, "cached": 4, "reasoning": 2}},
        {"kind": "tool", "toolName": "search", "durationMs": 12, "success": True, "vendor": {"own_key": 1.0}},
        {"kind": "tool", "toolName": "search", "durationMs": 3, "success": False, "error": "not found: 'x' – 🎉"},
        {
            "kind": "subagent",
            "agentType": "critic",
            "subSessionId": f"{session_id}-sub",
            "durationMs": 9,
            "success": True,
        },
        {"kind": "custom", "name": "pages", "value": 2**70, "data": {"n": [1.0, None, "\x00"]}},
        {"kind": "custom", "name": "pages", "value": 3},
    ]
    return [
        UsageEntry.from_dict({**common, **body, "id": f"{session_id}-{index}", "timestamp": at + index})
        for index, body in enumerate(bodies)
    ]


def _tokens(session_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "kind": "tokens",
        "source": AGENT,
        "model": "m",
        "tokens": {"prompt": 1, "completion": 1},
        **fields,
    }


class UsageConformance(UsageFixtures):
    """The contract of `UsageStore`, clause by clause."""

    async def test_entries_come_back_exactly(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-1, US-2: Entries of all four kinds, recorded in one call, come back unchanged, in order of time."""
        entries = entry_of_each_kind(unique)
        assert await usage_store.record_entries(entries) == entries
        loaded = await usage_store.get_entries(unique)
        assert [repr(entry) for entry in loaded] == [repr(entry) for entry in entries]

    async def test_an_id_counts_once(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-3: A repeated id changes nothing and returns the stored entry, also with many concurrent calls."""
        first = await usage_store.record_entry(_tokens(unique, id=f"{unique}-1", timestamp=5))
        again = await asyncio.gather(
            *(usage_store.record_entry(_tokens(unique, id=f"{unique}-1", model="other")) for _ in range(5))
        )
        assert again == [first] * 5
        assert await usage_store.get_entry_count(unique) == 1

    async def test_ids_and_times_are_made(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-3: An entry without id and time gets both, and the result has them."""
        stored = await usage_store.record_entry(_tokens(unique))
        assert stored.id
        assert stored.timestamp
        assert await usage_store.get_entries(unique) == [stored]

    async def test_shorthands(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-4: The shorthands record the same entries as `record_entry`."""
        await usage_store.record_tokens(unique, model="m", tokens={"prompt": 3, "completion": 4}, timestamp=1)
        await usage_store.record_tool(unique, tool_name="t", duration_ms=5, success=True, timestamp=2)
        await usage_store.record_subagent(
            unique, agent_type="a", sub_session_id=f"{unique}-s", duration_ms=6, success=False, timestamp=3
        )
        await usage_store.record_custom(unique, name="n", value=1.5, data=[1], timestamp=4)
        entries = await usage_store.get_entries(unique)
        assert [entry.kind for entry in entries] == ["tokens", "tool", "subagent", "custom"]
        assert entries[0].tokens == TokenCounts(prompt=3, completion=4, total=7)

    async def test_filters_and_pages(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-5: Kinds, inclusive step ranges, limit and offset select entries. No kinds match nothing. The order is time, insertion."""
        for step, at in enumerate([30, 10, 20, 10]):
            await usage_store.record_entry(_tokens(unique, id=f"{unique}-{step}", stepCount=step, timestamp=at))
        await usage_store.record_custom(unique, name="n", value=1, step_count=9, timestamp=40)

        async def steps(**filters: Any) -> list[int]:
            return [entry.step_count for entry in await usage_store.get_entries(unique, **filters)]

        assert await steps() == [1, 3, 2, 0, 9]
        assert await steps(kinds=["tokens"]) == await steps(kinds=iter(["tokens"])) == [1, 3, 2, 0]
        assert await steps(kinds=[]) == []
        assert await steps(step_range=(1, 2)) == [1, 2]
        assert await steps(step_range={"min": 2}) == [3, 2, 9]
        assert await steps(step_range={"max": 0}) == [0]
        assert await steps(limit=2, offset=1) == [3, 2]
        assert await steps(limit=0) == []
        assert await usage_store.get_entries(f"{unique}-none") == []

    async def test_a_rollup_is_the_sum(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-6: A rollup has the exact totals of all kinds, and the first and the last time."""
        await usage_store.record_entries(entry_of_each_kind(unique))
        await usage_store.record_entry(
            _tokens(unique, tokens={"prompt": 2**53 - 1, "completion": 1, "total": 2**53 - 1}, timestamp=5_000)
        )
        rollup = await usage_store.get_rollup(unique)
        assert rollup.to_dict() == {
            "sessionId": unique,
            "tokens": {"prompt": 2**53 + 9, "completion": 6, "reasoning": 2, "cached": 4, "total": 2**53 + 14},
            "tokensByModel": {
                "m-1": {"prompt": 10, "completion": 5, "reasoning": 2, "cached": 4, "total": 15},
                "m": {"prompt": 2**53 - 1, "completion": 1, "reasoning": 0, "cached": 0, "total": 2**53 - 1},
            },
            "toolStats": {
                "totalCalls": 2,
                "successful": 1,
                "failed": 1,
                "totalDurationMs": 15,
                "byTool": {"search": 2},
            },
            "subAgentStats": {"totalCalls": 1, "byAgent": {"critic": 1}},
            "custom": {"pages": {"count": 2, "total": 2**70 + 3}},
            "entryCount": 7,
            "firstTimestamp": 1_000,
            "lastTimestamp": 5_000,
            "costMicros": 0,
            "unpricedEntries": 2,
            "keptEntries": 0,
            "unreadableRows": 0,
        }
        assert UsageRollup.from_dict(rollup.to_dict()) == rollup

    async def test_the_usage_of_one_run(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-6: With a run id the rollup is the sum of the run's entries. The rollups of all runs add up to the session's."""
        for run_id, prompt in (("r1", 3), ("r2", 2**40), ("r1", 4)):
            await usage_store.record_tokens(unique, model="m", tokens={"prompt": prompt}, run_id=run_id, cost_micros=1)
        await usage_store.record_custom(unique, name="n", value=0.1, run_id="r1")
        await usage_store.record_tool(unique, tool_name="t", duration_ms=5, success=False)
        of_run = await usage_store.get_rollup(unique, run_id="r1")
        assert (of_run.tokens.prompt, of_run.cost_micros, of_run.entry_count) == (7, 2, 3)
        assert (of_run.custom, of_run.tool_stats.total_calls) == ({"n": {"count": 1, "total": 0.1}}, 0)
        assert (await usage_store.get_rollup(unique, run_id="r2")).tokens.prompt == 2**40
        assert await usage_store.get_rollup(unique, run_id="r3") == UsageRollup(session_id=unique)
        assert [entry.run_id for entry in await usage_store.get_entries(unique, run_id="r2")] == ["r2"]
        with pytest.raises(InvalidArgumentError, match="include_sub_agents"):
            await usage_store.get_rollup(unique, run_id="r1", include_sub_agents=True)

    async def test_sums_of_whole_and_broken_numbers(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-6: Whole numbers are added exactly, also beside fractions, and the largest do not overflow."""
        for value in (1e300, 1e300, -1e300, 2**60, 1, 0.5):
            await usage_store.record_custom(unique, name="large" if abs(value) > 1e200 else "small", value=value)
        totals = (await usage_store.get_rollup(unique)).custom
        assert (totals["large"]["total"], totals["small"]["total"]) == (1e300, float(2**60 + 1))

    async def test_nothing_recorded(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-6: A session without entries has zeros."""
        assert await usage_store.get_rollup(unique) == UsageRollup(session_id=unique)
        assert not await usage_store.exists(unique)
        assert await usage_store.get_entry_count(unique) == 0

    async def test_a_tree_counts_each_session_once(
        self, usage_store: D1UsageStore, state_store: D1StateStore, unique: str
    ) -> None:
        """US-7: Descendants by parent and by subagent entry count once each, in every kind of tree, also in cycles."""
        names = {"root": None, "child": "root", "grandchild": "child"}
        for name, parent in names.items():
            state = AgentState(session_id=f"{unique}-{name}", agent_type="x")
            state.parent_session_id = f"{unique}-{parent}" if parent else None
            await state_store.save(state)
        for name in (*names, "remote", "stranger"):
            await usage_store.record_entry(_tokens(f"{unique}-{name}"))
        for source, target in (("root", "child"), ("child", "remote"), ("remote", "root")):
            await usage_store.record_subagent(
                f"{unique}-{source}", agent_type="x", sub_session_id=f"{unique}-{target}", duration_ms=1, success=True
            )
        tree = await usage_store.get_rollup(f"{unique}-root", include_sub_agents=True)
        assert (tree.tokens.total, tree.entry_count) == (8, 7)
        alone = await usage_store.get_rollup(f"{unique}-root")
        assert (alone.tokens.total, alone.entry_count) == (2, 2)

    async def test_delete(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-8: A deletion removes a session's entries and no other entries."""
        for name in ("a", "b"):
            await usage_store.record_entries(entry_of_each_kind(f"{unique}-{name}"))
        assert await usage_store.delete(f"{unique}-a") == 6
        assert await usage_store.delete(f"{unique}-a") == 0
        assert not await usage_store.exists(f"{unique}-a")
        assert await usage_store.get_entry_count(f"{unique}-b") == 6

    async def test_find_sessions(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-9: Sessions of an agent are found, the most recently used first."""
        source = {"type": "agent", "name": f"{unique}-agent"}
        for at, name in ((10, "old"), (30, "new"), (20, "middle"), (15, "old")):
            await usage_store.record_entry(_tokens(f"{unique}-{name}", timestamp=at, source=source))
        await usage_store.record_entry(_tokens(f"{unique}-tool", source={"type": "tool", "name": f"{unique}-agent"}))
        found = await usage_store.find_session_ids(agent_type=f"{unique}-agent")
        assert found == [f"{unique}-{name}" for name in ("new", "middle", "old")]
        assert await usage_store.find_session_ids(agent_type=f"{unique}-agent", limit=1) == found[:1]

    @pytest.mark.parametrize(
        ("change", "word"),
        [
            ({"kind": "nonsense"}, "kind"),
            ({"model": None}, "model"),
            ({"toolName": "t"}, "tool_name"),
            ({"tokens": {"prompt": -1, "completion": 0}}, "tokens.prompt"),
            ({"tokens": {"prompt": 1, "completion": 0, "cached": 2}}, "tokens.cached"),
            ({"tokens": {"prompt": 1, "completion": 0, "reasoning": 1}}, "tokens.reasoning"),
            ({"tokens": {"prompt": 1.5, "completion": 0}}, "tokens.prompt"),
            ({"tokens": {"prompt": 2**53, "completion": 0}}, "tokens.prompt"),
            ({"tokens": {"prompts": 1}}, "prompts"),
            ({"stepCount": -1}, "step_count"),
            ({"timestamp": -1}, "timestamp"),
            ({"source": {"type": "agent"}}, "name"),
            ({"source": {"type": "agent", "name": ""}}, "source.name"),
            ({"session_id": ""}, "session_id"),
            ({"id": "x" * 513}, "id"),
            ({"own": float("nan")}, "body"),
            ({"extra": {"session_id": "other"}}, "session_id"),
            ({"extra": {"tokens": 7}}, "tokens"),
            ({"extra": 5}, "extra"),
            ({"own": "\ud800"}, "body"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_bad_entries(
        self, usage_store: D1UsageStore, unique: str, change: Mapping[str, Any], word: str
    ) -> None:
        """US-10: An entry that breaks a rule is refused, the error names the rule, and the whole call writes nothing."""
        with pytest.raises((InvalidArgumentError, TypeError), match=word):
            await usage_store.record_entries([_tokens(unique), {**_tokens(unique), **change}])
        assert not await usage_store.exists(unique)

    async def test_bad_arguments(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-10: Filters and ages out of range, and an id that comes twice in a call, are refused."""
        for call, word in (
            (usage_store.get_entries(unique, kinds=["nonsense"]), "kinds"),
            (usage_store.get_entries(unique, kinds="tokens"), "kinds"),
            (usage_store.get_entries(unique, step_range={"low": 1}), "step_range"),
            (usage_store.get_entries(unique, limit=-1), "limit"),
            (usage_store.get_entries(unique, step_range=(1, 2, 3)), "step_range"),  # type: ignore[arg-type]
            (usage_store.record_entries("ab"), "UsageEntry"),  # type: ignore[arg-type]
            (usage_store.record_custom(unique, name="n", value=10**400), "value"),
            (usage_store.record_custom(unique, name="n", value=float("nan")), "value"),
            (usage_store.delete_old_entries(10**400), "age"),
            (usage_store.record_entry(_tokens(unique, stepCount=10**5_000)), "step_count"),
            (usage_store.delete_old_entries(), "age"),
            (usage_store.delete_old_entries(-1), "age"),
            (usage_store.delete_old_entries(1, age_ms=1), "age"),
            (usage_store.record_entries([_tokens(unique, id="same"), _tokens(unique, id="same")]), "same id"),
        ):
            with pytest.raises((InvalidArgumentError, TypeError), match=word):
                await call
