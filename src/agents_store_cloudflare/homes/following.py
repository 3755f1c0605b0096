"""Following a session from a Worker: its newest summary after each commit."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from agents_store_cloudflare.contract.errors import StateNotFoundError
from agents_store_cloudflare.contract.json_values import JsonValue, decode_json
from agents_store_cloudflare.contract.state.summaries import SessionSummary
from agents_store_cloudflare.homes.database import ObjectHomes
from agents_store_cloudflare.homes.wire import WATCH

__all__ = ["follow"]

WAIT_MS: Final = 25_000


async def follow(homes: ObjectHomes, session_id: str) -> AsyncGenerator[SessionSummary, None]:
    """Yield the newest summary of a session, and a newer one after each commit, until the session is deleted.

    Raises:
        StateNotFoundError: there is no such session.
        D1StateError: the home gave no reply.
    """
    known: str | None = None
    life: JsonValue = None
    while True:
        arguments: dict[str, JsonValue] = {"session": session_id, "known": known, "life": life, "waitMs": WAIT_MS}
        try:
            reply = await homes.ask(session_id, WATCH, arguments)
        except StateNotFoundError:
            if known is None:
                raise
            return
        life = reply.head["ok"]
        if reply.payload != known:
            known = reply.payload
            yield SessionSummary.from_dict(decode_json(known))  # type: ignore[arg-type]
