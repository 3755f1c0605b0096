"""The live readers of a stream over the protocol's Server-Sent Events.

A `data` event has messages, and a `control` event follows each.

An append is encoded once and pushed to every reader that is caught up. A reader whose body is full gets pages from the log when
there is room again. A connection ends by itself after a minute, and its client comes back with its offset. So a client that has
vanished is kept for at most a minute.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Final, cast

from agents_store_cloudflare.durable_streams.cursors import cursor_of
from agents_store_cloudflare.durable_streams.messages import body_of
from agents_store_cloudflare.durable_streams.stream_facts import facts_of, offset_in
from agents_store_cloudflare.objects import EventBody, ObjectHost
from agents_store_cloudflare.streams.body_ends import BodyEnds
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.protocol_state import ProtocolState

__all__ = ["LiveFeed", "LiveFeeds", "data_event"]

PAGE_BYTES: Final = 64 * 1024
TICK_MS: Final = 15_000
LIFE_MS: Final = 60_000

_LINE_END = re.compile(r"\r\n|\n|\r")


class LiveFeeds:
    """The live readers of one stream. These calls do not raise when a reader fails."""

    def __init__(self, host: ObjectHost, ends: BodyEnds, logger: logging.Logger) -> None:
        self._host = host
        self._ends = ends
        self._logger = logger
        self._feeds: set[LiveFeed] = set()
        self._cancel_timer: Callable[[], None] | None = None

    def add(self, log: StreamLog, sequence: int, cursor: int | None) -> EventBody:
        """Add a reader that has all messages up to `sequence`. Return the body of the answer."""
        body = self._host.event_body()
        feed = LiveFeed(self, log, body, sequence, cursor, now_ms=self._host.now_ms)
        body.feed_from(feed)
        self._feeds.add(feed)
        if self._cancel_timer is None:
            self._cancel_timer = self._host.call_later(TICK_MS, self._tick)
        return body

    def remove(self, feed: LiveFeed) -> None:
        """Forget a reader. When no reader is left, the timer ends, so that the object may sleep."""
        self._feeds.discard(feed)
        if not self._feeds and self._cancel_timer is not None:
            self._cancel_timer()
            self._cancel_timer = None

    def appended(self, head: StreamHead, lines: str, first_sequence: int) -> None:
        """Push new messages, page by page, to every reader that is caught up. `closed` is True if the stream was closed with them."""
        if not any(feed.is_live for feed in self._feeds):
            return
        facts = facts_of(head)
        for page in _pages(lines):
            event = data_event(facts, "\n".join(page))
            last_sequence = first_sequence + len(page) - 1
            for feed in [feed for feed in self._feeds if feed.is_live]:
                feed.offer(event, head, first_sequence, last_sequence)
            first_sequence = last_sequence + 1

    def closed(self, head: StreamHead) -> None:
        """Tell every reader that is caught up that the stream is closed."""
        for feed in [feed for feed in self._feeds if feed.is_live]:
            feed.finish(head)

    def broken_off(self) -> None:
        """End all connections: the stream is gone or begins anew, so the readers have to ask again."""
        for feed in list(self._feeds):
            feed.end()

    def end(self, body: EventBody) -> None:
        """End a body after the events that it holds."""
        self._ends.end(body)

    @contextmanager
    def serving(self, feed: LiveFeed) -> Generator[None, None, None]:
        """Log a failure inside the block, and end this reader alone."""
        try:
            yield
        except Exception:
            self._logger.exception("a live reader was disconnected: incident %s", secrets.token_hex(6))
            feed.end()

    def _tick(self) -> None:
        self._cancel_timer = self._host.call_later(TICK_MS, self._tick)
        for feed in list(self._feeds):
            feed.tick()


class LiveFeed:
    """One reader's place in the stream.

    Attributes:
        is_live: the reader has all stored messages, and new messages are pushed to it.
    """

    def __init__(
        self,
        feeds: LiveFeeds,
        log: StreamLog,
        body: EventBody,
        sequence: int,
        cursor: int | None,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._feeds = feeds
        self._log = log
        self._body = body
        self._sequence = sequence
        self._cursor = cursor
        self._now_ms = now_ms
        self._ends_ms = now_ms() + LIFE_MS
        self._is_over = False
        self.is_live: bool = False

    def pull(self) -> None:
        """Push more frames, because the body has room."""
        if not self.is_live and not self._is_over:
            with self._feeds.serving(self):
                self._push_page()

    def cancel(self) -> None:
        """Stop, because the client is gone."""
        self._is_over = True
        self._feeds.remove(self)

    def offer(self, event: str, head: StreamHead, first_sequence: int, last_sequence: int) -> None:
        """Push new messages. A reader whose body is full falls behind, and reads the log when there is room again."""
        with self._feeds.serving(self):
            if self._sequence != first_sequence - 1:
                self._push_page()
                return
            is_at_end = last_sequence == head.last_sequence
            if self._push(event + self._control(head, last_sequence, is_at_end=is_at_end)):
                self._sequence = last_sequence

    def finish(self, head: StreamHead) -> None:
        """Push the event of the closure, and end."""
        with self._feeds.serving(self):
            self._push_last(self._control(head, head.last_sequence, is_at_end=True))

    def tick(self) -> None:
        """Send a keep-alive, or end the connection when its minute is over."""
        has_read = self._body.has_read()
        if self._now_ms() >= self._ends_ms:
            self.end() if has_read else self._break_off()
        elif self.is_live:
            with self._feeds.serving(self):
                head = self._log.existing_head()
                # A full body needs no keep-alive: it shows whether the client reads.
                self._body.push(self._control(head, self._sequence, is_at_end=True))

    def end(self) -> None:
        """End the body. This reader gets no more events."""
        self.cancel()
        with suppress(Exception):
            self._feeds.end(self._body)

    def _break_off(self) -> None:
        """End the body at once, and drop the bytes that the client has not read."""
        self.cancel()
        with suppress(Exception):
            self._body.break_off()

    def _push_page(self) -> None:
        head = self._log.existing_head()
        page = self._log.read(self._sequence, max_bytes=PAGE_BYTES)
        is_at_end = page.last_sequence == head.last_sequence
        event = data_event(facts_of(head), page.body) if page.count else ""
        frames = event + self._control(head, page.last_sequence, is_at_end=is_at_end)
        if is_at_end and head.is_closed:
            self._push_last(frames)
        elif self._push(frames):
            self._sequence, self.is_live = page.last_sequence, is_at_end

    def _push(self, frames: str) -> bool:
        is_taken = self._body.push(frames)
        if not is_taken:
            self.is_live = False
        return is_taken

    def _push_last(self, frames: str) -> None:
        if self._push(frames):
            self.end()

    def _control(self, head: StreamHead, sequence: int, *, is_at_end: bool) -> str:
        facts: dict[str, str | bool] = {"streamNextOffset": offset_in(head, sequence)}
        if is_at_end:
            facts["upToDate"] = True
        if is_at_end and head.is_closed:
            facts["streamClosed"] = True
        else:
            facts["streamCursor"] = cursor_of(self._now_ms(), self._cursor)
        return f"event: control\ndata:{json.dumps(facts, separators=(',', ':'))}\n\n"


def _pages(lines: str) -> Iterator[list[str]]:
    """Yield the messages in groups of about `PAGE_BYTES`."""
    page: list[str] = []
    size = 0
    for text in lines.split("\n"):
        if page and size + len(text) > PAGE_BYTES:
            yield page
            page, size = [], 0
        page.append(text)
        size += len(text)
    yield page


def data_event(facts: ProtocolState, lines: str) -> str:
    """Return messages as one `data` event: a JSON array, text, or base64."""
    body = body_of(facts, lines)
    if facts.is_json:
        return f"event: data\ndata:{cast('str', body)}\n\n"
    raw = cast("bytes", body)
    if not facts.is_text:
        return f"event: data\ndata:{base64.b64encode(raw).decode()}\n\n"
    # A client drops one space after the colon, so a line that begins with a space needs a second space.
    lines_of_text = _LINE_END.split(raw.decode(errors="replace"))
    text = "\n".join(f"data: {line}" if line.startswith(" ") else f"data:{line}" for line in lines_of_text)
    return f"event: data\n{text}\n\n"
