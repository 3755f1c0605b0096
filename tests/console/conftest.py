"""A console on CPython: a store in process, requests as values, pages parsed."""

import json
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any

import pytest

from agents_store_cloudflare import (
    CloudflareStore,
    HttpRequest,
    HttpResponse,
    LockObject,
    OperatorConsole,
    StreamObject,
    create_cloudflare_store,
)
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase

HOST = "https://agents.example"


class Parsed(HTMLParser):
    """A page as a browser reads it: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def links(self) -> list[str]:
        return [str(facts["href"]) for tag, facts in self.elements if tag == "a"]

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [facts for tag, facts in self.elements if tag == name]


class Site:
    """A console at /console over a store in process, with a clock that stands still."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.database = SqliteDatabase()
        self.locks = LocalObjects(LockObject, clock=self.clock)
        self.store: CloudflareStore = create_cloudflare_store(
            db=self.database, streams=LocalObjects(StreamObject, clock=self.clock), locks=self.locks
        )
        self.asked: list[str] = []
        chosen: dict[str, Any] = {"authorize": self.yes, **options}
        self.console = OperatorConsole(self.store, **chosen)

    def yes(self, request: object, action: str) -> bool:
        self.asked.append(action)
        return True

    async def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> HttpResponse:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        request = HttpRequest(method=method, url=f"{HOST}{path}", headers=named, body=body)
        answer = await self.console.handle(request)
        assert isinstance(answer, HttpResponse), answer
        return answer

    async def page(self, path: str) -> Parsed:
        answer = await self.ask(path)
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert isinstance(answer.body, str)
        return Parsed(answer.body)

    async def data(self, path: str) -> Any:
        answer = await self.ask(path)
        assert answer.status == 200, answer.body
        assert isinstance(answer.body, str)
        return json.loads(answer.body)["data"]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A console over a migrated store."""
    site = Site()
    await site.store.migrate()
    yield site
    site.database.close()
