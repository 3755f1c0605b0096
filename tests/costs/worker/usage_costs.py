"""Usage."""

from typing import Any

from cost_ledger import Ledger

__all__ = ["usage_costs"]

TOKENS = {"prompt": 100, "completion": 20}


def _entry(session_id: str, number: int) -> dict[str, Any]:
    return {
        "id": f"{session_id}-{number}",
        "kind": "tokens",
        "session_id": session_id,
        "source": {"type": "agent", "name": "cost"},
        "model": "model-1",
        "tokens": TOKENS,
        "step_count": number,
        "timestamp": 1_000 + number,
    }


async def usage_costs(ledger: Ledger) -> None:
    """Recording, then reading a hundred entries, then deleting them."""
    await _recording(ledger)
    await _reading(ledger)
    await _budgets(ledger)
    await _deleting(ledger)


async def _recording(ledger: Ledger) -> None:
    usage = ledger.usage
    with ledger.line("usage_store.record_entry", "the first of a session"):
        await usage.record_entry(_entry("usage", 0))
    with ledger.line("usage_store.record_entry", "the same again"):
        await usage.record_entry(_entry("usage", 0))
    with ledger.line("usage_store.record_entry", "the next"):
        await usage.record_entry(_entry("usage", 1))
    with ledger.line("usage_store.record_entries", "98"):
        await usage.record_entries([_entry("usage", number) for number in range(2, 100)])
    with ledger.line("usage_store.record_tokens"):
        await usage.record_tokens("recorded", model="model-1", tokens=TOKENS, timestamp=2_000)
    with ledger.line("usage_store.record_tool"):
        await usage.record_tool("recorded", tool_name="search", duration_ms=5, success=True, timestamp=2_000)
    with ledger.line("usage_store.record_subagent"):
        await usage.record_subagent(
            "recorded", agent_type="cost", sub_session_id="usage", duration_ms=5, success=True, timestamp=2_000
        )
    with ledger.line("usage_store.record_custom"):
        await usage.record_custom("recorded", name="pages", value=3, timestamp=2_000)


async def _reading(ledger: Ledger) -> None:
    usage = ledger.usage
    with ledger.line("usage_store.get_entries", "100"):
        await usage.get_entries("usage")
    with ledger.line("usage_store.get_entries", "10 of 100 by their steps"):
        await usage.get_entries("usage", step_range=(10, 19))
    with ledger.line("usage_store.get_rollup", "100 entries"):
        await usage.get_rollup("usage")
    with ledger.line("usage_store.get_rollup", "4 entries, and 100 of a sub-agent"):
        await usage.get_rollup("recorded", include_sub_agents=True)
    with ledger.line("usage_store.get_rollup", "one run, 100 entries of the session"):
        await usage.get_rollup("usage", run_id="r")
    with ledger.line("usage_store.get_tree_rollups", "4 entries, and 100 of a sub-agent"):
        await usage.get_tree_rollups("recorded")
    with ledger.line("usage_store.get_totals", "by model: 1 model, 1 day"):
        await usage.get_totals("model")
    with ledger.line("usage_store.get_totals", "by day: 1 day"):
        await usage.get_totals("day")
    with ledger.line("usage_store.exists"):
        await usage.exists("usage")
    with ledger.line("usage_store.get_entry_count", "100"):
        await usage.get_entry_count("usage")
    with ledger.line("usage_store.find_session_ids", "2 sessions, 104 entries in all"):
        await usage.find_session_ids()


async def _budgets(ledger: Ledger) -> None:
    usage = ledger.usage
    with ledger.line("usage_store.set_budget", "a new scope"):
        await usage.set_budget("tenant", 1_000, "tokens")
    await usage.set_budget("agent", 500, "tokens", parent="tenant")
    with ledger.line("usage_store.set_budget", "another cap"):
        await usage.set_budget("agent", 600, "tokens", parent="tenant")
    with ledger.line("usage_store.reserve", "it fits, in a scope within another"):
        reservation = await usage.reserve("agent", 100)
    assert reservation is not None
    with ledger.line("usage_store.reserve", "it does not fit"):
        await usage.reserve("agent", 600)
    with ledger.line("usage_store.settle"):
        await usage.settle(reservation, 80)
    another = await usage.reserve("agent", 100)
    assert another is not None
    with ledger.line("usage_store.release"):
        await usage.release(another)
    with ledger.line("usage_store.get_budget"):
        await usage.get_budget("agent")
    with ledger.line("usage_store.delete_old_settlements", "none is that old"):
        await usage.delete_old_settlements(86_400)


async def _deleting(ledger: Ledger) -> None:
    usage = ledger.usage
    with ledger.line("usage_store.rebuild_rollups", "104 entries of 2 sessions"):
        await usage.rebuild_rollups()
    with ledger.line("usage_store.delete", "4 entries"):
        await usage.delete("recorded")
    with ledger.line("usage_store.delete", "none, with a commit id"):
        await usage.delete("recorded", commit_id="deletion")
    with ledger.line("usage_store.delete_old_entries", "100 entries"):
        await usage.delete_old_entries(86_400)
    with ledger.line("usage_store.ensure_table", "it is there"):
        await usage.ensure_table()
