"""LangGraph's conformance suite on `D1Saver` over sqlite, with and without a fence and a head check. Runs in an environment of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

# LangGraph comes after the adapter, which may have to stand in for one of its dependencies.
from langgraph.checkpoint.conformance import checkpointer_test, validate

from agents_store_cloudflare.adapters.langgraph import D1Saver
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.testing import SqliteDatabase

UNPUBLISHED = "unpublished" in sys.argv
CAPABILITIES, TESTS = (9, 89) if UNPUBLISHED else (8, 81)
SAVERS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "fencing_token": {"fencing_token": 1},
    "head_check": {"head_check": True},
}


async def passes(name: str, options: dict[str, Any]) -> bool:
    """Whether every capability is there, and every test of each passes; prints the figures."""
    database = SqliteDatabase()
    await run_migration(database)

    async def savers() -> AsyncIterator[D1Saver]:
        yield D1Saver(database, **options)

    results = (await validate(checkpointer_test(name="D1Saver")(savers))).results
    failures = [failure for result in results.values() for failure in result.failures]
    detected = sum(result.detected for result in results.values())
    passed = sum(result.tests_passed for result in results.values())
    kit = "unpublished" if UNPUBLISHED else version("langgraph-checkpoint-conformance")
    print(
        f"conformance: langgraph-checkpoint-conformance {kit}, sqlite, {name}: {passed} of {passed + len(failures)} tests passed, "
        f"{detected} of {len(results)} capabilities",
        flush=True,
    )
    for failure in failures:
        print(f"  {failure}", flush=True)
    return not failures and detected == len(results) >= CAPABILITIES and passed >= TESTS


async def main() -> int:
    outcomes = [await passes(name, options) for name, options in SAVERS.items()]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
