"""LangGraph's own conformance suite on real D1."""

import importlib
from collections.abc import AsyncIterator
from typing import Any

from agents_store_cloudflare.adapters.langgraph import D1Saver

SUITE_0_0_2 = 81


async def test_the_whole_suite(database: Any) -> None:
    """LG-1: every capability is there, and every test of each passes."""
    suite: Any = importlib.import_module("langgraph.checkpoint.conformance")

    async def savers() -> AsyncIterator[D1Saver]:
        yield D1Saver(database)

    results = (await suite.validate(suite.checkpointer_test(name="D1Saver")(savers))).results
    assert [name for name, result in results.items() if not result.detected] == []
    assert [failure for result in results.values() for failure in result.failures] == []
    assert sum(result.tests_passed for result in results.values()) == SUITE_0_0_2
