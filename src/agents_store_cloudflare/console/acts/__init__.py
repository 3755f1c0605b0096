"""The acts of an operator. Each act explains its effect, has it once, and reports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agents_store_cloudflare.console.acts.act import Act, Entry, Plan, Receipt
from agents_store_cloudflare.console.acts.budgets import RAISE_BUDGET
from agents_store_cloudflare.console.acts.checkpoints import FORK, RESTORE
from agents_store_cloudflare.console.acts.sessions import DELETE, EXPORT
from agents_store_cloudflare.console.acts.streams import END, FAIL
from agents_store_cloudflare.console.acts.turns import SWEEP

__all__ = ["ACTS", "Act", "Entry", "Plan", "Receipt"]

ACTS: Final[Mapping[str, Act]] = {
    "end-stream": END,
    "fail-stream": FAIL,
    "sweep": SWEEP,
    "restore": RESTORE,
    "fork": FORK,
    "export": EXPORT,
    "delete": DELETE,
    "raise-budget": RAISE_BUDGET,
}
"""The acts by their names in URLs."""
