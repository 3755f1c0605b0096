"""A turn in its home. It enters in one call. Its commit, the last chunks, the closing chunk and the release are one call too."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace

from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.database import HomeNumber
from agents_store_cloudflare.locks.companions import Releasing
from agents_store_cloudflare.objects.companion import Companion
from agents_store_cloudflare.state.turn_records import TurnCommit, TurnHome
from agents_store_cloudflare.streams.manager import closing_arguments
from agents_store_cloudflare.streams.stream_client import reply_of, request_text
from agents_store_cloudflare.streams.writer import DurableObjectStreamWriter
from agents_store_cloudflare.turns.closings import closing_facts, closing_text
from agents_store_cloudflare.turns.parts import TurnParts, opening_logged

__all__ = ["Opening", "with_companions"]


@asynccontextmanager
async def with_companions(
    parts: TurnParts, home: TurnHome, commit: TurnCommit, closing: JsonObject | None
) -> AsyncGenerator[TurnCommit, None]:
    """Give the block the commit with the calls that are sent with it.

    Args:
        home: the session's home.
        closing: the closing chunk of the turn, or None.
    """
    writer = parts.writer
    travelling = writer.travelling() if writer is not None and parts.is_stream_at_home else nullcontext(None)
    async with travelling as chunks:
        others: list[Companion] = [] if chunks is None else [chunks]
        if chunks is not None:
            commit = replace(commit, end_sequence=HomeNumber("sequence", chunks.last_sequence))
        elif writer is not None:
            commit = replace(commit, end_sequence=writer.last_sequence)
        if closing is not None:
            others.append(_Closing(closing, parts.state_store.now_ms()))
        if commit.ended_at is not None:
            others.append(Releasing(parts.lock))
        is_last = commit.ended_at is not None
        yield replace(commit, database=home.committing(others, is_last=is_last)) if others else commit


class Opening:
    """The opening of a writer as a `Companion` in the call that enters its turn."""

    def __init__(self, writer: DurableObjectStreamWriter, turn_id: str) -> None:
        self._writer = writer
        self._turn_id = turn_id

    def request(self) -> str:
        return self._writer.open_request()

    def hear(self, reply: str) -> None:
        with opening_logged(self._turn_id):
            self._writer.open_heard(reply)

    def settle(self) -> None:
        """Do nothing, because after a lost reply the first flush opens the writer."""


class _Closing:
    """The closing chunk as a `Companion` in the call that commits its turn."""

    def __init__(self, owed: JsonObject, now_ms: int) -> None:
        self._stream_id = str(owed["streamId"])
        self._request = request_text(
            self._stream_id, "close_turn", closing_arguments(**closing_facts(owed)), closing_text(owed, now_ms)
        )

    def request(self) -> str:
        return self._request

    def hear(self, reply: str) -> None:
        reply_of(self._stream_id, reply)

    def settle(self) -> None:
        """Do nothing, because the chunk is stored once, even if it is sent several times."""
