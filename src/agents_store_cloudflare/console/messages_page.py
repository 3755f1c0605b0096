"""The messages of a session page by page, and the page of one whole message."""

from __future__ import annotations

from typing import cast

from agents_store_cloudflare.console.asking import Asked, Shown
from agents_store_cloudflare.console.html import Markup, element as h, joined
from agents_store_cloudflare.console.layout import more, note, tabs
from agents_store_cloudflare.console.messages import messages_list
from agents_store_cloudflare.console.session_page import summary_of
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.state.records import MessagePage

__all__ = ["message_page", "messages_page"]

PAGE = 25


async def messages_page(asked: Asked) -> Shown:
    """Return a page of 25 messages: the last messages, or the messages from a sequence on."""
    session = await summary_of(asked)
    given = asked.number("from")
    first = max(0, session.message_count - PAGE) if given is None else given
    page = await asked.sources.states.get_messages(session.session_id, offset=first, limit=PAGE)
    data = {"sessionId": session.session_id, "first": first, **page.to_dict()}
    return Shown(
        title=f"{session.session_id}: messages", data=data, body=lambda: _body(asked, session.session_id, first, page)
    )


def _body(asked: Asked, session_id: str, first: int, page: MessagePage) -> Markup:
    whole = {
        first + place: asked.link("message", id=session_id, n=first + place) for place in range(len(page.messages))
    }
    last = first + len(page.messages)
    earlier = asked.link("messages", id=session_id, from_=max(0, first - PAGE)) if first else None
    later = asked.link("messages", id=session_id, from_=last) if page.has_more else None
    paging = more(("Earlier", earlier), ("Later", later))
    count = h("p", f"Messages {first:,} to {last - 1:,} of {page.total:,}.") if page.messages else None
    return joined(
        tabs(asked, session_id),
        count or note("plain", "No messages here."),
        paging,
        messages_list(page.messages, first, whole),
        paging,
    )


async def message_page(asked: Asked) -> Shown:
    """Return the page of one whole message."""
    session_id, number = asked.session_id(), asked.number("n")
    if number is None:
        raise InvalidArgumentError("the parameter 'n' is missing")
    page = await asked.sources.states.get_messages(session_id, offset=number, limit=1)
    if not page.messages:
        raise InvalidArgumentError(f"session {session_id!r} has no message {number:,}")
    back = h("p", h("a", "All messages", href=asked.link("messages", id=session_id, from_=number)))
    return Shown(
        title=f"{session_id}: message {number:,}",
        data={"sessionId": session_id, "sequence": number, "message": cast("JsonObject", page.messages[0])},
        body=lambda: joined(tabs(asked, session_id), back, messages_list(page.messages, number, None)),
    )
