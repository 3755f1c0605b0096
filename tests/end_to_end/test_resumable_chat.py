"""examples/resumable_chat in the real runtime: answers that survive reloads, lost connections and a killed server."""

import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from tests.end_to_end.browsing import findings
from tests.end_to_end.socket_client import SocketClient
from tests.end_to_end.sse_client import Event, call, events
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

EXAMPLE = Path(__file__).parents[2] / "examples/resumable_chat"
QUESTION = "What survives a reload?"


@pytest.fixture(scope="module")
def worker() -> Iterator[LocalRuntime]:
    """The example at a fast pace."""
    with LocalRuntime(EXAMPLE / "wrangler.toml", vars={"WORD_DELAY_MS": "15"}) as runtime:
        yield runtime


@pytest.fixture
def cookie(worker: LocalRuntime) -> dict[str, str]:
    """Return the cookie of a new visitor."""
    answer = call(worker.url, "GET", "/")
    assert b"EventSource" in answer.body
    assert b"WebSocket" in answer.body
    assert "HttpOnly" in answer.headers["set-cookie"]
    return {"cookie": answer.headers["set-cookie"].split(";")[0]}


def _expected(question: str) -> list[str]:
    spec = importlib.util.spec_from_file_location("resumable_chat_words", EXAMPLE / "words.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    answer_words: Callable[[str], Iterator[str]] = module.answer_words
    return list(answer_words(question))


def _ask(worker: LocalRuntime, cookie: dict[str, str], question: str = QUESTION) -> str:
    answer = call(worker.url, "POST", "/chats", body=json.dumps({"question": question}).encode(), headers=cookie)
    assert answer.status == 202, answer.body
    return str(answer.json["chatId"])


def _addresses(worker: LocalRuntime, chat_id: str, cookie: dict[str, str], position: int = 0) -> dict[str, str]:
    answer = call(worker.url, "GET", f"/chats/{chat_id}?from={position}", headers=cookie)
    assert answer.status == 200, answer.body
    return dict(answer.json)


def _some(followed: Iterator[Event], count: int) -> list[Event]:
    taken: list[Event] = []
    while len(taken) < count:
        event = next(followed)
        taken += [event] if event.kind == "chunk" else []
    return taken


def test_the_cookie_stays_in_the_browser(worker: LocalRuntime, cookie: dict[str, str]) -> None:
    """No id and no address contains the visitor's secret. Another site cannot ask in the visitor's name."""
    chat_id = _ask(worker, cookie)
    secret = cookie["cookie"].partition("=")[2]
    assert secret not in chat_id + str(_addresses(worker, chat_id, cookie))
    headers = {**cookie, "origin": "https://evil.example"}
    assert call(worker.url, "POST", "/chats", body=b'{"question": "?"}', headers=headers).status == 404


def test_an_answer_survives_reloads(worker: LocalRuntime, cookie: dict[str, str]) -> None:
    """GW-9: Every word comes once and in order: by EventSource's own reconnection, by a new signed address, and from the start."""
    chat_id = _ask(worker, cookie)
    address = _addresses(worker, chat_id, cookie)["events"]
    received = _some(events(worker.url, address), 5)
    received += _some(events(worker.url, address, headers={"last-event-id": "5"}), 5)
    later = _addresses(worker, chat_id, cookie, position=10)["events"]
    rest = list(events(worker.url, later))
    assert (rest[-1].kind, rest[-1].data) == ("end", {"status": "completed", "output": {"question": QUESTION}})
    received += [event for event in rest if event.kind == "chunk"]
    assert [event.sequence for event in received] == list(range(1, len(received) + 1))
    assert [event.data["text"] for event in received] == _expected(QUESTION)
    reloaded = list(events(worker.url, _addresses(worker, chat_id, cookie)["events"]))
    assert [event for event in reloaded if event.kind == "chunk"] == received


def test_the_same_over_a_websocket(worker: LocalRuntime, cookie: dict[str, str]) -> None:
    """GW-3: The WebSocket wire gives the same after a reload in the middle."""
    chat_id = _ask(worker, cookie)
    frames: list[dict[str, Any]] = []
    with SocketClient(worker.url, _addresses(worker, chat_id, cookie)["socket"]) as socket:
        while sum(frame["event"] == "chunk" for frame in frames) < 5:
            frames += socket.frames()
    frames = [frame for frame in frames if frame["event"] == "chunk"]
    with SocketClient(worker.url, _addresses(worker, chat_id, cookie, frames[-1]["id"])["socket"]) as socket:
        while more := socket.frames():
            frames += more
    assert frames[-1]["event"] == "end"
    assert [frame["data"]["text"] for frame in frames if frame["event"] == "chunk"] == _expected(QUESTION)


def test_nobody_else_reads_it(worker: LocalRuntime, cookie: dict[str, str]) -> None:
    """GW-7, GW-9: Another visitor gets no address. A request without an address, or with another chat's, gets 403."""
    chat_id, other_id = _ask(worker, cookie), _ask(worker, cookie, "Another?")
    stranger = {"cookie": "visitor=0123456789abcdef"}
    for headers in ({}, stranger):
        assert call(worker.url, "GET", f"/chats/{chat_id}", headers=headers).status == 404
        assert call(worker.url, "GET", f"/streams/{chat_id}/events", headers=headers).status == 403
    address = _addresses(worker, chat_id, cookie)["events"]
    assert call(worker.url, "GET", address.replace(chat_id, other_id)).status == 403
    assert call(worker.url, "GET", address.replace("/events", "/chunks")).status == 200
    for body in (b"", b"[]", b'{"question": ""}', b"[" * 5000, b'{"question": "%s"}' % (b"x" * 3000)):
        assert call(worker.url, "POST", "/chats", body=body, headers=cookie).status == 400
    assert call(worker.url, "GET", f"/chats/{chat_id}?from=x", headers=cookie).status == 400


def test_what_was_said_survives_a_killed_server(worker: LocalRuntime, cookie: dict[str, str]) -> None:
    """SM-28: After SIGKILL every chunk that a reader has seen is there under the same number."""
    chat_id = _ask(worker, cookie)
    seen = _some(events(worker.url, _addresses(worker, chat_id, cookie)["events"]), 20)
    worker.kill()
    worker.restart()
    again = _some(events(worker.url, _addresses(worker, chat_id, cookie)["events"]), 20)
    assert again == seen


def _answer(page: Page) -> str:
    return " ".join(page.locator("#answer").inner_text().split())


def test_the_page_goes_on_after_a_reload_and_a_killed_server(worker: LocalRuntime, page: Page) -> None:
    """The page shows the whole answer once, although it was reloaded and the server died in the middle."""
    with LocalRuntime(EXAMPLE / "wrangler.toml", vars={"WORD_DELAY_MS": "80"}) as slow:
        page.goto(slow.url)
        page.get_by_role("button", name="Ask").click()
        expect(page.locator("#answer")).to_contain_text(re.compile(r"\w+ \w+ \w+"))
        page.reload()
        expect(page.locator("#answer")).to_contain_text(re.compile(r"(\w+\W+){8}"))
        before = _answer(page)
        slow.kill()
        expect(page.locator("#state")).to_have_class("bad")
        slow.restart()
        expect(page.locator("#state")).not_to_have_class("bad")
        assert _answer(page).startswith(before.rsplit(" ", 1)[0])
    page.goto(worker.url)
    page.get_by_label("WebSocket").check()
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#state")).to_contain_text("complete")
    assert _answer(page) == "".join(_expected(QUESTION)).strip()


def test_the_page_tells_that_it_is_offline(worker: LocalRuntime, page: Page) -> None:
    """A question that cannot be sent stays in the box."""
    page.goto(worker.url)
    page.context.set_offline(True)
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#state")).to_contain_text("could not be sent")
    expect(page.get_by_label("Your question")).to_have_value(QUESTION)
    page.context.set_offline(False)
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#state")).to_contain_text("complete")


def test_the_page_is_for_everybody(worker: LocalRuntime, page: Page) -> None:
    """axe finds nothing in either colour scheme. A window of 320 px and the keyboard are enough."""
    page.set_viewport_size({"width": 320, "height": 600})
    schemes: list[Literal["light", "dark"]] = ["light", "dark"]
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{worker.url}/#%")
        assert findings(page) == []
        page.get_by_label("Your question").fill("x" * 300)
        page.keyboard.press("Enter")
        expect(page.locator("#state")).to_contain_text("complete")
        assert findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
