"""The records of prices and budgets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agents_store_cloudflare.contract.record import Record, as_mapping

__all__ = ["Budget", "ModelPrice", "PriceBook", "Reservation", "Settlement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice(Record):
    """What a model costs, in millionths of a dollar for a million tokens: $2.50 is 2_500_000.

    Attributes:
        cached: for tokens of the prompt that were cached; as `prompt` where None.
        reasoning: for tokens of the completion that were reasoning; as `completion` where None.
    """

    prompt: int
    completion: int
    cached: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook(Record):
    """Your prices: of models, and of tools in millionths of a dollar a call. `version` is written beside every price it gives."""

    version: str
    models: dict[str, ModelPrice]
    tools: dict[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def _read(cls, name: str, value: Any) -> Any:
        if name == "models":
            return {
                model: price if isinstance(price, ModelPrice) else ModelPrice.from_dict(price)
                for model, price in as_mapping(value, "models").items()
            }
        return super(PriceBook, cls)._read(name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget(Record):
    """A cap and what was taken of it, by this scope and by those that stand in it.

    Attributes:
        parent: the scope it stands in.
        reserved: by reservations that are neither settled nor expired.
        overruns: how many settlements were above their reservations.
    """

    scope: str
    cap: int
    unit: str
    parent: str | None = None
    reserved: int = 0
    settled: int = 0
    overruns: int = 0

    @property
    def remaining(self) -> int:
        """What can be reserved here now, negative where settlements went over the cap; the scopes around it may have less."""
        return self.cap - self.settled - self.reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation(Record):
    """An amount set aside until it is settled or released, at most until `expires_at`."""

    id: str
    scope: str
    amount: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement(Record):
    """What a reservation came to. `overrun`: more than was reserved."""

    reservation_id: str
    scope: str
    amount: int
    actual: int
    overrun: bool
    settled_at: int
