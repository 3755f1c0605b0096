"""examples/approval_agent in the real runtime and a real browser: a turn that waits for a button."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.end_to_end.browsing import findings
from tests.end_to_end.sse_client import call
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parents[2] / "examples/approval_agent/wrangler.toml"


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRuntime]:
    """The example at a fast pace."""
    with LocalRuntime(
        CONFIG, persist=tmp_path_factory.mktemp("approval"), vars={"WORD_DELAY_MS": "5"}, ready_path="/"
    ) as runtime:
        yield runtime


def _propose(page: Page, worker: LocalRuntime, item: str) -> None:
    page.goto(worker.url)
    page.get_by_label("What to buy").fill(item)
    page.get_by_role("button", name="Propose").click()
    expect(page.get_by_role("button", name="Approve")).to_be_visible()


def test_an_order_is_approved_after_a_reload_and_a_killed_server(page: Page, worker: LocalRuntime) -> None:
    """The question survives a reload and a SIGKILL. The button continues the turn, and the answer is there after a reload."""
    _propose(page, worker, "a kettle")
    assert findings(page) == []
    worker.kill()
    worker.restart()
    page.reload()
    expect(page.get_by_role("status")).to_have_text("waiting for your answer")
    page.get_by_role("button", name="Approve").press("Enter")
    expect(page.get_by_text("Ordered: a kettle for")).to_have_count(1)
    expect(page.get_by_role("button", name="Approve")).to_be_hidden()
    page.reload()
    expect(page.get_by_text("Ordered: a kettle for")).to_have_count(1)
    expect(page.get_by_text("approved", exact=True)).to_have_count(1)
    assert findings(page) == []


def test_an_order_is_rejected_and_others_see_it(page: Page, worker: LocalRuntime) -> None:
    """Without a network the button says so and can be pressed again. A second tab shows the words of the answer."""
    _propose(page, worker, "a boat")
    second = page.context.new_page()
    second.goto(page.url)
    expect(second.get_by_role("button", name="Reject")).to_be_visible()
    page.context.set_offline(True)
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_role("status")).to_have_text("the server is out of reach")
    page.context.set_offline(False)
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_text("I have not ordered a boat.")).to_have_count(1)
    expect(second.get_by_text("I have not ordered a boat.")).to_have_count(1)
    expect(second.get_by_role("button", name="Reject")).to_be_hidden()


def test_an_answer_counts_once(worker: LocalRuntime) -> None:
    """A button that is pressed again says that the turn has ended. An answer without a question, and bad input, are refused."""
    made = call(worker.url, "POST", "/orders", body=json.dumps({"item": "tea"}).encode())
    path = f"/orders/{made.json['orderId']}"
    pending = call(worker.url, "GET", path).json["pending"]
    assert pending["call"]["tool"] == "order"
    body = json.dumps({"approve": True, "pending": pending["pending"]}).encode()
    assert call(worker.url, "POST", f"{path}/answer", body=body).json == {"approved": True}
    again = call(worker.url, "POST", f"{path}/answer", body=body)
    assert again.status == 409
    assert "turn_ended" in str(again.json)
    view = call(worker.url, "GET", path).json
    assert [each["content"] for each in view["messages"] if each["role"] == "user"] == ["tea", "approved"]
    assert view["pending"] is None
    for bad in (b"{", b"[]", b'{"approve": 1, "pending": "x"}', b'{"approve": true, "pending": ""}'):
        assert call(worker.url, "POST", f"{path}/answer", body=bad).status == 400
    missing = call(worker.url, "POST", "/orders/none/answer", body=b'{"approve": true, "pending": "x"}')
    assert missing.status == 404
