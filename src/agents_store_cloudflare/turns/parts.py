"""What a turn is made of, once it has been entered."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import cast

from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.state.records import AgentStatus
from agents_store_cloudflare.contract.usage.budgets import Reservation
from agents_store_cloudflare.locks.lock import DurableObjectLock
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.state.turn_records import EnteredTurn
from agents_store_cloudflare.streams.writer import DurableObjectStreamWriter
from agents_store_cloudflare.turns.options import TurnOptions

__all__ = ["TurnParts"]


@dataclass(slots=True, kw_only=True)
class TurnParts:
    """What the block has acquired for a turn.

    Attributes:
        owed: the closing chunks of earlier turns that their streams have not been seen to have.
        opening: the writer on its way to the stream.
    """

    options: TurnOptions
    state_store: D1StateStore
    lock: DurableObjectLock
    entered: EnteredTurn
    writer: DurableObjectStreamWriter | None
    reservation: Reservation | None
    owed: list[JsonObject] = field(default_factory=list[JsonObject])
    opening: Awaitable[None] | None = None

    @property
    def stream_id(self) -> str:
        """The stream of the session."""
        return cast("str", self.entered.turn["streamId"])

    @property
    def is_fenced(self) -> bool:
        """Whether the stream is the session's own. On a stream that it shares with others no token goes along, and nobody pauses it."""
        return bool(self.entered.turn["fenced"])

    def closing(self, status: str, code: str | None) -> JsonObject | None:
        """Return what the stream is owed at the end of the turn, or None for a turn without a stream."""
        if self.writer is None:
            return None
        owed: JsonObject = {**self.entered.turn, "incarnation": self.writer.incarnation, "status": status}
        if code is not None:
            owed["code"] = code
        if status == AgentStatus.SUSPENDED:
            owed["pauses"] = self.is_fenced
        return owed

    def begin_after(self, sequence: int) -> None:
        """Say where the turn's chunks begin: after this one, or after a later one that is known."""
        self.entered.turn["from"] = max(cast("int", self.entered.turn["from"]), sequence)
