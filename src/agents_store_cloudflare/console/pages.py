"""The pages of the console by their names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from agents_store_cloudflare.console.asking import Asked, Shown
from agents_store_cloudflare.console.budgets_page import budgets_page
from agents_store_cloudflare.console.history_pages import checkpoints_page, runs_page
from agents_store_cloudflare.console.messages_page import message_page, messages_page
from agents_store_cloudflare.console.session_page import session_page
from agents_store_cloudflare.console.sessions_page import sessions_page
from agents_store_cloudflare.console.state_page import compare_page, state_page, value_page
from agents_store_cloudflare.console.stream_page import stream_page
from agents_store_cloudflare.console.usage_page import usage_csv, usage_page
from agents_store_cloudflare.contract.errors import StreamError
from agents_store_cloudflare.streams.event_requests import position_of

__all__ = ["FILES", "PAGES"]

PAGES: Final[Mapping[str, Callable[[Asked], Awaitable[Shown]]]] = {
    "": sessions_page,
    "session": session_page,
    "messages": messages_page,
    "message": message_page,
    "state": state_page,
    "value": value_page,
    "compare": compare_page,
    "checkpoints": checkpoints_page,
    "runs": runs_page,
    "stream": stream_page,
    "usage": usage_page,
    "budgets": budgets_page,
}


async def live_events(asked: Asked) -> object:
    """Return the stream of the parameter `stream` as Server-Sent Events, from `from` or `Last-Event-ID` on.

    Its object makes the answer.

    Raises:
        StreamError: this console has no streams.
    """
    objects = asked.sources.objects
    if objects is None:
        raise StreamError("this console has only a database and cannot read streams")
    stream_id = asked.session_id("stream")
    return await objects.stream_client.fetch(stream_id, {"Last-Event-ID": str(position_of(asked.request))})


FILES: Final[Mapping[str, Callable[[Asked], Awaitable[object]]]] = {"api/events": live_events, "usage.csv": usage_csv}
"""The answers that are no pages: path below the prefix -> the function that makes the answer."""
