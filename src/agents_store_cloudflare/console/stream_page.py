"""The stream of a session: its status, its chunks, and new chunks as they come."""

from __future__ import annotations

import json
from typing import Any, Final

from agents_store_cloudflare.console.asking import Asked, Shown
from agents_store_cloudflare.console.html import Child, Markup, element as h, joined
from agents_store_cloudflare.console.layout import facts, more, note, tabs
from agents_store_cloudflare.console.session_page import summary_of
from agents_store_cloudflare.console.streams import ChunkPage, chunks_after
from agents_store_cloudflare.console.text import age, clock, cut, one_line, pretty_json
from agents_store_cloudflare.contract.streams.records import StreamInfo

__all__ = ["stream_page"]

PAGE: Final = 50


async def stream_page(asked: Asked) -> Shown:
    """Return a page of 50 chunks: the last chunks, or the chunks after a position."""
    session = await summary_of(asked)
    objects = asked.sources.objects
    info = None if objects is None else await objects.streams.get_info(session.stream_id)
    title = f"{session.session_id}: stream"
    if objects is None or info is None:
        missing = (
            "Streams live in Durable Objects and cannot be read from here."
            if objects is None
            else "There is no stream."
        )
        return Shown(
            title=title,
            data={"stream": None, "chunks": []},
            body=lambda: joined(tabs(asked, session.session_id), note("plain", missing)),
        )
    after = asked.number("after")
    page = await chunks_after(asked.sources, info, info.last_sequence - PAGE if after is None else after)
    page = ChunkPage(first=page.first, chunks=page.chunks[:PAGE], last_sequence=page.last_sequence)
    data: Any = {"stream": info.to_dict(), "first": page.first, "chunks": [*page.chunks]}
    return Shown(title=title, data=data, body=lambda: _body(asked, session.session_id, info, page))


def _body(asked: Asked, session_id: str, info: StreamInfo, page: ChunkPage) -> Markup:
    last = page.first + len(page.chunks) - 1
    is_end = last >= page.last_sequence
    earlier = max(info.first_sequence - 1, page.first - 1 - PAGE)
    return joined(
        tabs(asked, session_id),
        facts(
            [
                ("Stream", info.stream_id),
                ("Status", info.status),
                ("Ended as", info.end_status),
                ("Error", info.error),
                ("Chunks", f"{info.count:,}, {info.first_sequence:,} to {info.last_sequence:,}"),
                ("Writers", str(info.writers)),
                ("Written", f"{age(info.updated_at, asked.now_ms)} ago"),
                (
                    "Output",
                    None if info.output is None else h("pre", cut(pretty_json(info.output), 1000)[0], class_="code"),
                ),
            ]
        ),
        _acts(asked, session_id, info),
        more(
            (
                "Earlier chunks",
                asked.link("stream", id=session_id, after=earlier) if page.first > info.first_sequence else None,
            ),
            ("Later chunks", None if is_end else asked.link("stream", id=session_id, after=last)),
            ("To the end", None if is_end else asked.link("stream", id=session_id)),
        ),
        h(
            "ol",
            [_chunk(chunk, page.first + place) for place, chunk in enumerate(page.chunks)],
            **_live(asked, info, last, is_end),
        ),
        h("p", "Reload the page to see what has come since." if is_end else None, id="live", role="status"),
    )


def _live(asked: Asked, info: StreamInfo, last: int, is_end: bool) -> dict[str, str | int | bool | None]:  # noqa: FBT001
    follows = is_end and info.status == "active"
    address = asked.link("api/events", stream=info.stream_id, from_=max(last, 0))
    return {"class_": "chunks", "id": "chunks", "data_events": address if follows else None}


def _acts(asked: Asked, session_id: str, info: StreamInfo) -> Child:
    if info.status not in ("active", "paused"):
        return None
    return more(
        ("End this stream", asked.link("act/end-stream", id=session_id)),
        ("Fail this stream", asked.link("act/fail-stream", id=session_id)),
    )


def _chunk(chunk: dict[str, Any], sequence: int) -> Markup:
    text = next((chunk[key] for key in ("text", "delta", "content", "token") if isinstance(chunk.get(key), str)), None)
    hint = one_line(text if text is not None else json.dumps(chunk, ensure_ascii=False), 100)
    at = chunk.get("timestamp")
    time = h("small", f" {clock(at)}") if isinstance(at, int) and not isinstance(at, bool) else None
    body, is_cut = cut(pretty_json(chunk), 20_000)
    summary = h("summary", h("b", one_line(str(chunk.get("type")), 40)), " ", hint, time)
    rest = h("p", f"Cut at {len(body):,} characters.") if is_cut else None
    return h("li", h("details", summary, h("pre", body, class_="code"), rest), value=sequence)
