"""The doors of a stream's object: values that no manager sends, and failures inside it."""

import json
from typing import Any, NoReturn

import pytest

from agents_store_cloudflare import DurableObjectStreamManager, HttpRequest, StreamGateway, StreamObject
from agents_store_cloudflare.durable_streams import DurableStreams
from agents_store_cloudflare.objects.rpc_text import encode_request
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.testing import LocalObjects

ROOT = "https://x.example"


def _yes(*_asked: object) -> bool:
    return True


@pytest.fixture
def objects() -> LocalObjects:
    return LocalObjects(StreamObject)


@pytest.fixture
def manager(objects: LocalObjects) -> DurableObjectStreamManager:
    return DurableObjectStreamManager(objects)


async def _write(manager: DurableObjectStreamManager, number: int, *, token: int | None = None) -> None:
    named: Any = {} if token is None else {"fencing_token": token}
    async with manager.create_writer("s", "a", "t", **named) as writer:
        await writer.write({"type": "text", "n": number})


@pytest.mark.parametrize("value", ["x", 1.5, True, [], {}])
@pytest.mark.parametrize(
    ("op", "name"), [("truncate", "firstSequence"), ("truncate", "fencingToken"), ("pause", "fencingToken")]
)
async def test_a_number_that_no_manager_sends_is_refused(
    objects: LocalObjects, manager: DurableObjectStreamManager, op: str, name: str, value: Any
) -> None:
    """SM-29: It is named and not stored. Stored, it would have kept every holder of a lock from writing."""
    await _write(manager, 1)
    arguments = {"streamId": "s", "fencingToken": None, "firstSequence": 1, "commitId": "c", name: value}
    reply = json.loads(await objects.call("s", encode_request(op, arguments)))
    assert reply["error"]["code"] == "invalid_argument"
    for token in (1, 2):
        await _write(manager, 2, token=token)
        objects.hibernate()
    info = await manager.get_info("s")
    assert info is not None
    assert info.last_sequence == 3


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/streams/s/events", {}),
        ("/streams/s/socket", {"upgrade": "websocket"}),
        ("/v1/stream/s?offset=-1", {}),
        ("/v1/stream/s?offset=-1&live=sse", {}),
        ("/v1/stream/s?offset=-1&live=long-poll", {}),
    ],
)
async def test_a_failure_in_a_request_leaves_the_object_usable(
    objects: LocalObjects,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    path: str,
    headers: dict[str, str],
) -> None:
    """SM-29, GW-6: The client gets 500 with an id and no text of the error. The next request is served."""
    manager = DurableObjectStreamManager(objects)
    gateway = StreamGateway(objects, authorize=_yes, faces=[DurableStreams(objects)])
    await _write(manager, 1)

    def broken(*_given: object, **_named: object) -> NoReturn:
        raise RuntimeError("a secret")

    with monkeypatch.context() as patch:
        for name in ("head", "existing_head"):
            patch.setattr(StreamLog, name, broken)
        answer = await gateway.handle(HttpRequest(url=ROOT + path, headers=headers))
    assert answer.status == 500
    error = json.loads(str(answer.body))["error"]
    assert error["code"] == "internal"
    assert "secret" not in str(answer.body)
    assert "a secret" in caplog.text
    assert (await gateway.handle(HttpRequest(url=ROOT + path, headers=headers))).status in (101, 200)
    await _write(manager, 2)
    info = await manager.get_info("s")
    assert info is not None
    assert info.last_sequence == 2
