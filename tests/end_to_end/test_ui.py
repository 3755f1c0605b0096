"""A chat page's two endpoints in the real runtime: one message live, resumed from its beginning, and nothing where none is written."""

import http.client
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.sse_client import PATIENCE_S, call
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parent / "ui_worker" / "wrangler.toml"
HELD_BACK = 3
WHOLE = 18


@pytest.fixture(scope="module")
def worker() -> Iterator[LocalRuntime]:
    with LocalRuntime(CONFIG) as runtime:
        yield runtime


class Page:
    """One connection of a page."""

    def __init__(self, base: str, method: str, path: str, body: Any = None) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=PATIENCE_S)
        self._connection.request(method, path, None if body is None else json.dumps(body))
        self.answer = self._connection.getresponse()

    def read(self, count: int | None = None) -> list[Any]:
        """Return the data of the next frames: `count` of them, or all up to the end of the answer."""
        found: list[Any] = []
        while count is None or len(found) < count:
            line = self.answer.readline()
            if not line:
                self.leave()
                return found
            if line.startswith(b"data: "):
                text = line.removeprefix(b"data: ").decode().strip()
                found.append(text if text == "[DONE]" else json.loads(text))
        return found

    def leave(self) -> None:
        self.answer.close()
        self._connection.close()


def ask(base: str, chat: str, text: str) -> Page:
    return Page(base, "POST", "/api/chat", {"id": chat, "messages": [{"role": "user", "content": text}]})


def test_a_page_leaves_and_resumes(worker: LocalRuntime) -> None:
    """UI-1, UI-2: Before an answer there is none.

    A page that left gets the whole message, and other pages get it too. After it there is none.
    """
    base, chat = worker.url, f"chat-{uuid.uuid4().hex[:8]}"
    assert call(base, "GET", f"/api/chat/{chat}/stream").status == 204
    first = ask(base, chat, "HOLD")
    assert first.answer.status == 200
    assert first.answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    seen = first.read(WHOLE - HELD_BACK)
    first.leave()
    resumed = [Page(base, "GET", f"/api/chat/{chat}/stream") for _ in range(3)]
    assert [page.answer.status for page in resumed] == [200, 200, 200]
    assert call(base, "GET", f"/go/{chat}").status == 200
    for page in resumed:
        chunks = page.read()
        assert chunks[: len(seen)] == seen
        assert [chunk["type"] for chunk in chunks[len(seen) : -1]] == ["text-end", "finish-step", "finish"]
        assert chunks[-1] == "[DONE]"
    nothing = call(base, "GET", f"/api/chat/{chat}/stream")
    assert (nothing.status, nothing.body) == (204, b"")
    assert "hung" not in worker.log().read_text()


def test_a_failed_answer_and_the_next_one(worker: LocalRuntime) -> None:
    """UI-2, UI-3: A failed answer gives an error chunk and the end. A second message begins at its own first chunk."""
    base, chat = worker.url, f"chat-{uuid.uuid4().hex[:8]}"
    failed = ask(base, chat, "FAIL").read()
    assert failed[-2:] == [{"type": "error", "errorText": "failed"}, "[DONE]"]
    second = ask(base, chat, "again").read()
    assert len(second) == WHOLE + 1
    assert [second[0]["type"], second[-1]] == ["start", "[DONE]"]
    assert second[3]["delta"] == "wörd-2-0 "
