"""Ten questions that were written down first: each has its answer two clicks from the site's first page. And the pictures."""

import posixpath
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tools.places import ROOT

SITE = ROOT / "build" / "site"


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the section that answers it, and words of the answer."""

    asked: str
    page: str
    section: str
    answer: str


QUESTIONS = (
    Question("How do I begin with an empty folder?", "tutorial.html", "1-a-project", "agents-store new"),
    Question("What survives when my Worker dies?", "turns.html", "when-something-dies", "interrupted"),
    Question("What does a save cost in rows?", "costs.html", "every-call", "state_store.save"),
    Question("A session hangs: why?", "console.html", "why-a-session-hangs", "lock"),
    Question("How do I test without Cloudflare?", "faq.html", "working", "LocalObjects"),
    Question("How does a turn wait for a person?", "turns.html", "waiting-for-a-person", "suspend"),
    Question("How do I cap what a tenant spends?", "usage.html", "budgets", "reserve"),
    Question("Who may read a stream in a browser?", "gateway.html", "who-may-read", "authorize"),
    Question("What is this called in LangGraph?", "coming-from.html", "langgraph", "thread"),
    Question("Why was my write refused?", "faq.html", "when-something-is-wrong", "StaleFencingTokenError"),
)


@dataclass(slots=True)
class Page(HTMLParser):
    """The links of a page, and its text after each heading that has an id."""

    links: set[str] = field(default_factory=set[str])
    sections: dict[str, str] = field(default_factory=dict[str, str])
    _section: str = ""

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a link or the begin of a section."""
        names = dict(attrs)
        if tag == "a" and (href := names.get("href")):
            self.links.add(posixpath.normpath(href))
        if tag in ("h2", "h3") and (name := names.get("id")):
            self._section = name

    def handle_data(self, data: str) -> None:
        """Add text to the section."""
        self.sections[self._section] = self.sections.get(self._section, "") + data


def _page(name: str) -> Page:
    page = Page()
    page.feed((SITE / name).read_text(encoding="utf-8"))
    return page


@pytest.fixture(scope="module")
def landing() -> Page:
    """The first page of the site as it is now."""
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return _page("index.html")


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.asked)
def test_two_clicks_lead_to_the_answer(landing: Page, question: Question) -> None:
    """The first page links to the page, and its table of contents links to the section with the answer."""
    assert question.page in landing.links
    page = _page(question.page)
    assert f"#{question.section}" in page.links
    assert question.answer in page.sections[question.section]


def test_there_are_ten() -> None:
    """No question was dropped because its answer was hard to find."""
    assert len({question.asked for question in QUESTIONS}) == 10
    assert all(Path(question.page).suffix == ".html" for question in QUESTIONS)


@pytest.mark.parametrize(
    "section",
    ["What lives where", "A turn's way", "Fencing: a stale Worker", "Crash and recovery", "Homes and their directory"],
)
def test_the_concepts_have_pictures(section: str) -> None:
    """Each picture consists of characters, so that it reads the same as plain markdown. None is wider than its page."""
    text = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    _, _, after = text.partition(f"## {section}")
    picture = after.partition("\n## ")[0].partition("```text\n")[2].partition("```")[0]
    assert len(picture.splitlines()) >= 6
    assert all(len(line) <= 100 for line in picture.splitlines())
