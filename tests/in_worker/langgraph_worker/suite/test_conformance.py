"""LangGraph's own conformance suite on real D1."""

import importlib
from collections.abc import AsyncIterator
from typing import Any

from agents_store_cloudflare.adapters.langgraph import D1Saver

SUITE_0_0_2 = 81


async def test_the_whole_suite(database: Any) -> None:
    """LG-1: Every capability is found, and every test of each capability passes."""
    suite: Any = importlib.import_module("langgraph.checkpoint.conformance")

    async def savers() -> AsyncIterator[D1Saver]:
        yield D1Saver(database)

    results = (await suite.validate(suite.checkpointer_test(name="D1Saver")(savers))).results
    passed, detected = (
        sum(counts) for counts in zip(*((each.tests_passed, each.detected) for each in results.values()), strict=True)
    )
    print(
        f"langgraph-checkpoint-conformance 0.0.2, in the Worker: {passed} tests passed, {detected} of {len(results)} capabilities"
    )
    assert [name for name, result in results.items() if not result.detected] == []
    assert [failure for result in results.values() for failure in result.failures] == []
    assert passed == SUITE_0_0_2
