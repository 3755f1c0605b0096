"""A real browser for tests of pages: its windows, and what the accessibility checker finds in them."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tools.browser import browser_executable
from tools.places import NODE_MODULES

OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--headless=new"),
]
PATIENCE_MS = 90_000


@contextmanager
def started_browser() -> Generator[Browser]:
    """Run one browser."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser_executable(), args=OPTIONS)
        yield started
        started.close()


@contextmanager
def new_window(browser: Browser, **options: Any) -> Generator[Page]:
    """Open a window without cookies. At the end, an error of the page's own scripts fails the test. The options are `new_context`'s."""
    context = browser.new_context(**options)
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert not errors, errors


def findings(page: Page) -> list[str]:
    """Return what axe finds wrong on the page as it stands."""
    page.evaluate((NODE_MODULES / "axe-core" / "axe.min.js").read_text())
    found = page.evaluate("axe.run().then((result) => result.violations)")
    return [f"{each['id']}: {json.dumps([node['html'] for node in each['nodes']])}" for each in found]
