"""LangGraph's own conformance suite on real D1."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

UNPUBLISHED = Path(__file__).parents[1] / "unpublished"
"""Where `LANGGRAPH=checkout make conformance` puts the suite of LangGraph's repository."""


@pytest.mark.parametrize("saver", ["as it is", "fencing_token", "head_check"])
async def test_the_whole_suite(database: Any, saver: str) -> None:
    """LG-1: Every capability is found, and every test of each capability passes."""
    if UNPUBLISHED.exists() and str(UNPUBLISHED) not in sys.path:
        sys.path.insert(0, str(UNPUBLISHED))
    kit: Any = importlib.import_module("langgraph_kit")
    assert await kit.passes(database, saver, place="in the Worker", is_unpublished=UNPUBLISHED.exists())
