"""Followers of sessions: the newest summary after each commit, over HTTP, over a WebSocket, and in a Worker."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agents_store_cloudflare import (
    CloudflareStore,
    InvalidArgumentError,
    SessionSummary,
    StateNotFoundError,
    create_cloudflare_store,
)
from agents_store_cloudflare.durable_streams import StreamObject
from agents_store_cloudflare.gateway import HttpRequest, HttpResponse, SessionStates, StreamGateway, StreamUrlSigner
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.local_wires import LocalEvents, LocalSocket
from tests.homes.worlds import HomeWorld

KEY = "a key of more than sixteen bytes"


@pytest.fixture
def world() -> HomeWorld:
    return HomeWorld()


@pytest.fixture
async def store(world: HomeWorld) -> CloudflareStore:
    store = await world.store()
    await store.state_store.create_session("ada", agent_type="t")
    return store


class _PullsWhilePushed(LocalEvents):
    """A body that asks its source for text while it takes a text, as the platform's does. It does not ask while it asks."""

    is_pulling = False

    def push(self, frames: str) -> bool:
        is_taken = super().push(frames)
        if is_taken and not self.is_pulling:
            self.is_pulling = True
            self.pull()
            self.is_pulling = False
        return is_taken


async def _answer(world: HomeWorld, path: str, *, may: object = True, **headers: str) -> HttpResponse:
    async def authorize(_request: object, session_id: str, action: str) -> Any:
        return may if (session_id, action) in {("ada", "follow"), ("ada//x", "follow"), ("nobody", "follow")} else False

    gateway = StreamGateway(
        world.streams,
        authorize=authorize,
        signer=StreamUrlSigner({"k": KEY}, now_ms=world.clock.now_ms),
        faces=[SessionStates(world.sessions)],
    )
    answer = await gateway.handle(HttpRequest(url=f"https://a.example{path}", headers=headers))
    assert isinstance(answer, HttpResponse)
    return answer


async def _events(world: HomeWorld, session_id: str = "ada") -> LocalEvents:
    answer = await _answer(world, SessionStates(world.sessions).path(session_id))
    assert answer.status == 200
    assert isinstance(answer.body, LocalEvents)
    return answer.body


async def _socket(world: HomeWorld) -> LocalSocket:
    answer = await _answer(world, "/sessions/ada/state", upgrade="websocket")
    assert answer.status == 101
    assert isinstance(answer.web_socket, LocalSocket)
    return answer.web_socket


def _shown(text: str) -> list[dict[str, Any]]:
    frames = [frame.split("\n") for frame in text.split("\n\n") if frame and not frame.startswith(":")]
    assert all(event in {"event: state", "event: deleted"} for event, _ in frames)
    return [json.loads(data.removeprefix("data: ")) for _, data in frames]


async def test_a_body_that_pulls_while_it_is_pushed(
    world: HomeWorld, store: CloudflareStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HM-14: each summary is one event, also when the platform asks for the next one in the middle of the push."""
    monkeypatch.setattr(world.host("ada"), "event_body", _PullsWhilePushed)
    events = await _events(world)
    first = events.read()
    await store.state_store.append_messages("ada", [{"role": "user"}])
    await store.state_store.update_status("ada", "paused")
    assert [shown["version"] for shown in _shown(first + events.read())] == [1, 2, 3]


async def test_events(world: HomeWorld, store: CloudflareStore) -> None:
    """HM-14: a follower gets the summary when it comes, and after each commit; messages stay where they are."""
    events = await _events(world)
    [first] = _shown(events.read())
    assert (first["sessionId"], first["version"], first["messageCount"]) == ("ada", 1, 0)
    await store.state_store.append_messages("ada", [{"role": "user", "content": "secret"}])
    text = events.read()
    assert "secret" not in text
    [second] = _shown(text)
    assert (second["version"], second["messageCount"]) == (2, 1)
    await store.state_store.update_status("ada", "paused")
    assert [each["status"] for each in _shown(events.read())] == ["paused"]


async def test_a_turn(world: HomeWorld, store: CloudflareStore) -> None:
    """HM-14: the commits of a turn are shown, although they come together with its chunks."""
    events = await _events(world)
    events.read()
    async with store.turn("ada", agent_type="t", messages=[{"role": "user"}]) as turn:
        assert [each["messageCount"] for each in _shown(events.read())] == [1]
        turn.add({"role": "assistant"})
        turn.finish(status="completed")
    [last] = _shown(events.read())
    assert (last["messageCount"], last["status"]) == (2, "completed")


async def test_only_the_newest(world: HomeWorld, store: CloudflareStore) -> None:
    """HM-14: a follower that reads nothing for a while gets the newest summary and skips the others; none is older than one before."""
    events = await _events(world)
    for number in range(5_000):
        await store.state_store.update_status("ada", f"status {number}")
        if events.held_bytes > 250_000:
            break
    for number in range(20):
        await store.state_store.update_status("ada", f"late {number}")
    versions = [each["version"] for each in _shown(events.read())]
    assert versions == sorted(set(versions))
    state = await store.state_store.load_state("ada", required=True)
    assert versions[-1] == state.version
    assert len(versions) < state.version


async def test_its_own_session_alone(world: HomeWorld, store: CloudflareStore) -> None:
    """HM-14: commits of other sessions of the home show nothing; a child is followed in its parent's home."""
    await store.state_store.create_session("ada//x", agent_type="t", parent_session_id="ada")
    parent, child = await _events(world), await _events(world, "ada//x")
    parent.read()
    child.read()
    await store.state_store.update_status("ada//x", "busy")
    assert _shown(parent.read()) == []
    assert [each["status"] for each in _shown(child.read())] == ["busy"]


async def test_a_socket_lets_the_home_sleep(world: HomeWorld, store: CloudflareStore) -> None:
    """HM-14: a socket stays open while the home hibernates, and gets the next commit; the stream's sockets are others."""
    socket = await _socket(world)
    world.sessions.hibernate()
    await store.state_store.update_status("ada", "paused")
    first, second = [json.loads(text) for text in socket.messages]
    assert (first["event"], first["data"]["status"], second["data"]["status"]) == ("state", "active", "paused")
    async with store.turn("ada", agent_type="t") as turn:
        await turn.write({"type": "text", "text": "hello"})
    assert {json.loads(text)["event"] for text in socket.messages} == {"state"}
    assert socket.is_open


async def test_a_follower_says_nothing(world: HomeWorld, store: CloudflareStore) -> None:
    """HM-14: a socket that sends something is closed, because each message wakes the home; the others go on."""
    loud, silent = await _socket(world), await _socket(world)
    await loud.send("hello")
    assert not loud.is_open
    await store.state_store.update_status("ada", "paused")
    assert (len(loud.messages), len(silent.messages)) == (1, 2)


async def test_deletion(world: HomeWorld, store: CloudflareStore) -> None:
    """HM-14: followers of a deleted session are told, and closed."""
    events, socket = await _events(world), await _socket(world)
    assert await store.delete_session("ada")
    assert events.read().endswith("event: deleted\ndata: {}\n\n")
    assert (events.is_open, socket.is_open) == (False, False)


async def test_a_deletion_that_a_client_does_not_read(world: HomeWorld, store: CloudflareStore) -> None:
    """HM-14: what the home still holds for the client is dropped after a minute."""
    events = await _events(world)
    assert await store.delete_session("ada")
    assert events.held_bytes > 0
    await world.pass_time(200)
    assert (events.held_bytes, events.was_broken_off) == (0, True)
    world.sessions.hibernate()


async def test_followers_that_left(world: HomeWorld, store: CloudflareStore) -> None:
    """HM-14: a home without followers reads no row for them, and no timer keeps it awake."""
    events = await _events(world)
    events.leave()
    socket = await _socket(world)
    await socket.close()
    await store.state_store.update_status("ada", "paused")
    world.sessions.hibernate()


async def test_a_client_that_reads_nothing(world: HomeWorld, store: CloudflareStore) -> None:
    """HM-14: a client that has read no keep-alive for a minute is closed."""
    events = await _events(world)
    await world.pass_time(200)
    assert not events.is_open
    assert store.parts.homes is not None
    world.sessions.hibernate()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/sessions/nobody/state", 404),
        ("/sessions/bob/state", 403),
        ("/sessions/ada", 404),
        ("/sessions/ada/messages", 404),
        ("/sessions//state", 404),
        ("/sessions/%ff/state", 400),
        ("/sessions/%2F%2Fx/state", 403),
    ],
)
async def test_refusals(world: HomeWorld, store: CloudflareStore, path: str, status: int) -> None:
    """HM-14: nothing is shown of a session that is not there, or that the request may not follow."""
    del store
    assert (await _answer(world, path)).status == status


async def test_a_socket_of_another_origin(world: HomeWorld, store: CloudflareStore) -> None:
    """HM-14: a page of another origin opens no socket with the user's cookies."""
    del store
    answer = await _answer(world, "/sessions/ada/state", upgrade="websocket", origin="https://evil.example")
    assert answer.status == 403


async def test_signed(world: HomeWorld, store: CloudflareStore) -> None:
    """HM-14: a signature for `follow` admits, one for `read` does not."""
    del store
    signer = StreamUrlSigner({"k": KEY}, now_ms=world.clock.now_ms)
    for action, status in (("follow", 200), ("read", 403)):
        access = signer.sign("ada", action)  # type: ignore[arg-type]
        answer = await _answer(world, f"/sessions/ada/state?access={access}", may=False)
        assert answer.status == status


async def test_in_a_worker(world: HomeWorld, store: CloudflareStore) -> None:
    """HM-14: `store.follow` gives the newest summary and waits for newer ones, until the session is deleted."""
    seen: list[SessionSummary] = []

    async def follow() -> None:
        seen.extend([summary async for summary in store.follow("ada")])

    following = asyncio.create_task(follow())
    await world.pass_time(60)  # longer than one call waits
    for status in ("one", "two"):
        await store.state_store.update_status("ada", status)
        await world.pass_time(1)
    await store.delete_session("ada")
    await world.pass_time(1)
    await following
    assert [summary.status for summary in seen] == ["active", "one", "two"]
    assert [summary.version for summary in seen] == [1, 2, 3]


async def test_nothing_to_follow(store: CloudflareStore) -> None:
    """HM-14: an unknown session and a store without homes are errors."""
    with pytest.raises(StateNotFoundError):
        await anext(store.follow("nobody"))
    plain = create_cloudflare_store(db=SqliteDatabase(), streams=LocalObjects(StreamObject))
    with pytest.raises(InvalidArgumentError, match=r"sessions=env\.SESSIONS"):
        plain.follow("ada")


@pytest.mark.parametrize("changes", [0, 1])
async def test_a_session_that_was_made_again_while_its_follower_was_busy(store: CloudflareStore, changes: int) -> None:
    """HM-14: The deletion ends the follower, although another session has the id when it asks again, with an equal summary or not."""
    state = store.state_store
    following = store.follow("ada")
    await anext(following)
    await state.delete_session("ada")
    await state.create_session("ada", agent_type="t")
    for _ in range(changes):
        await state.increment_step_count("ada")
    await asyncio.wait_for(_check_over(following), 5)
    assert (await anext(store.follow("ada"))).version == 1 + changes


async def _check_over(following: AsyncIterator[SessionSummary]) -> None:
    with pytest.raises(StopAsyncIteration):
        await anext(following)
