"""The parts of an entered turn."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from agents_store_cloudflare.contract.errors import StreamError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.state.records import AgentStatus
from agents_store_cloudflare.contract.usage.budgets import Reservation
from agents_store_cloudflare.locks.lock import DurableObjectLock
from agents_store_cloudflare.state.turn_records import EnteredTurn, TurnHome
from agents_store_cloudflare.state.turn_store import D1TurnStore
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.writer import DurableObjectStreamWriter
from agents_store_cloudflare.turns.options import TurnOptions

__all__ = ["TurnParts", "opening_logged"]

_logger = logging.getLogger("agents_store_cloudflare.turns")


@dataclass(slots=True, kw_only=True)
class TurnParts:
    """The parts that the block has acquired for a turn.

    Attributes:
        owed: the closing chunks of earlier turns that their streams may still miss.
        opening: the task that opens the writer.
        home: the home that keeps the session with its lock and its stream, or None.
    """

    options: TurnOptions
    state_store: D1TurnStore
    streams: DurableObjectStreamManager
    lock: DurableObjectLock
    entered: EnteredTurn
    writer: DurableObjectStreamWriter | None
    reservation: Reservation | None
    owed: list[JsonObject] = field(default_factory=list[JsonObject])
    opening: Awaitable[None] | None = None
    home: TurnHome | None = None

    @property
    def stream_id(self) -> str:
        """The stream of the session."""
        return cast("str", self.entered.turn["streamId"])

    @property
    def is_fenced(self) -> bool:
        """True when the stream belongs to this session alone.

        A stream that sessions share gets no token, and a turn does not pause it.
        """
        return bool(self.entered.turn["fenced"])

    @property
    def is_stream_at_home(self) -> bool:
        """Whether the turn's stream changes in one transaction with its session."""
        return self.home is not None and self.writer is not None and self.is_fenced

    @property
    def takes_closing_along(self) -> bool:
        """Whether the last commit writes the closing chunk itself. It does not pass the chunks that earlier turns owe."""
        return self.is_stream_at_home and not self.owed

    def closing(self, status: str, code: str | None) -> JsonObject | None:
        """Return the closing chunk that the stream gets at the end of the turn, or None for a turn without a stream."""
        if self.writer is None:
            return None
        owed: JsonObject = {**self.entered.turn, "incarnation": self.writer.incarnation, "status": status}
        if code is not None:
            owed["code"] = code
        if status == AgentStatus.SUSPENDED:
            owed["pauses"] = self.is_fenced
        return owed

    def begin_after(self, sequence: int) -> None:
        """Note that the turn's chunks begin after this sequence. A later sequence that is known already stays."""
        self.entered.turn["from"] = max(cast("int", self.entered.turn["from"]), sequence)


@contextmanager
def opening_logged(turn_id: str) -> Generator[None, None, None]:
    """Log the error of a stream that cannot be opened now: the first flush tries again."""
    try:
        yield
    except StreamError:
        _logger.warning("the stream of turn %r could not be opened yet", turn_id, exc_info=True)
