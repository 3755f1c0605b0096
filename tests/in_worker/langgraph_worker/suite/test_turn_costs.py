"""What turns of a graph cost, by D1's own count."""

from typing import Any

import pytest

from agents_store_cloudflare.adapters.langgraph import D1Saver
from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.database import BatchCost
from tests.adapters.langgraph.graphs import chat, config_of


@pytest.mark.parametrize(("durability", "batches", "rows"), [("sync", 8, 12), ("async", 8, 12), ("exit", 2, 2)])
async def test_a_turn_of_two_nodes(env: Any, database: Any, durability: str, batches: int, rows: int) -> None:
    """LG-15: A turn stays below the limits of round trips and of written rows, however long the replies take."""
    costs: list[BatchCost] = []
    saver = D1Saver(as_database(env.AGENT_DB, observer=costs.append))
    for number in range(4):
        costs.clear()
        question = {"messages": [{"role": "user", "content": f"question {number}"}]}
        state = await chat(saver).ainvoke(question, config_of(durability), durability=durability)
        assert len(state["messages"]) == 3 * (number + 1)
    spent = (len(costs), sum(cost.rows_written for cost in costs))
    assert spent[0] <= batches
    assert spent[1] <= rows
