"""The conformance tests of the Durable Streams protocol over a namespace of `StreamServer`. Subclass `DurableStreamsConformance`.

Each test names the clauses of docs/guarantees.md that it proves.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from agents_store_cloudflare.durable_streams.face import DurableStreams
from agents_store_cloudflare.durable_streams.offsets import offset_of
from agents_store_cloudflare.gateway import StreamGateway
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.testing.conformance.fixtures import Time

__all__ = ["DurableStreamsConformance", "Reply", "reply_of"]

ROOT = "https://streams.example"
JSON = {"content-type": "application/json"}
TEXT = {"content-type": "text/plain"}


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the decoded body."""
        return json.loads(self.body)

    @property
    def offset(self) -> str:
        """Return the offset at which the next read begins."""
        return self.headers["stream-next-offset"]


def _producer(seq: int, *, epoch: int = 0, name: str = "p") -> dict[str, str]:
    return {**JSON, "producer-id": name, "producer-epoch": str(epoch), "producer-seq": str(seq)}


def reply_of(answer: HttpResponse) -> Reply:
    """Return an `HttpResponse` as a `Reply`."""
    body = answer.body
    raw = b"" if body is None else body.encode() if isinstance(body, str) else body
    assert isinstance(raw, bytes)
    return Reply(answer.status, dict(answer.headers), raw)


class DurableStreamsConformance:
    """The contract of the Durable Streams protocol."""

    @pytest.fixture
    def stream_namespace(self) -> ObjectNamespace:
        """The namespace under test."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def face(self, stream_namespace: ObjectNamespace) -> None:
        """A gateway with the protocol. Its names are used by no other test."""
        self.namespace: ObjectNamespace = stream_namespace
        self.root: str = f"{uuid.uuid4().hex}/"
        self.gateway: StreamGateway = StreamGateway(
            stream_namespace,
            authorize=lambda _request, _stream_id, _action: True,
            faces=[DurableStreams(stream_namespace, long_poll_timeout=0.2)],
        )

    async def whole(self, answer: HttpResponse) -> Reply:
        """Return an answer of the platform as a `Reply`."""
        return reply_of(answer)

    async def ask(
        self, method: str, path: str, body: bytes | str = b"", headers: dict[str, str] | None = None
    ) -> Reply:
        """Send a request about a stream of this test, and return the answer."""
        data = body.encode() if isinstance(body, str) else body
        url = f"{ROOT}/v1/stream/{self.root}{path}"
        request = HttpRequest(method=method, url=url, headers=headers or {}, body=data)
        return await self.whole(await self.gateway.handle(request))

    async def fork(self, path: str, source: str, headers: dict[str, str] | None = None) -> Reply:
        """Make a fork of another stream of this test, and return the answer."""
        return await self.ask(
            "PUT", path, b"", {"stream-forked-from": f"/v1/stream/{self.root}{source}", **(headers or {})}
        )

    async def test_creation(self) -> None:
        """DS-1: A PUT answers 201 for a new stream, 200 for a repetition and 409 for a different stream. A refused body stores nothing."""
        refused = await self.ask("PUT", "s", "[1, {", JSON)
        assert (refused.status, (await self.ask("GET", "s")).status) == (400, 404)
        made = await self.ask("PUT", "s", "[1, 2]", {**JSON, "stream-closed": "true"})
        assert (made.status, made.offset, made.headers["stream-closed"]) == (201, offset_of(2), "true")
        again = await self.ask("PUT", "s", "[3]", {"content-type": "APPLICATION/JSON", "stream-closed": "true"})
        assert (again.status, again.offset) == (200, offset_of(2))
        for other in (JSON, {**TEXT, "stream-closed": "true"}, {**JSON, "stream-closed": "true", "stream-ttl": "9"}):
            assert (await self.ask("PUT", "s", b"", other)).status == 409

    async def test_offsets(self) -> None:
        """DS-2: A read from each offset returns the later messages. The order of the offsets is the order of the messages."""
        places = [(await self.ask("PUT", "s", b"", JSON)).offset]
        places += [(await self.ask("POST", "s", str(number), JSON)).offset for number in range(12)]
        assert places == sorted(places)
        for have, place in enumerate(places):
            page = await self.ask("GET", f"s?offset={place}")
            assert (page.json, page.offset) == (list(range(have, 12)), places[-1])
        assert (await self.ask("GET", "s?offset=-1")).json == list(range(12))
        now = await self.ask("GET", "s?offset=now")
        assert (now.json, now.offset, now.headers["cache-control"]) == ([], places[-1], "no-store")

    async def test_json_exactly(self) -> None:
        """DS-3: JSON values come back exactly. The elements of an array are messages, and an empty array is no message."""
        values = [10**30, 1.0, -0.0, "\x00 \u2028 🎉", {"b": 1, "a": {"": None}}, [], [[1]], None, True]
        await self.ask("PUT", "s", json.dumps(values, ensure_ascii=False), JSON)
        page = await self.ask("GET", "s")
        assert page.body.decode() == json.dumps(values, ensure_ascii=False, separators=(",", ":"))
        assert page.offset == offset_of(len(values))
        assert (await self.ask("POST", "s", "[]", JSON)).status == 400
        assert (await self.ask("PUT", "empty", "[]", JSON)).offset == offset_of(0)
        assert (await self.ask("GET", "empty")).body == b"[]"

    async def test_bytes_exactly(self) -> None:
        """DS-3: Any bytes come back exactly, in any pieces and with any content type."""
        for content_type in ("text/plain", "application/octet-stream", 'x/y; a="b"'):
            path = content_type[:4].replace("/", "-")
            pieces = [b"\r\n", bytes(range(256)), "é漢🎉".encode() * 100_000, b"\xe6\xbc", b"\xa2"]
            await self.ask("PUT", path, pieces[0], {"content-type": content_type})
            for piece in pieces[1:]:
                assert (await self.ask("POST", path, piece, {"content-type": content_type})).status == 204
            received, place = b"", "-1"
            while True:
                page = await self.ask("GET", f"{path}?offset={place}")
                received, place = received + page.body, page.offset
                if "stream-up-to-date" in page.headers:
                    break
            assert (received, page.headers["content-type"]) == (b"".join(pieces), content_type)

    async def test_producers(self) -> None:
        """DS-4: A producer's requests are stored once each, in order, epoch by epoch."""
        await self.ask("PUT", "s", b"", JSON)
        assert (await self.ask("POST", "s", "0", _producer(1))).headers["producer-expected-seq"] == "0"
        assert [(await self.ask("POST", "s", str(n), _producer(n))).status for n in (0, 1, 2)] == [200, 200, 200]
        again = await self.ask("POST", "s", "1", _producer(1))
        assert (again.status, again.headers["producer-seq"], again.headers["producer-epoch"]) == (204, "2", "0")
        gap = await self.ask("POST", "s", "9", _producer(9))
        assert (gap.status, gap.headers["producer-expected-seq"], gap.headers["producer-received-seq"]) == (
            409,
            "3",
            "9",
        )
        assert (await self.ask("POST", "s", "x", _producer(3, epoch=1))).status == 400
        assert (await self.ask("POST", "s", "10", _producer(0, epoch=1))).status == 200
        stale = await self.ask("POST", "s", "3", _producer(3))
        assert (stale.status, stale.headers["producer-epoch"]) == (403, "1")
        assert (await self.ask("POST", "s", "20", _producer(0, name="p 0 q"))).status == 200
        assert (await self.ask("GET", "s")).json == [0, 1, 2, 10, 20]

    async def test_producers_of_an_earlier_life(self) -> None:
        """DS-2, DS-4, DS-11: A new stream at a used path knows no earlier producers.

        Its offsets go on, and the earlier stream's offsets are refused.
        """
        await self.ask("PUT", "s", b"", JSON)
        await self.ask("POST", "s", "0", _producer(0))
        assert (await self.ask("DELETE", "s")).status == 204
        assert [(await self.ask(method, "s")).status for method in ("GET", "HEAD", "DELETE")] == [404, 404, 404]
        start = (await self.ask("PUT", "s", b"", JSON)).offset
        assert start == offset_of(1, is_start=True)
        assert (await self.ask("POST", "s", "1", _producer(0))).status == 200
        assert (await self.ask("GET", "s")).json == [1]
        assert (await self.ask("GET", f"s?offset={start}")).json == [1]
        for mode in ("", "&live=long-poll", "&live=sse"):
            assert (await self.ask("GET", f"s?offset={offset_of(1)}{mode}")).status == 410
        for never in (0, 2):
            assert (await self.ask("GET", f"s?offset={offset_of(never, is_start=True)}")).status == 400

    async def test_pages_and_tags(self) -> None:
        """DS-5: Reads have pages and headers, and their entity tags change with the closure."""
        await self.ask("PUT", "s", b"", JSON)
        for number in range(4):
            await self.ask("POST", "s", json.dumps([number, "x" * 700_000]), JSON)
        first = await self.ask("GET", "s")
        assert "stream-up-to-date" not in first.headers
        rest = await self.ask("GET", f"s?offset={first.offset}")
        assert rest.headers["stream-up-to-date"] == "true"
        tag = {"if-none-match": f'"other", {rest.headers["etag"]}'}
        assert (await self.ask("GET", f"s?offset={first.offset}", headers=tag)).status == 304
        await self.ask("POST", "s", b"", {"stream-closed": "true"})
        closed = await self.ask("GET", f"s?offset={first.offset}", headers=tag)
        assert (closed.status, closed.headers["stream-closed"], closed.body) == (200, "true", rest.body)
        for answer in (first, closed, await self.ask("GET", "none"), await self.ask("HEAD", "s")):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cross-origin-resource-policy"] == "cross-origin"

    async def test_closing(self) -> None:
        """DS-8: A closed stream stays closed, and a repetition of the closing request is recognised."""
        await self.ask("PUT", "s", b"", JSON)
        closing = {**_producer(0), "stream-closed": "true"}
        assert (await self.ask("POST", "s", "[1, {", closing)).status == 400
        assert (await self.ask("POST", "s", "1", closing)).status == 200
        assert (await self.ask("POST", "s", "1", closing)).status == 204
        for body, headers in (("2", JSON), ("2", TEXT), ("2", _producer(1)), ("2", {**JSON, "stream-closed": "true"})):
            answer = await self.ask("POST", "s", body, headers)
            assert (answer.status, answer.headers["stream-closed"], answer.offset) == (409, "true", offset_of(1))
        assert (await self.ask("POST", "s", b"", {"stream-closed": "TRUE"})).status == 204
        poll = await self.ask("GET", f"s?offset={offset_of(1)}&live=long-poll")
        assert (poll.status, poll.headers["stream-closed"]) == (204, "true")
        assert (await self.ask("GET", "s")).json == [1]

    async def test_a_repetition_after_the_closure(self) -> None:
        """DS-4, DS-8: A stored request is recognised after somebody closed or paused the stream."""
        manager = DurableObjectStreamManager(self.namespace)
        await self.ask("PUT", "s", b"", JSON)
        for number in (0, 1):
            assert (await self.ask("POST", "s", str(number), _producer(number))).status == 200
        await manager.pause_stream(f"{self.root}s")
        assert [(await self.ask("POST", "s", str(n), _producer(n))).status for n in (0, 1, 2)] == [204, 204, 409]
        await manager.end_stream(f"{self.root}s")
        assert [(await self.ask("POST", "s", str(n), _producer(n))).status for n in (0, 1, 2)] == [204, 204, 409]
        assert (await self.ask("GET", "s")).json == [0, 1]

    async def test_writer_sequences(self) -> None:
        """DS-14: An append is refused if its `Stream-Seq` does not rise, compared byte by byte."""
        await self.ask("PUT", "s", b"", JSON)
        statuses = [
            (await self.ask("POST", "s", "1", {**JSON, "stream-seq": seq})).status for seq in ("a", "b", "b", "B", "ba")
        ]
        assert statuses == [204, 204, 409, 409, 204]

    async def test_time_to_live(self, clock: Time) -> None:
        """DS-9: Reads and writes prolong a stream's time to live, and HEAD does not. When the time is over, the stream is gone."""
        await self.ask("PUT", "s", b"", {**JSON, "stream-ttl": "3"})
        assert (await self.ask("HEAD", "s")).headers["stream-ttl"] == "3"
        for method, body in (("GET", ""), ("POST", "1"), ("GET", "")):
            await clock.advance(1.7)
            assert (await self.ask(method, "s", body, JSON)).status in (200, 204)
        await clock.advance(1.7)
        assert (await self.ask("HEAD", "s")).status == 200
        await clock.advance(1.7)
        assert (await self.ask("GET", "s")).status == 404
        assert (await self.ask("PUT", "s", b"", TEXT)).status == 201

    async def test_forks(self) -> None:
        """DS-10: A fork has the beginning of its source under the same offsets.

        Then it goes its own way, and knows no producers of the source.
        """
        await self.ask("PUT", "s", "[1, 2]", {**JSON, "stream-ttl": "3600"})
        await self.ask("POST", "s", "3", _producer(0))
        await self.ask("POST", "s", b"", {"stream-closed": "true"})
        assert (
            await self.fork("f", "s", {"stream-fork-offset": offset_of(1), "stream-fork-sub-offset": "1"})
        ).status == 201
        head = await self.ask("HEAD", "f")
        assert (head.offset, head.headers["stream-ttl"], head.headers["content-type"]) == (
            offset_of(2),
            "3600",
            "application/json",
        )
        assert (await self.ask("POST", "f", "4", _producer(0))).status == 200
        assert (await self.ask("GET", f"f?offset={offset_of(1)}")).json == [2, 4]
        assert (await self.fork("g", "f")).status == 201
        assert (await self.ask("GET", "g")).json == [1, 2, 4]
        assert (
            await self.fork("f", "s", {"stream-fork-offset": offset_of(1), "stream-fork-sub-offset": "1"})
        ).status == 200
        for other in ({}, {"stream-fork-offset": offset_of(0)}, {"stream-ttl": "9"}):
            assert (await self.fork("f", "s", other)).status == 409
        assert (await self.ask("GET", "s")).json == [1, 2, 3]

    async def test_forks_of_bytes(self) -> None:
        """DS-10: A sub-offset counts bytes. It may lie inside a character."""
        await self.ask("PUT", "s", "aé", TEXT)
        await self.ask("POST", "s", "bc", TEXT)
        for size, status in ((1, 201), (2, 201), (4, 201), (5, 201), (6, 400)):
            path = f"f{size}"
            place = {"stream-fork-offset": offset_of(0), "stream-fork-sub-offset": str(size)}
            assert (await self.fork(path, "s", place)).status == status
            if status == 201:
                assert (await self.ask("GET", path)).body == "aébc".encode()[:size]

    async def test_deleted_sources(self) -> None:
        """DS-11: Forks hold the path of a deleted source, and their own forks hold it too."""
        await self.ask("PUT", "a", "[1]", JSON)
        await self.fork("b", "a")
        await self.fork("c", "b")
        for path in ("a", "b"):
            assert (await self.ask("DELETE", path)).status == 204
            assert [(await self.ask(method, path)).status for method in ("GET", "DELETE")] == [410, 410]
            assert (await self.ask("PUT", path, b"", JSON)).status == 409
        assert (await self.fork("d", "a")).status == 409
        assert (await self.ask("GET", "c")).json == [1]
        assert (await self.ask("DELETE", "c")).status == 204
        assert [(await self.ask("GET", path)).status for path in ("a", "b", "c")] == [404, 404, 404]

    async def test_forks_that_expire(self, clock: Time) -> None:
        """DS-11: An expired fork no longer holds the path of its source."""
        await self.ask("PUT", "s", "[1]", JSON)
        await self.fork("f", "s", {"stream-ttl": "1"})
        await self.ask("DELETE", "s")
        assert (await self.ask("GET", "s")).status == 410
        await clock.advance(1.3)
        assert (await self.ask("GET", "s")).status == 404

    async def test_a_fork_where_nothing_was_stored(self) -> None:
        """DS-10, DS-11: A fork can be made at a used path that has given out no offset. Its offsets are those of its source."""
        for path in ("s", "f"):
            await self.ask("PUT", path, b"", JSON)
        await self.ask("POST", "s", "1", JSON)
        for path in ("s", "f"):
            assert (await self.ask("DELETE", path)).status == 204
        await self.ask("PUT", "s", "[2, 3]", JSON)
        assert (await self.fork("f", "s")).offset == offset_of(3)
        assert (await self.ask("GET", f"f?offset={offset_of(2)}")).json == [3]

    async def test_used_paths_take_no_fork(self) -> None:
        """DS-10: No fork can be made at a path whose stream has given out offsets.

        So the offsets of a deleted stream are never used again.
        """
        await self.ask("PUT", "s", "[1]", JSON)
        await self.ask("PUT", "used", "[1]", JSON)
        await self.ask("DELETE", "used")
        assert (await self.fork("used", "s")).status == 409

    async def test_both_faces(self) -> None:
        """DS-12: The stream manager and the protocol read each other's writes."""
        manager = DurableObjectStreamManager(self.namespace)
        stream_id = f"{self.root}s"
        async with manager.create_writer(stream_id, "agent-1", "tester") as writer:
            await writer.write({"type": "text", "text": "é"})
        page = await self.ask("GET", "s")
        assert (page.json[0]["text"], page.headers["content-type"], page.offset) == (
            "é",
            "application/json",
            offset_of(1),
        )
        await self.ask("POST", "s", '[5, {"type": "x"}, {"type": 5}]', {**JSON, "stream-closed": "true"})
        async with manager.create_reader(stream_id) as reader:
            chunks = [chunk async for chunk in reader]
        assert chunks[1:] == [{"type": "message", "data": 5}, {"type": "x"}, {"type": "message", "data": {"type": 5}}]
        info = await manager.get_info(stream_id)
        assert info is not None
        assert (info.status, info.end_status, info.last_sequence) == ("ended", "completed", 4)

    async def test_an_end_is_a_closure(self) -> None:
        """DS-8, DS-12: A stream that the stream manager has ended or failed is closed for the protocol."""
        manager = DurableObjectStreamManager(self.namespace)
        for path in ("ended", "failed"):
            async with manager.create_writer(f"{self.root}{path}", "agent-1", "tester") as writer:
                await writer.write({"type": "text"})
        await manager.end_stream(f"{self.root}ended", {"answer": 42})
        await manager.fail_stream(f"{self.root}failed", "broken")
        for path in ("ended", "failed"):
            assert (await self.ask("GET", path)).headers["stream-closed"] == "true"
            assert (await self.ask("POST", path, "1", JSON)).headers["stream-closed"] == "true"

    async def test_refusals(self) -> None:
        """DS-13: A refusal has a fitting status and a JSON error, and stores nothing."""
        await self.ask("PUT", "s", "[1]", JSON)
        bad: list[tuple[str, str, str, dict[str, str], int]] = [
            ("GET", "s?offset=1", "", {}, 400),
            ("GET", f"s?offset={offset_of(2)}", "", {}, 400),
            ("GET", "s?live=sse", "", {}, 400),
            ("POST", "s", "", JSON, 400),
            ("POST", "s", "1", {}, 400),
            ("POST", "s", "1", TEXT, 409),
            ("POST", "s", "[" * 100_000, JSON, 400),
            ("POST", "s", "[" * 5_000 + "]" * 5_000, JSON, 400),
            ("POST", "s", '"' + "x" * 1_950_000 + '"', JSON, 413),
            ("POST", "s", "1", {**JSON, "producer-id": "p"}, 400),
            ("POST", "s", "1", {**_producer(0), "producer-epoch": "x"}, 400),
            ("PUT", "t", "", {"stream-ttl": "01"}, 400),
            ("PUT", "t", "", {"stream-ttl": "1", "stream-expires-at": "2030-01-01T00:00:00Z"}, 400),
            ("PUT", "t", "", {"stream-fork-sub-offset": "0"}, 400),
            ("PATCH", "s", "", {}, 405),
        ]
        for method, path, body, headers, status in bad:
            answer = await self.ask(method, path, body, headers)
            assert (answer.status, bool(answer.json["error"]["code"])) == (status, True), (method, path, answer.body)
        assert (await self.ask("GET", "s")).json == [1]
