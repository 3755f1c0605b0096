"""Every example has a page, which its test drives in a real browser, or a README that says so and whose curl lines work as printed."""

import re
from pathlib import Path

import pytest

from tests.end_to_end.printed import run_printed
from tools.local_runtime import LocalRuntime
from tools.places import ROOT

EXAMPLES = ROOT / "examples"
WITH_A_PAGE = {
    "approval_agent": "test_approval_agent.py",
    "chat_page": "test_chat_page.py",
    "homes": "test_homes_board.py",
    "research_agent": "test_research_page.py",
    "resumable_chat": "test_resumable_chat.py",
}
"""An example -> its test in a real browser, in which the server dies too."""

IN_ITS_OWN_TEST = {"locked_worker": "test_locked_worker.py"}
"""An example without a page whose printed lines need what only its own test arranges."""

WITHOUT_A_PAGE = (
    "a2a_agent",
    "durable_streams",
    "langgraph_agent",
    "openai_agent",
    "quickstart",
    "scheduled_cleanup",
    "usage_budget",
)
NO_PAGE = "There is no page"


def _readme(example: str) -> str:
    return (EXAMPLES / example / "README.md").read_text(encoding="utf-8")


def test_each_example_is_of_one_kind() -> None:
    """An example that serves HTML has a page. The README of every other example says that it has none."""
    for example in sorted(WITH_A_PAGE.keys() | IN_ITS_OWN_TEST.keys() | set(WITHOUT_A_PAGE)):
        has_page = any((EXAMPLES / example).rglob("*.html"))
        assert has_page == (NO_PAGE not in _readme(example)), example
        assert has_page == (example in WITH_A_PAGE), example


@pytest.mark.parametrize("test", WITH_A_PAGE.values())
def test_each_page_is_driven_in_a_browser(test: str) -> None:
    """The page's test opens it, kills its server, and fails on every finding of axe."""
    text = Path(__file__).with_name(test).read_text(encoding="utf-8")
    for part in (r"\bpage\.goto\(", r"\.kill\(\)", r"\bfindings\(page\)", r"set_offline\(True\)"):
        assert re.search(part, text), part


@pytest.mark.parametrize(("example", "test"), IN_ITS_OWN_TEST.items())
def test_other_lines_are_in_another_test(example: str, test: str) -> None:
    """Another test requests the paths of the remaining README lines."""
    text = Path(__file__).with_name(test).read_text(encoding="utf-8")
    for path in re.findall(r"localhost:\d+(/[a-z]*\?who=[a-z]+)", _readme(example)):
        assert path in text


@pytest.mark.runtime
@pytest.mark.parametrize("example", WITHOUT_A_PAGE)
def test_the_printed_lines_work(example: str, tmp_path: Path) -> None:
    """The README's lines print the text that the README shows below them."""
    with LocalRuntime(EXAMPLES / example / "wrangler.toml", persist=tmp_path) as runtime:
        assert run_printed(_readme(example), runtime.url) >= 2
