"""examples/homes in the real runtime and a real browser: a page that follows several sessions, each in a home of its own."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.end_to_end.browsing import findings, new_window
from tests.end_to_end.sse_client import Event, call, events
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parents[2] / "examples/homes/wrangler.toml"
STEPS = 6
DONE = re.compile(r"^done, step 6, 7 messages, version \d+$")


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRuntime]:
    """The example; a turn of nine seconds, so that a page can leave in the middle on a slow machine too."""
    variables = {"STEP_DELAY_MS": "1500", "LOCK_TTL_S": "10"}
    with LocalRuntime(CONFIG, persist=tmp_path_factory.mktemp("board"), vars=variables, ready_path="/") as runtime:
        yield runtime


def _card(page: Page, name: str) -> Locator:
    return page.locator("#board > li").filter(has=page.get_by_role("heading", name=name, exact=True))


def _facts(page: Page, name: str) -> Locator:
    return _card(page, name).locator(".facts")


def _add(page: Page, *names: str) -> None:
    for name in names:
        page.get_by_label("New project").fill(name)
        page.get_by_role("button", name="Add").click()
        expect(_facts(page, name)).to_have_text(re.compile("^new, step 0, 0 messages"))


def _post(worker: LocalRuntime, path: str, **body: str) -> Any:
    return call(worker.url, "POST", path, body=json.dumps(body).encode())


def test_a_page_follows_several_homes(worker: LocalRuntime, page: Page) -> None:
    """HM-14: two tabs see the steps of three turns at once, live, each message once and in order; so does the page after a reload."""
    page.goto(worker.url)
    _add(page, "ada", "bob-1", "ceres")
    second = page.context.new_page()
    second.goto(worker.url)
    for name in ("ada", "bob-1", "ceres"):
        expect(_facts(second, name)).to_have_text(re.compile("^new"))
    page.get_by_label("Task for all").fill("Plan")
    page.get_by_role("button", name="Work on all").click()
    for name in ("ada", "bob-1", "ceres"):
        expect(_facts(second, name)).to_have_text(re.compile(r"^working, step [1-5]"))
    assert findings(page) == []
    page.reload()
    for tab in (page, second):
        for name in ("ada", "bob-1", "ceres"):
            expect(_facts(tab, name)).to_have_text(DONE)
            said = _card(tab, name).locator(".talk > li")
            expect(said).to_have_count(STEPS + 1)
            assert (said.first.inner_text(), said.last.inner_text()) == ("Plan", "Done: Plan")
            assert len(set(said.all_inner_texts())) == STEPS + 1
    second.get_by_role("button", name="Delete ceres").click()
    for tab in (page, second):
        expect(_card(tab, "ceres")).to_have_count(0)
    assert findings(page) == []


def test_the_page_survives_a_dead_server(worker: LocalRuntime, page: Page) -> None:
    """HM-5, HM-16: after SIGKILL every shown step is there, the home closes the dead turn by itself, and the next one works."""
    page.goto(worker.url)
    _add(page, "dora", "emil")
    for name in ("dora", "emil"):
        page.get_by_role("button", name=f"Work on {name}").click()
        expect(_facts(page, name)).to_have_text(re.compile(r"^working, step [1-5]"))
    worker.kill()
    expect(_facts(page, "dora")).to_have_class(re.compile("bad"))
    shown = {name: _card(page, name).locator(".talk > li").all_inner_texts() for name in ("dora", "emil")}
    worker.restart()
    for name, before in shown.items():
        expect(_facts(page, name)).to_have_text(re.compile("^broken off"))
        assert _card(page, name).locator(".talk > li").all_inner_texts()[: len(before)] == before
    page.context.set_offline(True)
    page.get_by_role("button", name="Work on dora").click()
    expect(page.get_by_role("status")).to_have_text("dora: the server is out of reach")
    page.context.set_offline(False)
    page.get_by_role("button", name="Work on dora").press("Enter")
    expect(page.get_by_role("status")).to_have_text("")
    expect(_facts(page, "dora")).to_have_text(re.compile("^done"))
    expect(_card(page, "dora").locator(".talk > li").last).to_contain_text("Done: ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_window(worker: LocalRuntime, browser: Browser, scheme: Any) -> None:
    """On 360 px nothing has to be scrolled sideways, whatever a project is called, in both colour schemes."""
    name = f"{scheme}-{'w' * 34}"
    _post(worker, "/projects", name=name)
    _post(worker, f"/projects/{name}/turns", task="x" * 200, turnId="1")
    with new_window(browser, viewport={"width": 360, "height": 640}, color_scheme=scheme) as narrow:
        narrow.goto(worker.url)
        expect(_facts(narrow, name)).to_have_text(DONE)
        assert narrow.evaluate("document.documentElement.scrollWidth") <= 360
        assert findings(narrow) == []


def test_the_same_over_server_sent_events(worker: LocalRuntime) -> None:
    """HM-14: versions only rise, the last summary counts all messages, and the deletion ends the events."""
    _post(worker, "/projects", name="flora")
    followed = events(worker.url, "/live/flora/state")
    seen = [next(followed)]
    assert _post(worker, "/projects/flora/turns", task="Plan", turnId="1").status == 202
    while seen[-1].data["messageCount"] <= STEPS:
        seen.append(next(followed))
    versions = [event.data["version"] for event in seen]
    assert versions == sorted(set(versions))
    assert len(versions) >= STEPS
    assert call(worker.url, "DELETE", "/projects/flora").json == {"deleted": True}
    rest: list[Event] = list(followed)
    assert rest[-1].kind == "deleted"
    assert call(worker.url, "GET", "/live/flora/state").status == 404


def test_requests_that_are_none(worker: LocalRuntime) -> None:
    """They are refused with their reason. A turn that is sent twice, and one beside another, are refused too."""
    for body in (b"{", b"[]", b'{"name": ""}', b'{"name": "a//b"}', b'{"name": 1}'):
        assert call(worker.url, "POST", "/projects", body=body).status == 400
    assert call(worker.url, "GET", "/projects/nobody").status == 404
    assert _post(worker, "/projects/nobody/turns", task="x", turnId="1").status == 404
    assert call(worker.url, "GET", "/streams/ada/events").status == 403
    _post(worker, "/projects", name="once")
    assert call(worker.url, "GET", "/projects/once?from=x").status == 400
    assert _post(worker, "/projects/once/turns", task="x", turnId="1").status == 202
    assert _post(worker, "/projects/once/turns", task="x", turnId="1").status == 409
    assert _post(worker, "/projects/once/turns", task="x", turnId="2").status == 409
