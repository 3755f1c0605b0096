"""The stores of pydantic-ai's harness on D1: `D1SpendStore` counts budgets over all Workers, `D1StepStore` keeps the steps of runs.

The harness pins pydantic-ai exactly and changes often, so this package does not import it: you give its classes to the stores. Both
stores keep what they have in ordinary sessions of the state store.
"""

from __future__ import annotations

from agents_store_cloudflare.adapters.errors import ForeignValueError
from agents_store_cloudflare.adapters.pydantic_ai_harness.spend import D1SpendStore
from agents_store_cloudflare.adapters.pydantic_ai_harness.steps import D1StepStore

__all__ = ["D1SpendStore", "D1StepStore", "ForeignValueError"]
