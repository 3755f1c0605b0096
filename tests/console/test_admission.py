"""Who may look: `authorize`, and nothing but `True`."""

import logging
from typing import Any

import pytest

from agents_store_cloudflare import HttpRequest
from tests.console.conftest import HOST, Site

PATHS = [
    "/console",
    "/console/",
    "/console/session?id=s",
    "/console/api/sessions",
    "/console/assets/console.css",
    "/console/x",
]


@pytest.mark.parametrize("answer", [False, None, 1, "yes", object()])
@pytest.mark.parametrize("path", PATHS)
async def test_everything_but_true_denies(answer: object, path: str) -> None:
    """CN-1: Any result except True admits nobody, on every path."""

    def authorize(request: object, action: str) -> Any:
        return answer

    site = Site(authorize=authorize)
    assert (await site.ask(path)).status == 403


async def test_an_exception_denies_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """If `authorize` raises, nobody gets in."""

    async def authorize(request: object, action: str) -> bool:
        raise RuntimeError("no directory")

    site = Site(authorize=authorize)
    with caplog.at_level(logging.ERROR):
        assert (await site.ask("/console")).status == 403
    assert "authorize failed" in caplog.text


async def test_authorize_is_given_the_request_and_read(site: Site) -> None:
    """A page calls `authorize` with `read` once, before anything is read."""
    assert (await site.ask("/console")).status == 200
    assert site.asked == ["read"]


async def test_other_paths_are_not_the_consoles(site: Site) -> None:
    """CN-1: The console does not answer requests outside its prefix."""
    for path in ("/", "/consoles", "/api/console", "/con"):
        assert await site.console.handle(HttpRequest(url=f"{HOST}{path}")) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", ""])
async def test_pages_are_only_read(site: Site, method: str) -> None:
    """A page allows GET and HEAD."""
    assert (await site.ask("/console", method)).status in (403, 404, 405)


async def test_head_has_the_headers_and_no_body(site: Site) -> None:
    """HEAD has the headers of GET."""
    got, told = await site.ask("/console"), await site.ask("/console", "HEAD")
    assert told.body is None
    assert told.headers == got.headers


async def test_headers_allow_nothing_from_elsewhere(site: Site) -> None:
    """Pages, JSON and errors have the policy, and no cache keeps them."""
    for path in ("/console", "/console/api/sessions", "/console/session?id=missing", "/console/nothing"):
        headers = (await site.ask(path)).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
