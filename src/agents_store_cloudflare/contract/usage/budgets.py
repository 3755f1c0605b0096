"""The records of prices and budgets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agents_store_cloudflare.contract.record import Record, as_mapping

__all__ = ["Budget", "ModelPrice", "PriceBook", "Reservation", "Settlement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice(Record):
    """The price of a model, in millionths of a dollar for a million tokens: $2.50 is 2_500_000.

    Attributes:
        prompt: the price of the prompt's tokens.
        completion: the price of the completion's tokens.
        cached: the price of the prompt's cached tokens; None means `prompt`.
        reasoning: the price of the completion's reasoning tokens; None means `completion`.
    """

    prompt: int
    completion: int
    cached: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook(Record):
    """Your prices.

    Attributes:
        version: a name of these prices. It is written beside every cost that they give.
        models: the price of each model.
        tools: the price of one call of each tool, in millionths of a dollar.
    """

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
    """A cap, and the amounts that this scope and the scopes inside it have taken.

    Attributes:
        scope: the name of the scope.
        cap: the most that may be taken.
        unit: what is counted, such as "tokens".
        parent: the scope around this one.
        reserved: the sum of the reservations that are neither settled nor expired.
        settled: the sum of the settlements.
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
        """The amount that can be reserved in this scope now. The scopes around it may have less. It is negative above the cap."""
        return self.cap - self.settled - self.reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation(Record):
    """An amount that is set aside until it is settled or released, at most until `expires_at` (milliseconds since 1970)."""

    id: str
    scope: str
    amount: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement(Record):
    """The amount that a reservation came to.

    Attributes:
        amount: how much was reserved.
        actual: how much was used.
        overrun: whether more was used than reserved.
        settled_at: the time of the settlement (milliseconds since 1970).
    """

    reservation_id: str
    scope: str
    amount: int
    actual: int
    overrun: bool
    settled_at: int
