"""examples/chat_page in the real runtime and a real browser: the AI SDK's own client sends, leaves, resumes and stops."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.end_to_end.browsing import PATIENCE_MS, findings
from tests.end_to_end.sse_client import PATIENCE_S, call
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parents[2] / "examples/chat_page/wrangler.toml"
LAST_WORDS = re.compile(r"Sentence 12 is stored before you read it, and read again if you come back\.\s*$")
NO_ANSWER = "the last question got no answer: ask again"
BROKEN_OFF = re.compile(f"interrupted|{NO_ANSWER}")
"""The page hears the end of the turn, or comes back after it."""


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRuntime]:
    """The example; an answer of some seconds, so that a page can leave in the middle."""
    variables = {"WORD_DELAY_MS": "40", "LOCK_TTL_S": "10"}
    with LocalRuntime(CONFIG, persist=tmp_path_factory.mktemp("chat"), vars=variables, ready_path="/") as runtime:
        yield runtime


def _asked(page: Page, worker: LocalRuntime, question: str) -> None:
    page.goto(worker.url)
    page.wait_for_function("location.hash.length > 1")
    page.get_by_label("Your question").fill(question)
    page.get_by_role("button", name="Send").click()


def _stored(page: Page, worker: LocalRuntime) -> list[dict[str, Any]]:
    chat = page.evaluate("location.hash.slice(1)")
    return list(call(worker.url, "GET", f"/api/chat/{chat}").json)


def _text(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["parts"])


def test_a_page_leaves_in_the_middle_and_comes_back(page: Page, worker: LocalRuntime) -> None:
    """UI-1: after a reload and in a second tab the whole answer is there, once, as it is stored; then nothing to resume."""
    _asked(page, worker, "What survives?")
    answer = page.locator("#talk .assistant")
    expect(answer).to_contain_text("Sentence 1 is")
    assert findings(page) == []
    page.reload()
    second = page.context.new_page()
    second.goto(page.url)
    for tab in (page, second):
        expect(tab.locator("#talk .assistant")).to_have_text(LAST_WORDS)
        expect(tab.get_by_role("button", name="Send")).to_be_enabled()
        expect(tab.locator("#talk .user")).to_have_text(["What survives?"])
    question, stored = _stored(page, worker)
    assert _text(question) == "What survives?"
    assert _text(stored).startswith("You asked: What survives? Sentence 1 ")
    assert [tab.locator("#talk .assistant").evaluate("e => e.textContent") for tab in (page, second)] == [
        _text(stored)
    ] * 2
    chat = page.evaluate("location.hash.slice(1)")
    assert call(worker.url, "GET", f"/api/chat/{chat}/stream").status == 204
    page.reload()
    expect(page.locator("#talk .assistant")).to_have_text(LAST_WORDS)
    assert findings(page) == []
    assert "hung" not in worker.log().read_text()


def test_another_tab_stops_the_answer(page: Page, worker: LocalRuntime) -> None:
    """UI-6: the turn ends early, its words are kept, both tabs are ready, and the next answer is not stopped."""
    _asked(page, worker, "A long story?")
    expect(page.locator("#talk .assistant")).to_contain_text("Sentence 1 is")
    second = page.context.new_page()
    second.goto(page.url)
    expect(second.locator("#talk .assistant")).to_contain_text("Sentence 1 is")
    second.get_by_role("button", name="Stop").click()
    for tab in (page, second):
        expect(tab.get_by_role("button", name="Send")).to_be_enabled()
        expect(tab.get_by_role("button", name="Stop")).to_be_hidden()
    _, stopped = _stored(page, worker)
    assert not LAST_WORDS.search(_text(stopped))
    assert page.locator("#talk .assistant").evaluate("e => e.textContent") == _text(stopped)
    page.get_by_label("Your question").fill("And now?")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#talk .assistant").nth(1)).to_have_text(LAST_WORDS)


def test_a_dead_server_and_a_lost_connection(page: Page, worker: LocalRuntime) -> None:
    """UI-2: the page comes back by itself; the answer that broke off is an error, and the next question is answered."""
    _asked(page, worker, "Who dies?")
    expect(page.locator("#talk .assistant")).to_contain_text("Sentence 1 is")
    worker.kill()
    worker.restart()
    deadline = time.monotonic() + PATIENCE_S
    while not page.locator("#state.bad", has_text=BROKEN_OFF).count():
        assert call(worker.url, "GET", "/cdn-cgi/local/scheduled").status == 200
        assert time.monotonic() < deadline, page.locator("#state").inner_text()
        page.wait_for_timeout(500)
    page.reload()
    expect(page.locator("#state.bad")).to_have_text(NO_ANSWER)
    page.context.set_offline(True)
    page.get_by_label("Your question").fill("Are you back?")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_have_text("the server is out of reach")
    page.context.set_offline(False)
    expect(page.get_by_role("status")).to_have_text(NO_ANSWER)
    expect(page.get_by_label("Your question")).to_have_value("Are you back?")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#talk .assistant").last).to_have_text(LAST_WORDS, timeout=PATIENCE_MS)
    assert [_text(each) for each in _stored(page, worker) if each["role"] == "user"] == ["Who dies?", "Are you back?"]


def test_an_answer_that_fails(page: Page, worker: LocalRuntime) -> None:
    """UI-3: the page shows that it failed, and may ask again."""
    _asked(page, worker, "Fail, please")
    expect(page.locator("#state.bad")).to_have_text("failed")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()


def test_requests_that_are_none(worker: LocalRuntime) -> None:
    """They are refused with their reason; a question that is sent twice is asked once."""
    for body in (b"{", b"[]", b'{"id": "c", "messages": []}', b'{"id": "c", "messages": [{"role": "assistant"}]}'):
        assert call(worker.url, "POST", "/api/chat", body=body).status == 400
    assert call(worker.url, "POST", "/api/chat/nobody/stop", body=b'{"messageId": "x-answer"}').status == 404
    assert call(worker.url, "POST", "/api/chat/nobody/stop", body=b"{}").status == 400
    assert call(worker.url, "GET", "/api/other").status == 404
    asked = {"id": "q1", "role": "user", "parts": [{"type": "text", "text": "Once?"}]}
    body = json.dumps({"id": "once", "messages": [asked], "trigger": "submit-message"}).encode()
    assert b"[DONE]" in call(worker.url, "POST", "/api/chat", body=body).body
    assert call(worker.url, "POST", "/api/chat", body=body).status == 409
    assert len(call(worker.url, "GET", "/api/chat/once").json) == 2
