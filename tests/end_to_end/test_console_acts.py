"""The console's acts in the real runtime and a real browser, on D1 and over homes; the rows that its lists read of very many sessions."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from agents_store_cloudflare import HttpRequest, OperatorConsole, run_migration
from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.transfer import import_session
from tests.end_to_end.browsing import findings, new_window
from tests.end_to_end.console_site import CONFIG, planted
from tests.end_to_end.sse_client import call
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

MANY = 10_000
UNFILTERED_ROWS = 60
FILTERED_ROWS = 500
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.fixture(scope="module")
def site() -> Iterator[LocalRuntime]:
    """The Worker with what `demo` plants."""
    with LocalRuntime(CONFIG) as runtime:
        planted(runtime, "demo")
        yield runtime


@pytest.fixture(scope="module")
def homes_site() -> Iterator[LocalRuntime]:
    """The same Worker with its sessions in homes. Nothing is planted yet."""
    with LocalRuntime(CONFIG, vars={"HOMES": "yes"}) as runtime:
        yield runtime


@pytest.fixture(params=["site", "homes_site"])
def any_site(request: pytest.FixtureRequest) -> LocalRuntime:
    """Each of the two."""
    found: LocalRuntime = request.getfixturevalue(request.param)
    return found


def _data(site: LocalRuntime, path: str) -> Any:
    answer = call(site.url, "GET", f"/console/api/{path}")
    assert answer.status == 200, answer.body
    return answer.json["data"]


async def _imported(copy: Any, paths: list[str]) -> dict[str, Any]:
    """Import a download into an empty database on the host, and return what its console shows."""
    database = SqliteDatabase()
    await run_migration(database)
    await import_session(database, copy)
    console = OperatorConsole(database, authorize=lambda request, action: True)
    shown: dict[str, Any] = {}
    for path in paths:
        answer = await console.handle(HttpRequest(url=f"http://host/console/api/{path}"))
        shown[path] = json.loads(str(answer.body))["data"]
    return shown


def _confirm(page: Page, button: str) -> None:
    page.get_by_role("button", name=button).click()


def _press_by_keyboard(page: Page) -> None:
    """Go to the page's button by Tab, see that the focus shows, and press Enter."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement?.tagName") == "BUTTON":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")


def test_a_dead_turn_is_marked_interrupted(site: LocalRuntime, page: Page) -> None:
    """The reason for a hanging session leads to its remedy, and after the act the session no longer hangs."""
    page.goto(f"{site.url}/console/session?id=beta/support-18")
    page.get_by_role("link", name="Mark the turn interrupted").click()
    _confirm(page, "Mark it interrupted")
    expect(page.get_by_role("heading", level=1)).to_have_text("Swept")
    expect(page.locator("dd").nth(1)).to_have_text("message-4711")
    page.get_by_role("link", name="Go on").click()
    expect(page.get_by_text("Nothing hangs here")).to_be_visible()
    expect(page.get_by_role("row", name="message-4711")).to_contain_text("interrupted")
    last = _data(site, "stream?id=beta/support-18")["chunks"][-1]
    assert (last["type"], last["turnId"], last["code"]) == ("turn-failed", "message-4711", "interrupted")


def test_fork_then_restore(any_site: LocalRuntime, page: Page) -> None:
    """A fork keeps the content that a restoration removes."""
    planted(any_site, "session", id="r")
    page.goto(f"{any_site.url}/console/checkpoints?id=r")
    page.get_by_role("link", name="Fork").last.click()
    page.get_by_label("Id of the new session").fill("r-copy")
    _confirm(page, "Fork")
    expect(page.get_by_role("heading", level=1)).to_have_text("Forked")
    page.goto(f"{any_site.url}/console/checkpoints?id=r")
    page.get_by_role("link", name="Restore").last.click()
    expect(page.locator("main")).to_contain_text("8 later messages and every newer checkpoint are gone for good")
    _confirm(page, "Restore")
    expect(page.get_by_role("heading", level=1)).to_have_text("Restored")
    assert _data(any_site, "session?id=r")["session"]["messageCount"] == 4
    assert _data(any_site, "session?id=r-copy")["session"]["messageCount"] == 4


def test_end_and_fail_a_stream(any_site: LocalRuntime, page: Page) -> None:
    """Readers get the operator's status or error."""
    for name, link, button, label, text in (
        ("e", "End this stream", "End the stream", "Status that readers get", "stopped"),
        ("f", "Fail this stream", "Fail the stream", "Error that readers get", "out of order"),
    ):
        planted(any_site, "session", id=name)
        planted(any_site, "chunks", id=name, first=1, count=2)
        page.goto(f"{any_site.url}/console/stream?id={name}")
        page.get_by_role("link", name=link).click()
        page.get_by_label(label).fill(text)
        _confirm(page, button)
        page.get_by_role("link", name="Go on").click()
        expect(page.locator("dl")).to_contain_text(text)


def test_export_and_delete(any_site: LocalRuntime, page: Page) -> None:
    """The download is the whole session: its import shows the same pages. The receipt of the deletion names the deleted parts."""
    planted(any_site, "session", id="gone")
    planted(any_site, "chunks", id="gone", first=1, count=5)
    page.goto(f"{any_site.url}/console/session?id=gone")
    page.get_by_role("link", name="Export").click()
    with page.expect_download() as download:
        _press_by_keyboard(page)
    copy = json.loads(Path(download.value.path()).read_text())
    assert (copy["sessionId"], len(copy["messages"])) == ("gone", 12)
    paths = [f"{kind}?id=gone" for kind in ("messages", "state", "checkpoints", "runs")]
    with ThreadPoolExecutor(1) as thread:  # the browser's loop runs in this one
        shown = thread.submit(asyncio.run, _imported(copy, paths)).result()
    assert shown == {path: _data(any_site, path) for path in paths}
    page.goto(f"{any_site.url}/console/session?id=gone")
    page.get_by_role("link", name="Delete").click()
    _confirm(page, "Delete for good")
    expect(page.get_by_role("heading", level=1)).to_have_text("Deleted")
    expect(page.locator("dl")).to_contain_text("1: gone")
    facts = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True))
    assert (facts["Messages"], facts["Checkpoints"], facts["Chunks"]) == ("12", "3", "5")
    assert call(any_site.url, "GET", "/console/session?id=gone").status == 404


def test_raise_a_budget(site: LocalRuntime, page: Page) -> None:
    """The keyboard alone is enough for the form, the number and Enter."""
    page.goto(f"{site.url}/console/budgets")
    page.get_by_role("row", name="acme", exact=False).first.get_by_role("link", name="Change the cap").focus()
    page.keyboard.press("Enter")
    page.get_by_label("New cap, in micro_usd").focus()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("30000000")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("The cap is raised")
    assert _data(site, "budgets")["budgets"][0]["cap"] == 30_000_000


ACTS_BY_KEYBOARD = {
    "end-stream": "The stream has ended",
    "fail-stream": "The stream has failed",
    "sweep": "Swept",
    "restore": "Restored",
    "fork": "Forked",
    "delete": "Deleted",
}
"""An act -> the heading of its receipt. Export, which gives a file, and a budget have tests of their own."""


@pytest.mark.parametrize("act", ACTS_BY_KEYBOARD)
def test_each_act_by_keyboard_alone(site: LocalRuntime, browser: Browser, act: str) -> None:
    """Tab leads to the button, Enter presses it; its page has no finding of axe, in light and dark, and fits a phone."""
    planted(site, "session", id=f"keys-{act}")
    planted(site, "chunks", id=f"keys-{act}", first=1, count=2)
    [checkpoint, *_] = _data(site, f"checkpoints?id=keys-{act}")["checkpoints"]
    address = f"{site.url}/console/act/{act}?id=keys-{act}&checkpoint={checkpoint['id']}"
    for scheme in SCHEMES:
        with new_window(browser, color_scheme=scheme, viewport={"width": 360, "height": 640}, bypass_csp=True) as page:
            page.goto(address)
            assert findings(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
    with new_window(browser) as page:
        page.goto(address)
        _press_by_keyboard(page)
        expect(page.get_by_role("heading", level=1)).to_have_text(ACTS_BY_KEYBOARD[act])


def test_a_form_that_somebody_else_sends_does_nothing(site: LocalRuntime, page: Page) -> None:
    """A form that another origin posts with the operator's cookies is refused."""
    page.goto(f"{site.url}/console/act/delete?id=acme/invoices")
    fields = {
        each.get_attribute("name"): each.get_attribute("value") for each in page.locator("input[type=hidden]").all()
    }
    inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
    form = f'<form method="post" action="{site.url}/console/act/delete">{inputs}<button>Win</button></form>'
    page.route("http://evil.example/", lambda route: route.fulfill(content_type="text/html", body=form))
    page.goto("http://evil.example/")
    with page.expect_response(f"{site.url}/console/act/delete") as refused:
        page.get_by_role("button", name="Win").click()
    assert refused.value.status == 403
    assert call(site.url, "GET", "/console/session?id=acme/invoices").status == 200


def test_rows_read_of_ten_thousand_sessions(site: LocalRuntime) -> None:
    """CN-2: D1 counts at most 60 rows for a page without a filter and 500 with one, and the footer shows the number."""
    planted(site, "many", count=MANY)

    def rows(query: str) -> int:
        answer = call(site.url, "GET", f"/console/api/sessions?{query}")
        assert answer.status == 200, answer.body
        return int(answer.json["cost"]["d1"]["rowsRead"])

    cursor = _data(site, "sessions")["nextCursor"]
    assert cursor is not None
    unfiltered = {
        query: rows(query) for query in ("", f"cursor={quote(cursor)}", "prefix=many-", "view=running", "view=expired")
    }
    assert {query: count for query, count in unfiltered.items() if count > UNFILTERED_ROWS} == {}
    filtered = {
        query: rows(query) for query in ("agent=rare", "status=nothing", "view=open-runs", "prefix=many-&agent=rare")
    }
    assert {query: count for query, count in filtered.items() if count > FILTERED_ROWS} == {}
    footer = call(site.url, "GET", "/console").body.decode()
    assert f"This page: {unfiltered['']} rows read" in footer
