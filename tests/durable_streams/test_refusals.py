"""Requests that the protocol refuses: the status, the code, and a text that names the mistake."""

import json
from typing import Any

import pytest

from agents_store_cloudflare import DurableStreams, HttpRequest, StreamGateway, StreamObject, SubscriptionOptions
from agents_store_cloudflare.durable_streams.json_bodies import MAX_MESSAGE_BYTES, SMALL_BYTES, json_messages
from agents_store_cloudflare.durable_streams.offsets import offset_of
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.testing import LocalObjects
from tests.durable_streams.outbound import World

ROOT = "https://streams.example/v1/stream"
JSON = {"content-type": "application/json"}
PULL = {"type": "pull-wake", "pattern": "events/*", "wake_stream": "wake/pool", "lease_ttl_ms": 5_000}
HOOK = {"type": "webhook", "pattern": "hooks/*", "webhook": {"url": "https://hooks.example/wake"}}


class Site:
    """A gateway with a JSON stream `s` of three messages, and two subscriptions."""

    def __init__(self) -> None:
        self.objects = LocalObjects(StreamObject, outbound=World())
        face = DurableStreams(self.objects, subscriptions=SubscriptionOptions(), long_poll_timeout=0.01)
        self.gateway = StreamGateway(self.objects, authorize=lambda _request, _stream_id, _action: True, faces=[face])

    async def fill(self) -> None:
        await self.ask("PUT", "s", b"[1, 2, 3]", JSON)
        for name, config in (("pull", PULL), ("hook", HOOK)):
            assert (await self.ask("PUT", f"__ds/subscriptions/{name}", json.dumps(config).encode()))[0] == 201

    async def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Any:
        request = HttpRequest(method=method, url=f"{ROOT}/{path}", headers=headers or {}, body=body)
        answer = await self.gateway.handle(request)
        raw = answer.body if isinstance(answer.body, bytes) else (answer.body or "").encode()
        return answer.status, raw.decode()


@pytest.fixture
async def site() -> Site:
    site = Site()
    await site.fill()
    return site


@pytest.mark.parametrize(
    ("method", "path", "headers", "refusal"),
    [
        ("PATCH", "s", {}, (405, "do not allow this method")),
        ("GET", "%ff", {}, (400, "the path is not UTF-8")),
        ("GET", "s?" + "a=1&" * 200, {}, (400, "the query is malformed")),
        ("GET", f"s?offset=-1&offset={offset_of(1)}", {}, (400, "may be given once")),
        ("GET", "s?offset=-1&live=websocket", {}, (400, "live must be long-poll or sse")),
        ("PUT", "t", {"content-type": "text"}, (400, "Content-Type is malformed")),
        ("PUT", "t", {**JSON, "stream-expires-at": "tomorrow"}, (400, "Stream-Expires-At must be an RFC 3339 instant")),
        ("POST", "s", {**JSON, "stream-seq": "a" * 5_000}, (400, "Stream-Seq must have 1 to")),
        ("PUT", "f", {"stream-forked-from": "http://[/v1/stream/s"}, (400, "not the path of a stream")),
        ("PUT", "f", {"stream-forked-from": "/elsewhere/s"}, (400, "begins with /v1/stream/")),
        ("PUT", "f", {"stream-forked-from": "/v1/stream/s", "content-type": "text/plain"}, (409, "the source holds")),
        (
            "PUT",
            "f",
            {
                "stream-forked-from": "/v1/stream/s",
                "stream-fork-offset": offset_of(2),
                "stream-fork-sub-offset": "2",
            },
            (400, "beyond"),
        ),
        ("GET", "__ds/elsewhere", {}, (404, "nothing at this path")),
        ("PATCH", "__ds/subscriptions/pull", {}, (405, "method_not_allowed")),
        ("GET", "__ds/subscriptions/a%20b", {}, (400, "1 to 128 letters")),
    ],
)
async def test_addresses_and_headers(
    site: Site, method: str, path: str, headers: dict[str, str], refusal: tuple[int, str]
) -> None:
    """DS-13: A bad address or header is refused, whichever it is."""
    answer = await site.ask(method, path, b"", headers)
    assert (answer[0], refusal[1] in answer[1]) == (refusal[0], True), answer


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({**PULL, "pattern": None}, "needs a pattern or streams"),
        ({**PULL, "wake_stream": None}, "wake_stream is missing"),
        ({**PULL, "wake_stream": "a" * 5_000}, "wake_stream must be text of 1 to"),
        ({**PULL, "streams": "s"}, "streams must be a list"),
        ({**PULL, "streams": [5]}, "a path in streams"),
        ({**PULL, "type": "webhook"}, "webhook.url is missing"),
        ([], "must be a JSON object"),
    ],
)
async def test_configurations(site: Site, config: object, text: str) -> None:
    """DS-15: A refused subscription is not created."""
    status, answer = await site.ask("PUT", "__ds/subscriptions/bad", json.dumps(config).encode())
    assert (status, text in answer) == (400, True), answer
    assert (await site.ask("GET", "__ds/subscriptions/bad"))[0] == 404


@pytest.mark.parametrize(
    ("name", "verb", "body", "refusal"),
    [
        ("hook", "claim", {"worker": "w"}, (400, "NOT_PULL_WAKE")),
        ("pull", "claim", {"worker": ""}, (400, "worker must be text")),
        ("pull", "claim", {"worker": "w"}, (409, "NO_PENDING_WORK")),
        ("pull", "ack", {"wake_id": "w", "generation": 1}, (401, "")),
    ],
)
async def test_wakes(site: Site, name: str, verb: str, body: object, refusal: tuple[int, str]) -> None:
    """DS-15: A worker's bad acknowledgement or release is refused."""
    answer = await site.ask("POST", f"__ds/subscriptions/{name}/{verb}", json.dumps(body).encode())
    assert (answer[0], refusal[1] in answer[1]) == (refusal[0], True), answer


@pytest.mark.parametrize(
    ("acks", "text"),
    [
        ("all", "acks must be a list"),
        ([{"stream": "events/a"}], "an ack is"),
        ([{"stream": "s", "offset": offset_of(1)}], "not among the subscription's streams"),
    ],
)
async def test_acknowledgements(site: Site, acks: object, text: str) -> None:
    """DS-15: A claimed wake accepts only positions of its own streams."""
    await site.ask("PUT", "events/a", b"[1]", JSON)
    _, claimed = await site.ask("POST", "__ds/subscriptions/pull/claim", b'{"worker": "w"}')
    wake = json.loads(claimed)
    said = {"wake_id": wake["wake_id"], "generation": wake["generation"], "acks": acks}
    headers = {"authorization": f"Bearer {wake['token']}"}
    answer = await site.ask("POST", "__ds/subscriptions/pull/ack", json.dumps(said).encode(), headers)
    assert (answer[0], text in answer[1]) == (400, True), answer


@pytest.mark.parametrize("token", ["", "x", "٣.w.s", "9999999999999999.w.s"])
async def test_tokens(site: Site, token: str) -> None:
    """DS-15: An invented token permits nothing."""
    said = {"wake_id": "w", "generation": 1}
    headers = {"authorization": f"Bearer {token}"}
    answer = await site.ask("POST", "__ds/subscriptions/pull/ack", json.dumps(said).encode(), headers)
    assert answer[0] == 401, answer


LONG = b" " * SMALL_BYTES


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        (b"[" + LONG + b"]", []),
        (LONG + b"[1, 2.5]  ", ["1", "2.5"]),
        (b"[" + b"1," * SMALL_BYTES + '"é"]'.encode(), ["1"] * SMALL_BYTES + ['"é"']),
        (b'["' + b"x" * 70_000 + b'", 7]', ['"' + "x" * 70_000 + '"', "7"]),
    ],
)
def test_long_bodies(body: bytes, messages: list[str]) -> None:
    """DS-3: A long array gives the same messages as a short one, whatever the borders of its windows."""
    assert list(json_messages(body)) == messages


@pytest.mark.parametrize(
    "body",
    [
        b"[" + LONG + b"] 1",
        b"[" + LONG + b"1] 1",
        b"[" + LONG + b"1 2]",
        b"[" + LONG + b"1",
        b"[" + LONG + b"1,]",
        b"[" + LONG + b"NaN]",
        b"[" + LONG + b'"open]',
        b"[" + b"1," * SMALL_BYTES + b"tru]" + LONG,
        b"[" + LONG + b"x" + LONG * 5 + b"]",
    ],
)
def test_long_bodies_that_are_no_json(body: bytes) -> None:
    """DS-3: The grammar for a long body is the same as for a short one."""
    with pytest.raises(ValueError, match="JSON"):
        list(json_messages(body))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'["' + b"x" * (3 * MAX_MESSAGE_BYTES) + b'"]', "a message has over"),
        (b"[" + b"1," * 100_000 + b"1]", "the body has over"),
        (b"{" + b",".join(b'"a%d":1' % number for number in range(60_000)) + b"}", "a message has over"),
    ],
)
def test_bodies_that_are_too_much(body: bytes, text: str) -> None:
    """DS-13: One body may hold no more than an isolate can take."""
    with pytest.raises(Refusal, match=text) as refused:
        list(json_messages(body))
    assert refused.value.status == 413


@pytest.mark.parametrize("name", ["if-match", "if-none-match", "if-unmodified-since"])
@pytest.mark.parametrize(("method", "path"), [("DELETE", "s"), ("POST", "s"), ("PUT", "new"), ("PUT", "s")])
async def test_a_change_under_a_condition(site: Site, method: str, path: str, name: str) -> None:
    """DS-13: A condition on a change is not checked, so the change does not take place. It is never ignored."""
    before = await site.ask("GET", "s?offset=-1")
    status, said = await site.ask(method, path, b"[4]", {**JSON, name: '"18bcfe56800:0:1"'})
    assert (status, json.loads(said)["error"]["code"]) == (412, "no_conditions")
    assert await site.ask("GET", "s?offset=-1") == before
    assert (await site.ask("GET", "new?offset=-1"))[0] == 404


@pytest.mark.parametrize(("method", "body"), [("HEAD", b""), ("POST", b"[4]"), ("PUT", b"")])
async def test_the_mark_of_a_whole_body_is_the_servers_own(method: str, body: bytes) -> None:
    """DS-13: A client that sends the header of the mark gets 400. The object looked for the mark, and answered 500."""
    site = Site()
    await site.fill()
    status, _ = await site.ask(method, "s", body, {**JSON, "Agents-Body-End": "1"})
    assert status == 400
    assert await site.ask("GET", "s") == (200, "[1,2,3]")
