"""LangGraph's conformance suite on `D1Saver`, with and without a fence and a head check.

On sqlite it runs in an environment of its own. A Worker's pytest calls `passes` with its D1.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

from agents_store_cloudflare.adapters.langgraph import D1Saver
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.testing import SqliteDatabase

__all__ = ["SAVERS", "passes"]

SUITE = "langgraph.checkpoint.conformance"
PUBLISHED, UNPUBLISHED = (8, 81), (9, 89)
"""How many capabilities and tests the suite has at least."""

SAVERS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "fencing_token": {"fencing_token": 1},
    "head_check": {"head_check": True},
}


async def passes(database: Any, saver: str, *, place: str, is_unpublished: bool) -> bool:
    """Whether every capability is there, and every test of each passes; prints the figures.

    Args:
        database: a migrated database.
        saver: a key of `SAVERS`.
    """
    # It comes after the adapter, which may have to stand in for one of its dependencies.
    suite: Any = importlib.import_module(SUITE)

    async def savers() -> AsyncIterator[D1Saver]:
        yield D1Saver(database, **SAVERS[saver])

    results = (await suite.validate(suite.checkpointer_test(name="D1Saver")(savers))).results
    failures = [failure for result in results.values() for failure in result.failures]
    detected = sum(result.detected for result in results.values())
    passed = sum(result.tests_passed for result in results.values())
    kit = "unpublished" if is_unpublished else version("langgraph-checkpoint-conformance")
    print(
        f"conformance: langgraph-checkpoint-conformance {kit}, {place}, {saver}: {passed} of {passed + len(failures)} tests passed, "
        f"{detected} of {len(results)} capabilities",
        flush=True,
    )
    for failure in failures:
        print(f"  {failure}", flush=True)
    capabilities, tests = UNPUBLISHED if is_unpublished else PUBLISHED
    return not failures and detected == len(results) >= capabilities and passed >= tests


async def _on_sqlite() -> int:
    outcomes: list[bool] = []
    for saver in SAVERS:
        database = SqliteDatabase()
        await run_migration(database)
        outcomes.append(await passes(database, saver, place="sqlite", is_unpublished="unpublished" in sys.argv))
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(_on_sqlite()))
