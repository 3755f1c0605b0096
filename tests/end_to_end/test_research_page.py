"""The research agent's page in a real browser: streaming, reloading, a server that dies, markdown, hostile text, accessibility."""

import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.end_to_end.browsing import findings
from tests.end_to_end.conftest import CONFIG
from tests.end_to_end.sse_client import call, events
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

QUESTION = "How does a fencing token protect a session after its lock is lost?"


def ask(page: Page, question: str = QUESTION) -> None:
    """Type a question and send it."""
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")


def ready(page: Page) -> None:
    """Wait until no turn runs."""
    expect(page.locator("#facts")).to_have_text(re.compile("^Ready"))


def answers(page: Page) -> Locator:
    """Return all shown answers."""
    return page.locator(".answer")


def test_a_start_explains_and_suggests(worker: LocalRuntime, page: Page) -> None:
    """The first visit shows an explanation. A click on a suggestion asks it."""
    page.goto(worker.url)
    expect(page.get_by_text("A small research agent")).to_be_visible()
    page.get_by_role("button", name="What does a save promise?").click()
    expect(page.locator(".question")).to_have_text("What does a save promise?")
    expect(page.locator("#start")).to_be_hidden()
    ready(page)


def test_a_reload_in_the_middle_goes_on(worker: LocalRuntime, page: Page) -> None:
    """After a reload during an answer, the page shows the whole answer once."""
    page.goto(worker.url)
    ask(page)
    expect(answers(page)).to_contain_text(re.compile(r"\w+"))
    page.reload()
    ready(page)
    expect(page.locator(".question")).to_have_count(1)
    whole = answers(page).inner_text()
    page.reload()
    ready(page)
    expect(answers(page)).to_have_count(1)
    assert answers(page).inner_text() == whole


def test_a_question_during_an_answer_is_asked_next(worker: LocalRuntime, page: Page) -> None:
    """The question box stays usable. A second question is asked when the first answer ends."""
    page.goto(worker.url)
    ask(page)
    expect(page.locator(".answer.live")).to_be_visible()
    ask(page, "What does a save promise?")
    expect(page.locator("#queued-text")).to_have_text("What does a save promise?")
    expect(page.locator(".question")).to_have_count(2)
    expect(page.locator("#queued")).to_be_hidden()
    ready(page)
    expect(page.locator(".answer.live")).to_have_count(0)


def test_markdown_is_shown_and_scripts_are_not(worker: LocalRuntime, page: Page) -> None:
    """The page renders markdown. Scripts, handlers, styles and forms in an answer do nothing."""
    page.goto(worker.url)
    page.evaluate(
        """async () => {
            const talk = await import("/talk.js");
            talk.words("| a | b |\\n|---|---|\\n| 1 | 2 |\\n\\n**bold**\\n\\n");
            talk.words('<img src=x onerror="window.hit=1"><script>window.hit=2</script><a href="javascript:window.hit=3">x</a>');
            talk.words('<form action="//evil"><input name=q></form><style>*{display:none}</style>');
            talk.finish();
        }"""
    )
    answer = page.locator(".answer")
    expect(answer.locator("td")).to_have_text(["1", "2"])
    expect(answer.locator("strong")).to_have_text("bold")
    assert answer.locator("script, style, form, input, [onerror], [href^=javascript]").count() == 0
    assert page.evaluate("window.hit") is None


def test_a_server_that_dies_is_told_and_recovered(migrated_state: Path, tmp_path: Path, page: Page) -> None:
    """The page says that the server is gone. When it is back, the page shows that the answer was interrupted, and a new question works."""
    state = shutil.copytree(migrated_state, tmp_path / "state")
    variables = {"TOKEN_DELAY_MS": "150", "LOCK_TTL_S": "15"}
    runtime = LocalRuntime(CONFIG, persist=state, vars=variables)
    runtime.start()
    try:
        page.goto(runtime.url)
        ask(page)
        expect(answers(page)).to_contain_text(re.compile(r"\w+ \w+"))
        runtime.kill()
        expect(page.locator("#facts")).to_have_class("bad")
        runtime.restart()
        expect(page.locator(".note")).to_contain_text("interrupted")
        ready(page)
        ask(page, "What does a save promise?")
        expect(page.locator(".question")).to_have_count(2)
        expect(answers(page).last).to_contain_text(re.compile(r"says:"))
        ready(page)
        expect(page.locator(".note")).to_have_count(1)  # told by the lock first, then by the stream
        page.reload()
        ready(page)
        expect(page.locator(".note")).to_have_count(1)
    finally:
        runtime.close()


def test_a_turn_that_loses_its_lock_is_told(migrated_state: Path, tmp_path: Path, page: Page) -> None:
    """A turn whose Worker lives but has lost the lock says nothing more. The page looks at the lock, and says so."""
    state = shutil.copytree(migrated_state, tmp_path / "state")
    # The first run of pydantic-ai in a Worker imports for about a second. Nothing can refresh the lock meanwhile.
    with LocalRuntime(CONFIG, persist=state, vars={"LOCK_TTL_S": "0.1"}) as runtime:
        page.goto(runtime.url)
        ask(page)
        expect(page.locator(".note")).to_contain_text("interrupted")
        ready(page)


def test_offline_is_told(worker: LocalRuntime, page: Page) -> None:
    """A question that cannot be sent stays in the box, and the page gives the reason."""
    page.goto(worker.url)
    page.context.set_offline(True)
    ask(page)
    expect(page.locator("#facts")).to_contain_text("could not be sent")
    expect(page.get_by_label("Your question")).to_have_value(QUESTION)
    page.context.set_offline(False)
    ask(page)
    ready(page)


@pytest.mark.parametrize("name", ["%", "%zz", "a/b", "<b>"])
def test_any_hash_is_a_session(worker: LocalRuntime, page: Page, name: str) -> None:
    """An address opens a session even if its hash is not valid percent-encoding."""
    page.goto(f"{worker.url}/#{name}")
    expect(page.locator("#start")).to_be_visible()


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_is_wider_than_the_window(worker: LocalRuntime, page: Page, width: int) -> None:
    """Long words, code and tables do not make the page scroll sideways."""
    page.set_viewport_size({"width": width, "height": 700})
    page.goto(worker.url)
    page.evaluate(
        """async () => {
            const talk = await import("/talk.js"), long = "x".repeat(600);
            talk.question(long); talk.toolCall("t", long, long); talk.toolResult("t", long);
            talk.words(long + "\\n\\n```\\n" + long + "\\n```\\n\\n| " + long + " | b |\\n|---|---|\\n| 1 | 2 |\\n");
            talk.finish(); talk.note(long); talk.cost(long);
        }"""
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_reading_above_is_not_disturbed(worker: LocalRuntime, page: Page) -> None:
    """New words do not move a reader who has scrolled up. A button leads to the end."""
    page.set_viewport_size({"width": 600, "height": 400})
    page.goto(worker.url)
    add = """async (count) => {
        const talk = await import("/talk.js");
        for (let i = 0; i < count; i++) talk.note("line " + i);
    }"""
    page.evaluate(add, 60)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_function("scrollY === 0")
    page.evaluate("new Promise(requestAnimationFrame)")
    page.evaluate(add, 5)
    assert page.evaluate("scrollY") == 0
    page.get_by_role("button", name="Go on reading at the end").click()
    page.wait_for_function("innerHeight + scrollY >= document.documentElement.scrollHeight - 2")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(worker: LocalRuntime, page: Page, scheme: Any) -> None:
    """The accessibility checker axe has no finding, before and after an answer."""
    page.emulate_media(color_scheme=scheme)
    page.goto(worker.url)
    assert findings(page) == []
    ask(page)
    ready(page)
    assert findings(page) == []


def test_the_console_beside_it_shows_why_a_session_hangs(worker: LocalRuntime, page: Page) -> None:
    """CN-3: For a turn whose server was killed, two clicks lead from the list to the reason, and two more end the turn."""
    asked = call(worker.url, "POST", "/sessions/planted/turns", body=b'{"question": "What does a save promise?"}')
    assert asked.status == 202, asked.body
    next(event for event in events(worker.url, "/sessions/planted/events") if event.kind == "chunk")
    worker.kill()
    worker.restart()
    page.goto(f"{worker.url}/console")
    expect(page.locator("footer")).to_contain_text("rows read")
    page.get_by_role("link", name="planted", exact=True).click()
    reason = page.locator("#turn-dead")
    deadline = time.monotonic() + 90
    while not reason.is_visible():  # until the lease of the dead server ends
        assert time.monotonic() < deadline, page.locator("main").inner_text()
        page.reload()
    expect(reason).to_contain_text("nobody holds the session's lock")
    assert findings(page) == []
    reason.get_by_role("link", name="Mark the turn interrupted").click()
    page.get_by_role("button").last.click()
    page.goto(f"{worker.url}/console/session?id=planted")
    expect(reason).to_have_count(0)
    expect(page.locator("main")).to_contain_text("interrupted")
