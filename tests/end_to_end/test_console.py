"""The console in the real runtime and a real browser: each page, without JavaScript, by keyboard, narrow, hostile texts, axe."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.end_to_end.browsing import PATIENCE_MS, findings
from tests.end_to_end.console_site import CONFIG, PAGES, planted
from tests.end_to_end.sse_client import call
from tools.local_runtime import LocalRuntime
from tools.screenshots import take_all

pytestmark = pytest.mark.runtime

SMALLEST_PICTURE_BYTES = 20_000
"""A picture of an error page is smaller."""


@pytest.fixture(scope="module")
def site() -> Iterator[LocalRuntime]:
    """Serve the Worker with a week of sessions, a hanging one, and hostile texts."""
    with LocalRuntime(CONFIG) as runtime:
        planted(runtime, "demo")
        planted(runtime, "hostile")
        planted(runtime, "session", id="live")  # here, so that lists have the same rows in any order of the tests
        yield runtime


class Window:
    """A browser window that keeps the messages of its console and of the policy."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.context: BrowserContext = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console", lambda message: self.complaints.append(message.text) if message.type == "error" else None
        )
        self.page.on("request", lambda request: self.foreign.append(request.url))


@pytest.fixture
def window(browser: Browser, site: LocalRuntime) -> Iterator[Window]:
    """Open a new window. A script error, a violation of the policy, or a request to another server fails the test."""
    opened = Window(browser)
    yield opened
    opened.context.close()
    assert opened.complaints == []
    assert [url for url in opened.foreign if not url.startswith((site.url, "data:"))] == []


@pytest.fixture
def page(window: Window) -> Page:
    """Return the page of a new window."""
    return window.page


def test_from_the_list_to_a_message(site: LocalRuntime, page: Page) -> None:
    """The list leads to a session, and the session to each message. Markdown becomes elements."""
    page.goto(f"{site.url}/console")
    expect(page.get_by_role("row")).to_have_count(9)
    page.get_by_role("link", name="gamma/research").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("gamma/research")
    expect(page.get_by_text("Nothing hangs here")).to_be_visible()
    page.get_by_role("link", name="All 12 messages").click()
    expect(page.locator(".message")).to_have_count(12)
    answer = page.locator(".message.assistant").last
    expect(answer.locator("table td").first).to_have_text("A")
    expect(answer.locator("strong")).to_have_text("stale writers")
    call_of_tool = page.locator("details.call").first
    expect(call_of_tool.locator("pre")).to_be_hidden()
    call_of_tool.locator("summary").click()
    expect(call_of_tool.locator("pre")).to_contain_text("fencing token")
    expect(call_of_tool.locator("pre")).to_be_visible()
    expect(page.locator("footer")).to_have_text(re.compile(r"This page: \d+ rows read in \d+ queries to D1"))


def test_search(site: LocalRuntime, page: Page) -> None:
    """The form narrows the list, and its address can be saved."""
    page.goto(f"{site.url}/console")
    page.get_by_label("Id begins with").fill("beta/")
    page.keyboard.press("Enter")
    expect(page.get_by_role("row")).to_have_count(3)
    assert "prefix=beta" in page.url
    page.get_by_label("Status").fill("completed")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("link", name="beta/support-17")).to_be_visible()
    expect(page.get_by_role("row")).to_have_count(2)


def test_a_hanging_session_says_why(site: LocalRuntime, page: Page) -> None:
    """Two clicks lead from the list of open turns to the reason. The lock is shown as free."""
    page.goto(f"{site.url}/console")
    page.get_by_label("Show").select_option("running")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="beta/support-18").click()
    hangs = page.locator("#turn-dead")
    expect(hangs).to_contain_text("message-4711")
    expect(hangs).to_contain_text("nobody holds the session's lock")
    expect(hangs.get_by_role("link", name="Mark the turn interrupted")).to_be_visible()


def test_state_and_differences(site: LocalRuntime, page: Page) -> None:
    """The tree unfolds. Two chosen checkpoints are compared."""
    page.goto(f"{site.url}/console/checkpoints?id=gamma/research")
    page.get_by_label(re.compile("^from ")).last.check()
    page.get_by_label(re.compile("^to ")).first.check()
    page.get_by_role("button", name="Compare the two").click()
    expect(page.get_by_role("cell", name="/customState/tries")).to_be_visible()
    expect(page.get_by_role("row", name="/customState/tries")).to_contain_text("changed")
    expect(page.get_by_text("8 messages were added")).to_be_visible()
    page.get_by_role("link", name="State", exact=True).click()
    expect(page.locator(".tree")).to_contain_text("sources")
    expect(page.get_by_text("call-4")).to_be_visible()


def test_a_stream_is_live_and_survives_a_reload(site: LocalRuntime, page: Page) -> None:
    """Chunks appear when they come. After a reload, and after the stream's end, each is there once."""
    planted(site, "chunks", id="live", first=1, count=3)
    page.goto(f"{site.url}/console/stream?id=live")
    expect(page.locator("#chunks li")).to_have_count(3)
    expect(page.locator("#live")).to_contain_text("Live")
    planted(site, "chunks", id="live", first=4, count=2)
    expect(page.locator("#chunks li")).to_have_count(5)
    page.reload()
    expect(page.locator("#live")).to_contain_text("Live")
    planted(site, "chunks", id="live", first=6, count=1)
    expect(page.locator("#chunks li")).to_have_count(6)
    assert [each.inner_text().split("\n")[0] for each in page.locator("#chunks summary").all()][-1].startswith(
        "text word 6"
    )
    page.get_by_role("link", name="End this stream").click()
    page.get_by_role("button", name="End the stream").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The stream has ended")


def test_usage_and_budgets(site: LocalRuntime, page: Page) -> None:
    """Each kind has a chart, a table and a file with the same numbers. Budgets have bars."""
    page.goto(f"{site.url}/console/usage")
    expect(page.locator("svg.chart rect")).to_have_count(7)
    page.locator("select[name=by]").select_option("tenant")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("cell", name="acme/", exact=True)).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="As CSV").click()
    assert download.value.suggested_filename == "usage-by-tenant.csv"
    page.goto(f"{site.url}/console/budgets")
    expect(page.get_by_role("meter")).to_have_count(3)
    expect(page.get_by_role("row", name="acme/monthly-report")).to_contain_text("80 %")


def test_by_keyboard_alone(site: LocalRuntime, page: Page) -> None:
    """Tab and Enter lead past the navigation, through the form, to a session. The focus is visible."""
    page.goto(f"{site.url}/console?prefix=gamma")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("To the content")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.locator(":focus").inner_text() == "gamma/research":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("gamma/research")


@pytest.mark.parametrize("path", PAGES)
def test_pages_work_without_javascript(browser: Browser, site: LocalRuntime, path: str) -> None:
    """CN-4: Each page is complete without a script."""
    window = Window(browser, java_script_enabled=False)
    window.page.goto(site.url + path)
    expect(window.page.locator("h1")).to_be_visible()
    expect(window.page.locator("footer")).to_contain_text("This page")
    window.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, site: LocalRuntime, scheme: Any) -> None:
    """The accessibility checker axe has no finding on any page, in both colour schemes."""
    window = Window(browser, color_scheme=scheme, bypass_csp=True)  # to run the checker, not the page
    found: list[str] = []
    for path in PAGES:
        window.page.goto(site.url + path)
        window.page.wait_for_load_state("networkidle" if "stream" not in path else "load")
        found += [f"{path}: {each}" for each in findings(window.page)]
    window.context.close()
    assert found == []


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_wider_than_a_phone(browser: Browser, site: LocalRuntime, path: str) -> None:
    """On 360 pixels no page scrolls sideways. A wide table scrolls inside the page."""
    window = Window(browser, viewport={"width": 360, "height": 640})
    window.page.goto(site.url + path)
    assert window.page.evaluate("document.documentElement.scrollWidth") <= 360
    window.context.close()


def test_every_picture_of_the_docs_can_be_taken(browser: Browser, site: LocalRuntime, tmp_path: Path) -> None:
    """`make screenshots` opens pages that exist and fill the picture."""
    files = take_all(browser, site.url, tmp_path)
    assert [file.name for file in files if file.stat().st_size < SMALLEST_PICTURE_BYTES] == []


def test_hostile_texts_do_nothing(site: LocalRuntime, window: Window) -> None:
    """CN-4: HTML, scripts, ANSI codes and endless lines in any field stay text: they make no element, run no script and send no request."""
    page = window.page
    page.goto(f"{site.url}/console?prefix={quote('<b')}")
    page.get_by_role("link", name=re.compile("<b onclick")).click()
    name = quote("<b onclick=alert(1)>&\"'/../ä", safe="")
    for path in ("session", "messages", "message", "state", "checkpoints", "runs", "stream", "value"):
        page.goto(f"{site.url}/console/{path}?id={name}&n=1&path=/long")
        page.wait_for_timeout(200)
        assert (
            page.locator("main script, main img, main svg:not(.chart), main b[onclick], [onerror], [onload]").count()
            == 0
        )
        assert page.locator('a[href^="javascript"]').count() == 0
        assert page.evaluate("window.hit") is None
    page.goto(f"{site.url}/console/messages?id={name}")
    expect(page.locator(".message").first).to_contain_text("␛[31mred␛[0m ⟨U+202E⟩gnihtemos")
    expect(page.get_by_role("link", name="Show all 1,500,000 characters")).to_be_visible()
    for path in ("usage?by=model", "budgets", "usage?by=tenant"):
        page.goto(f"{site.url}/console/{path}")
        assert page.locator("main img, main script").count() == 0


def test_readers_may_not_act_and_nobody_may_read(site: LocalRuntime) -> None:
    """`authorize` of the Worker decides, for pages, JSON, files and acts."""
    for path, who, status in (
        ("/console", "nobody", 403),
        ("/console/api/sessions", "nobody", 403),
        ("/console/assets/console.css", "nobody", 403),
        ("/console/api/events?stream=live", "nobody", 403),
        ("/console", "reader", 200),
        ("/console/act/delete?id=gamma/research", "reader", 403),
    ):
        assert call(site.url, "GET", path, headers={"cookie": f"who={who}"}).status == status, path
