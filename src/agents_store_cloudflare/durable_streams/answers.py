"""The answers of a stream's object to the protocol's HTTP requests."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from agents_store_cloudflare.contract.errors import AgentsStoreError
from agents_store_cloudflare.durable_streams.core import Accepted, ProtocolLog
from agents_store_cloudflare.durable_streams.cursors import cursor_of
from agents_store_cloudflare.durable_streams.live import LiveFeeds
from agents_store_cloudflare.durable_streams.messages import body_of
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.requests import READ_HEADER, Read, parse_append, parse_creation
from agents_store_cloudflare.durable_streams.stream_facts import facts_of, life_of, offset_in
from agents_store_cloudflare.objects import ObjectHost
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.log import Page, StreamLog
from agents_store_cloudflare.streams.protocol_state import JSON_TYPE, media_type

__all__ = ["BEGUN_HEADER", "DUE_HEADER", "LIFE_HEADER", "SECURITY_HEADERS", "ProtocolAnswers", "StreamStage", "created"]

PAGE_BYTES: Final = 1024 * 1024
SHOWN_BYTES: Final = 256 * 1024

SECURITY_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "cross-origin",
    "content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
}
"""The headers of every answer. With them a stored page that a browser shows runs and loads nothing, and has no origin."""

SHOWN_TYPES: Final = frozenset({JSON_TYPE, "text/plain"})
"""The content types that a browser may show at a stream's address. It downloads all other types."""

DUE_HEADER: Final = "agents-due-ms"
"""The header with the time at which the stream expires unless somebody reads or writes it. It is for the subscription index."""

LIFE_HEADER: Final = "agents-life"
"""The header with the number of the stream's life. It is for the subscription index."""

BEGUN_HEADER: Final = "agents-begun"
"""The header that tells the subscription index the last sequence before the stream's life, if that is not its first one."""

NO_STORE: Final = {"cache-control": "no-store"}
PAGE_CACHE: Final = "private, max-age=60, stale-while-revalidate=300"


class StreamStage(Protocol):
    """The object of the stream. It tells listeners and waiting requests about each change."""

    def living(self, log: StreamLog) -> StreamHead | None:
        """Return the head of the stream, or None. A stream that has expired is gone."""
        ...

    def changed(self, log: StreamLog, before: StreamHead | None, after: StreamHead | None) -> None:
        """Tell them that the stream was made, closed or deleted."""
        ...

    def appended(self, log: StreamLog, first_sequence: int, lines: str) -> None:
        """Tell them that messages were stored."""
        ...

    def until(self, is_there: Callable[[], bool], wait_ms: int) -> Awaitable[None]:
        """Return when the condition holds, or the time is up."""
        ...


class ProtocolAnswers:
    """The answers of one stream's object to requests of the protocol.

    No write contains an await, so no other request runs during a write.
    """

    def __init__(self, host: ObjectHost, stage: StreamStage, feeds: LiveFeeds, logger: logging.Logger) -> None:
        self._host = host
        self._stage = stage
        self._feeds = feeds
        self._logger = logger

    async def answer(self, log: StreamLog, rules: ProtocolLog, request: HttpRequest) -> HttpResponse:
        """Answer a PUT, POST, GET or HEAD. Errors are JSON, and no traceback leaves the object."""
        try:
            answer = await self._dispatched(log, rules, request)
        except Refusal as refusal:
            answer = refusal.response()
        except AgentsStoreError as error:
            answer = HttpResponse.of_error(error)
        except Exception as error:  # noqa: BLE001 - whatever it is
            answer = HttpResponse.of_failure(error, self._logger)
        answer = answer.with_headers(SECURITY_HEADERS)
        return answer.without_body() if request.method == "HEAD" else answer

    async def _dispatched(self, log: StreamLog, rules: ProtocolLog, request: HttpRequest) -> HttpResponse:
        match request.method:
            case "PUT":
                return self._create(log, rules, request)
            case "POST":
                return self._append(log, rules, request)
            case "GET":
                return await self._read(log, rules, request)
            case "HEAD":
                self._stage.living(log)
                return _described(rules.existing())
            case _:
                headers = {"allow": "GET, HEAD, POST, PUT, DELETE, OPTIONS"}
                raise Refusal(405, "method_not_allowed", "streams allow PUT, POST, GET, HEAD and DELETE", headers)

    def _create(self, log: StreamLog, rules: ProtocolLog, request: HttpRequest) -> HttpResponse:
        creation = parse_creation(request)
        before = self._stage.living(log)
        head, is_new = rules.create(creation, now_ms=self._host.now_ms())
        self._stage.changed(log, before, head)
        return created(head, request.url, is_new=is_new)

    def _append(self, log: StreamLog, rules: ProtocolLog, request: HttpRequest) -> HttpResponse:
        append = parse_append(request)
        before = self._stage.living(log)
        accepted = rules.append(append, now_ms=self._host.now_ms())
        if accepted.stored_after is not None:
            self._show(log, rules, accepted.stored_after, accepted.lines)
        self._stage.changed(log, before, accepted.head)
        return _accepted(accepted)

    def _show(self, log: StreamLog, rules: ProtocolLog, after: int, lines: str | None) -> None:
        """Send the stored messages to the live readers: at once, or page by page if they are large."""
        if lines is not None:
            self._stage.appended(log, after + 1, lines)
            return
        last_sequence = rules.existing().last_sequence
        while after < last_sequence:
            page = rules.read(after, max_bytes=SHOWN_BYTES)
            self._stage.appended(log, page.first_sequence, page.body)
            after = page.last_sequence

    async def _read(self, log: StreamLog, rules: ProtocolLog, request: HttpRequest) -> HttpResponse:
        read = Read.from_header(request.header(READ_HEADER) or "")
        self._stage.living(log)
        sequence = rules.position(read.position)
        rules.touch(now_ms=self._host.now_ms())
        if read.live == "sse":
            return self._events(log, rules, sequence, read)
        if read.live == "long-poll":
            await self._stage.until(lambda: self._has_news(log, rules, read, sequence), read.wait_ms)
            self._stage.living(log)
            sequence = _sequence_now(rules, read, sequence)
        return self._page(rules, sequence, read)

    def _has_news(self, log: StreamLog, rules: ProtocolLog, read: Read, sequence: int) -> bool:
        self._stage.living(log)
        head = rules.existing()
        return head.is_closed or head.last_sequence != _sequence_now(rules, read, sequence)

    def _events(self, log: StreamLog, rules: ProtocolLog, sequence: int, read: Read) -> HttpResponse:
        log.head_from(sequence)
        facts = facts_of(rules.existing())
        encoding = {} if facts.is_json or facts.is_text else {"stream-sse-data-encoding": "base64"}
        headers = {"content-type": "text/event-stream", "cache-control": "no-cache", **encoding}
        return HttpResponse(status=200, headers=headers, body=self._feeds.add(log, sequence, read.cursor).stream)

    def _page(self, rules: ProtocolLog, sequence: int, read: Read) -> HttpResponse:
        head = rules.existing()
        page = rules.read(sequence, max_bytes=PAGE_BYTES)
        is_at_end = page.last_sequence == head.last_sequence
        is_closed = is_at_end and head.is_closed
        headers = {
            "content-type": facts_of(head).content_type,
            "stream-next-offset": offset_in(head, page.last_sequence),
        }
        if is_at_end:
            headers["stream-up-to-date"] = "true"
        if is_closed:
            headers["stream-closed"] = "true"
        if read.live is not None and not is_closed:
            headers["stream-cursor"] = cursor_of(self._host.now_ms(), read.cursor)
        if read.live is not None and page.count == 0:
            del headers["content-type"]
            return HttpResponse(status=204, headers={**headers, **NO_STORE})
        if read.position == "now":
            headers["cache-control"] = "no-store"
        else:
            headers["cache-control"] = PAGE_CACHE
            headers["etag"] = _etag(head, sequence, page, is_closed=is_closed)
            if _is_known(read.if_none_match, headers["etag"]):
                return HttpResponse(status=304, headers=headers)
        if media_type(headers["content-type"]) not in SHOWN_TYPES:
            headers["content-disposition"] = "attachment"
        body = body_of(facts_of(head), page.body) if page.count else _nothing(head)
        return HttpResponse(status=200, headers=headers, body=body)


def _sequence_now(rules: ProtocolLog, read: Read, sequence: int) -> int:
    """Return the sequence of a waiting reader's offset. The offset is checked again, because the stream may have begun anew meanwhile."""
    return sequence if read.position == "now" else rules.position(read.position)


def created(head: StreamHead, url: str, *, is_new: bool) -> HttpResponse:
    """Return the answer to PUT."""
    headers = {"content-type": facts_of(head).content_type, **_place(head), **NO_STORE}
    if is_new:
        headers["location"] = url.partition("?")[0]
    return HttpResponse(status=201 if is_new else 200, headers=headers)


def _accepted(accepted: Accepted) -> HttpResponse:
    headers = {**_place(accepted.head), **NO_STORE}
    producer = accepted.producer
    status = 204 if producer is None or accepted.stored_after is None else 200
    if producer is not None:
        headers |= {"producer-epoch": str(producer.epoch), "producer-seq": str(accepted.producer_seq)}
    return HttpResponse(status=status, headers=headers)


def _described(head: StreamHead) -> HttpResponse:
    facts = facts_of(head)
    headers = {"content-type": facts.content_type, **_place(head), **NO_STORE}
    if facts.ttl_s is not None:
        headers["stream-ttl"] = str(facts.ttl_s)
    if facts.expires_at is not None:
        headers["stream-expires-at"] = facts.expires_at
    return HttpResponse(status=200, headers=headers)


def _place(head: StreamHead) -> dict[str, str]:
    place = {"stream-next-offset": offset_in(head, head.last_sequence), LIFE_HEADER: str(life_of(head))}
    if head.is_closed:
        place["stream-closed"] = "true"
    if head.due_ms is not None:
        place[DUE_HEADER] = str(head.due_ms)
    if head.begun_after:
        place[BEGUN_HEADER] = str(head.begun_after)
    return place


def _nothing(head: StreamHead) -> str:
    return "[]" if facts_of(head).is_json else ""


def _etag(head: StreamHead, sequence: int, page: Page, *, is_closed: bool) -> str:
    closure = ":c" if is_closed else ""
    return f'"{head.created_at:x}{head.incarnation}:{sequence}:{page.last_sequence}{closure}"'


def _is_known(if_none_match: str | None, etag: str) -> bool:
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags
