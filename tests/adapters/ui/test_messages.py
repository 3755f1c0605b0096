"""Streams to chat pages: one message each, live and resumed."""

import asyncio
import json
from typing import Any, cast

import pytest
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from pydantic_ai.ui.vercel_ai import VercelAIAdapter
from pydantic_ai.ui.vercel_ai.request_types import SubmitMessage, TextUIPart, UIMessage

from agents_store_cloudflare import CloudflareStore, create_cloudflare_store, run_migration
from agents_store_cloudflare.adapters.ui import MessageStreams, ui_chunks
from agents_store_cloudflare.contract.errors import InvalidArgumentError, StaleFencingTokenError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.durable_streams import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.objects import ObjectHost
from agents_store_cloudflare.objects.http_messages import HttpResponse
from agents_store_cloudflare.streams.page_wires import WIRES
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase

CHUNKS: list[JsonObject] = [
    {"type": "start", "messageId": "m1"},
    {"type": "start-step"},
    {"type": "text-start", "id": "t"},
    *({"type": "text-delta", "id": "t", "delta": f"wörd {number} data: [DONE]\n\n: end\n\n"} for number in range(9)),
    {"type": "text-end", "id": "t"},
    {"type": "finish-step"},
    {"type": "finish", "finishReason": "stop"},
]


class Reading:
    """A page's connection, with the text that it has read."""

    def __init__(self, answer: HttpResponse) -> None:
        assert answer.status == 200
        self.body: Any = answer.body
        self.text = ""

    def read(self) -> list[str]:
        """Return the data of all frames so far."""
        while piece := self.body.read():
            self.text += piece
        return self.data()

    def data(self) -> list[str]:
        frames = self.text.split("\n\n")
        assert frames.pop() == ""
        return [frame.removeprefix("data: ") for frame in frames if not frame.startswith(":")]


def plain(texts: list[str]) -> list[Any]:
    """Return the chunks without the keys that the writer adds."""
    found = [text if text == "[DONE]" else json.loads(text) for text in texts]
    return [each if isinstance(each, str) else {k: each[k] for k in each if k not in ADDED} for each in found]


ADDED = {"agentId", "agentType", "timestamp"}


async def world(protocol: Any = "vercel") -> tuple[CloudflareStore, MessageStreams, Any]:
    clock, database = FakeClock(1_700_000_000_000), SqliteDatabase()
    made: list[Any] = []

    def make(host: ObjectHost) -> StreamObject:
        made.append(StreamObject(host))
        return cast("StreamObject", made[-1])

    streams, locks = LocalObjects(make, clock=clock), LocalObjects(LockObject, clock=clock)
    await run_migration(database)
    store = create_cloudflare_store(db=database, streams=streams, locks=locks)
    return store, MessageStreams(store.stream_namespace, protocol=protocol, sleep=_no_wait), made


async def _no_wait(_seconds: float) -> None:
    return None


async def test_a_message_live_and_resumed_at_every_chunk() -> None:
    """UI-1, UI-2: A page that leaves after any chunk and resumes gets the identical message.

    Before and after the message there is none to resume.
    """
    store, pages, _ = await world()
    assert (await pages.resume("ada")).status == 204
    async with store.turn("ada", agent_type="x") as turn:
        resumed: list[Reading] = []
        live: Reading | None = None
        for number, chunk in enumerate(CHUNKS, 1):
            await turn.write(chunk)
            await turn.commit()
            live = live or Reading(await pages.follow(turn.stream_id, turn.from_sequence))
            assert plain(live.read()) == CHUNKS[:number]
            resumed.append(Reading(await pages.resume("ada")))
            assert plain(resumed[-1].read()) == CHUNKS[:number]
    assert live is not None
    whole = live.read()
    assert plain(whole) == [*CHUNKS, "[DONE]"]
    assert not live.body.is_open
    for reading in resumed:
        assert reading.read() == whole
        assert not reading.body.is_open
    after = await pages.resume("ada")
    assert (after.status, after.body) == (204, None)
    late = Reading(await pages.follow("ada", turn.from_sequence))
    assert late.read() == whole


async def test_headers() -> None:
    """UI-1: The answer has the headers of the AI SDK."""
    store, pages, _ = await world()
    async with store.turn("ada", agent_type="x") as turn:
        await turn.write(CHUNKS[0])
    answer = await pages.follow("ada")
    assert dict(answer.headers) == {
        "content-type": "text/event-stream",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
        "x-content-type-options": "nosniff",
        "x-vercel-ai-ui-message-stream": "v1",
    }


async def test_the_second_turn_replays_itself_only() -> None:
    """UI-2: A resumed message begins at its own turn."""
    store, pages, _ = await world()
    async with store.turn("ada", agent_type="x") as turn:
        await turn.write({"type": "start", "messageId": "first"})
    async with store.turn("ada", agent_type="x") as turn:
        await turn.write({"type": "start", "messageId": "second"})
        await turn.commit()
        resumed = Reading(await pages.resume("ada"))
        first = Reading(await pages.follow("ada"))
    assert plain(resumed.read()) == [{"type": "start", "messageId": "second"}, "[DONE]"]
    assert plain(first.read()) == [{"type": "start", "messageId": "first"}, "[DONE]"]


async def test_a_failed_turn_is_an_error() -> None:
    """UI-3: A failed turn is an error chunk, then the end, without the cause."""
    store, pages, _ = await world()
    readings: list[Reading] = []

    async def fails() -> None:
        async with store.turn("ada", agent_type="x") as turn:
            await turn.write(CHUNKS[0])
            await turn.commit()
            readings.append(Reading(await pages.follow("ada")))
            raise ValueError("secret")

    with pytest.raises(ValueError, match="secret"):
        await fails()
    [live] = readings
    assert plain(live.read()) == [CHUNKS[0], {"type": "error", "errorText": "failed"}, "[DONE]"]
    assert (await pages.resume("ada")).status == 204


@pytest.mark.parametrize("protocol", ["vercel", "ag-ui"])
async def test_streams_without_turns(protocol: str) -> None:
    """UI-3, UI-4: An ended or failed stream is a message too. AG-UI has no [DONE], and an error of its own."""
    store, pages, _ = await world(protocol)
    manager = store.stream_manager
    failure: dict[str, str] = {"type": "error", "errorText": "no model"}
    done = ["[DONE]"]
    if protocol == "ag-ui":
        failure, done = {"type": "RUN_ERROR", "message": "no model"}, []
    readings: dict[str, Reading] = {}
    for name in ("good", "bad"):
        async with manager.create_writer(name, "a", "t") as writer:
            await writer.write(CHUNKS[0])
        readings[name] = Reading(await pages.resume(name))
    await manager.end_stream("good")
    await manager.fail_stream("bad", "no model")
    assert plain(readings["good"].read()) == [CHUNKS[0], *done]
    assert plain(readings["bad"].read()) == [CHUNKS[0], failure, *done]
    for name, reading in readings.items():
        assert not reading.body.is_open
        assert (await pages.resume(name)).status == 204
        assert Reading(await pages.follow(name)).read() == reading.read()


def delta(text: str) -> JsonObject:
    return {"type": "text-delta", "id": "t", "delta": text}


@pytest.mark.parametrize("protocol", ["vercel", "ag-ui"])
async def test_the_stalled_writer_of_a_page(protocol: str) -> None:
    """UI-7: A writes, B takes over and writes, then A wakes: A is refused with both tokens, and the page gets nothing more of A."""
    store, pages, _ = await world(protocol)
    manager = store.stream_manager
    async with manager.create_writer("ada", "a", "t", fencing_token=3) as old:
        await old.write(delta("a"))
    page = Reading(await pages.resume("ada"))
    async with manager.create_writer("ada", "a", "t", fencing_token=4) as new:
        await new.write(delta("b"))

    async def writes_late() -> None:
        async with manager.create_writer("ada", "a", "t", fencing_token=3) as late:
            await late.write(delta("late"))

    with pytest.raises(StaleFencingTokenError) as raised:
        await writes_late()
    assert (raised.value.expected, raised.value.actual) == (4, 3)
    with pytest.raises(StaleFencingTokenError):
        await manager.end_stream("ada", fencing_token=3)
    assert plain(page.read()) == plain(Reading(await pages.resume("ada")).read()) == [delta("a"), delta("b")]


@pytest.mark.parametrize("protocol", ["vercel", "ag-ui"])
async def test_two_writers_of_a_page_without_a_lock(protocol: str) -> None:
    """UI-7: Without a lock the page gets the chunks of both, each once and each writer's in their order, live and resumed."""
    store, pages, _ = await world(protocol)
    page: Reading | None = None
    async with (
        store.stream_manager.create_writer("ada", "a", "t") as a,
        store.stream_manager.create_writer("ada", "b", "t") as b,
    ):
        for number in range(5):
            for name, writer in (("a", a), ("b", b)):
                await writer.write(delta(f"{name}{number}"))
                await writer.flush()
            page = page or Reading(await pages.resume("ada"))
    assert page is not None
    found = plain(page.read())
    assert found == [delta(f"{name}{number}") for number in range(5) for name in "ab"]
    assert plain(Reading(await pages.resume("ada")).read()) == found


async def test_an_end_without_text() -> None:
    """UI-4: The end of an AG-UI message comes alone. Nothing empty is pushed, which would break the body off; the answer ends."""
    store, pages, _ = await world("ag-ui")
    async with store.turn("ada", agent_type="x") as turn:
        await turn.write(CHUNKS[0])
        await turn.commit()
        reading = Reading(await pages.resume("ada"))
        assert plain(reading.read()) == [CHUNKS[0]]
        pushed, texts = reading.body.push, list[str]()

        def push(text: str) -> bool:
            texts.append(text)
            return bool(pushed(text))

        reading.body.push = push
    assert plain(reading.read()) == [CHUNKS[0]]
    assert not reading.body.is_open
    assert "" not in texts


async def test_ag_ui_knows_its_own_keys_alone() -> None:
    """UI-4: A chunk has no key of the writer's. Every other value is the same, also a surrogate that UTF-8 cannot carry."""
    store, pages, _ = await world("ag-ui")
    event: JsonObject = {
        "type": "CUSTOM",
        "name": "ё",
        "value": [1.5, 10**30, "\u2028", {"agentId": "kept"}],
        "timestamp": 5,
    }
    async with store.turn("ada", agent_type="x") as turn:
        await turn.write(event)
        await turn.commit()
        reading = Reading(await pages.resume("ada"))
        [text] = reading.read()
        assert json.loads(text) == event
        assert "ё" in text
    assert reading.read()[1:] == []
    assert (
        WIRES["ag-ui"]("chunk", '{"type":"CUSTOM","value":"\\uD800","agentType":"x"}')
        == 'data: {"type":"CUSTOM","value":"\\ud800"}\n\n'
    )


GONE = "the beginning of this message is no longer kept"


def failure(protocol: str, text: str) -> list[Any]:
    """Return what a page reads of a message that cannot be shown."""
    if protocol == "ag-ui":
        return [{"type": "RUN_ERROR", "message": text}]
    return [{"type": "error", "errorText": text}, "[DONE]"]


@pytest.mark.parametrize("protocol", ["vercel", "ag-ui"])
@pytest.mark.parametrize("floor", [2, 4, 7])
async def test_a_message_without_its_beginning(protocol: str, floor: int) -> None:
    """UI-2: A message whose first chunks were truncated is an error by name, from position 0 too. A page that has them reads on."""
    store, pages, _ = await world(protocol)
    async with store.turn("ada", agent_type="x") as turn:
        for chunk in CHUNKS[:6]:
            await turn.write(chunk)
        await turn.commit()
        live = Reading(await pages.follow("ada", turn.from_sequence))
        live.read()
        await store.stream_manager.truncate_stream("ada", floor)
        for answer in (await pages.resume("ada"), await pages.follow("ada", 0)):
            late = Reading(answer)
            assert plain(late.read()) == failure(protocol, GONE)
            assert not late.body.is_open
        await turn.write(CHUNKS[6])
        await turn.commit()
        assert plain(live.read()) == CHUNKS[:7]
        assert plain(Reading(await pages.resume("ada")).read()) == failure(protocol, GONE)
        assert plain(Reading(await pages.follow("ada", 6)).read()) == [CHUNKS[6]]


@pytest.mark.parametrize("begins", ["after a turn", "after a reset", "after a turn and a reset"])
async def test_a_stream_that_was_cut_before_the_message(begins: str) -> None:
    """UI-2: A message that is kept whole is shown whole, whatever was truncated or reset before it. The one before it is not."""
    store, pages, _ = await world()
    manager = store.stream_manager
    async with store.turn("ada", agent_type="x") as turn:
        await turn.write(CHUNKS[0])
        await turn.commit()
        if begins == "after a reset":
            await manager.reset_stream("ada")
    if begins == "after a turn and a reset":
        await manager.reset_stream("ada")
    async with store.turn("ada", agent_type="x") as turn:
        info = await manager.get_info("ada")
        assert info is not None
        start = info.last_sequence
        await turn.write({"type": "start", "messageId": "second"})
        await turn.commit()
        second = [{"type": "start", "messageId": "second"}]
        if begins == "after a turn":
            await manager.truncate_stream("ada", 2)  # inside the first message
            assert plain(Reading(await pages.resume("ada")).read()) == second
            assert plain(Reading(await pages.follow("ada")).read()) == failure("vercel", GONE)
        await manager.truncate_stream("ada", start + 1)
        assert plain(Reading(await pages.resume("ada")).read()) == second
        assert plain(Reading(await pages.follow("ada")).read()) == second
        await manager.truncate_stream("ada", start + 2)
        await turn.write(CHUNKS[1])
        await turn.commit()
        assert plain(Reading(await pages.resume("ada")).read()) == failure("vercel", GONE)


@pytest.mark.parametrize("protocol", ["vercel", "ag-ui"])
@pytest.mark.parametrize("window", ["read", "full"])
async def test_a_stream_that_is_deleted_meanwhile(protocol: str, window: str) -> None:
    """UI-3: A page whose stream is deleted gets an error and the end, after what waits for it. A message that is over has no error."""
    store, pages, _ = await world(protocol)
    manager = store.stream_manager
    async with manager.create_writer("ada", "a", "t") as writer:
        await writer.write(CHUNKS[0])
        await writer.flush()
        live = Reading(await pages.follow("ada"))
        live.body.pull()
        if window == "full":
            for number in range(12):
                await writer.write(delta(f"{number}" + "x" * 30_000))
                await writer.flush()
        else:
            live.read()
    await manager.delete_stream("ada")
    told = plain(live.read())
    broken = failure(protocol, "the answer broke off")
    assert told[0] == CHUNKS[0]
    assert told[-len(broken) :] == broken
    assert told.count(broken[0]) == 1
    assert not live.body.is_open
    async with store.turn("bob", agent_type="x") as turn:
        await turn.write(CHUNKS[0])
    over = Reading(await pages.follow("bob"))
    over.body.pull()
    await manager.delete_stream("bob")
    assert plain(over.read()) == [CHUNKS[0], *broken[1:]]


async def test_nobody_stays_behind() -> None:
    """UI-2: A reader whose message is over is forgotten. A reader that left in the middle delays nobody."""
    store, pages, objects = await world()
    async with store.turn("ada", agent_type="x") as turn:
        await turn.write(CHUNKS[0])
        await turn.commit()
        gone, stays = Reading(await pages.resume("ada")), Reading(await pages.resume("ada"))
        gone.read()
        stays.read()
        gone.body.leave()
    stays.read()
    assert [len(made._audience) for made in objects] == [0]


async def test_bad_arguments() -> None:
    """UI-1: Bad arguments are refused before any call."""
    _, pages, _ = await world()
    with pytest.raises(InvalidArgumentError):
        await pages.resume("")
    with pytest.raises(InvalidArgumentError):
        await pages.follow("ada", -1)
    with pytest.raises(ValueError, match="protocol"):
        await world("sse")
    assert (await pages.follow("unknown")).status == 404


async def test_an_agent_of_pydantic_ai() -> None:
    """UI-5: The chunks of pydantic-ai's Vercel adapter are stored unchanged, without its [DONE]."""
    store, pages, _ = await world()
    question = UIMessage(id="q", role="user", parts=[TextUIPart(text="hello")])
    agent = Agent(TestModel(custom_output_text="heard you"))
    adapter = VercelAIAdapter(
        agent=agent, run_input=SubmitMessage(id="ada", trigger="submit-message", messages=[question])
    )
    async with store.turn("ada", agent_type="x") as turn:
        following = asyncio.ensure_future(pages.follow("ada"))  # as a Worker does: before the first chunk
        async for chunk in ui_chunks(adapter.run_stream()):
            await turn.write(chunk)
            await turn.commit()
    live = Reading(await following)
    told = plain(live.read())
    assert [told[0]["type"], told[-2]["type"], told[-1]] == ["start", "finish", "[DONE]"]
    assert "".join(each["delta"] for each in told[:-1] if each["type"] == "text-delta") == "heard you"
