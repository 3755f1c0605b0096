"""The frame of every page: head, navigation, and a footer with the cost of the page itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from agents_store_cloudflare.console.asking import Asked, Shown
from agents_store_cloudflare.console.assets import VERSION
from agents_store_cloudflare.console.html import Child, Markup, document, element as h, joined
from agents_store_cloudflare.console.text import one_line
from agents_store_cloudflare.contract.costs import Cost

__all__ = ["cost_text", "facts", "more", "note", "panel", "table", "tabs", "whole_page"]

_SECTIONS: Final = (("", "Sessions"), ("usage", "Usage"), ("budgets", "Budgets"))
_TABS: Final = (
    ("session", "Overview"),
    ("messages", "Messages"),
    ("state", "State"),
    ("checkpoints", "Checkpoints"),
    ("runs", "Runs"),
    ("stream", "Stream"),
)


def whole_page(asked: Asked, shown: Shown, cost: Cost) -> str:
    """Return the document of a page."""
    head = h(
        "head",
        h("meta", charset="utf-8"),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("meta", name="color-scheme", content="light dark"),
        h("title", f"{one_line(shown.title, 80)} · agents console"),
        h("link", rel="stylesheet", href=asked.link("assets/console.css", v=VERSION)),
        h("link", rel="icon", href="data:,"),
        h("script", type="module", src=asked.link("assets/console.js", v=VERSION)),
    )
    sections = [
        h("a", name, href=asked.link(page), aria_current="page" if page == asked.page else None)
        for page, name in _SECTIONS
    ]
    return document(
        head,
        h(
            "body",
            h("a", "To the content", class_="skip", href="#content"),
            h("header", h("span", "Agents console", class_="brand"), h("nav", sections, aria_label="Console")),
            h("main", h("h1", shown.title), shown.body(), id="content", tabindex="-1"),
            h("footer", cost_text(cost)),
        ),
    )


def cost_text(cost: Cost) -> str:
    """Return the cost of a page as text for its footer."""
    rows = "rows not counted by this database" if cost.d1.rows_read is None else f"{cost.d1.rows_read:,} rows read"
    trips = f"{cost.d1.round_trips} {'query' if cost.d1.round_trips == 1 else 'queries'} to D1"
    calls = f", {cost.objects.calls} calls to Durable Objects" if cost.objects.calls else ""
    return f"This page: {rows} in {trips}{calls}."


def tabs(asked: Asked, session_id: str) -> Markup:
    """Return the navigation between the pages of a session."""
    return h(
        "nav",
        [
            h("a", name, href=asked.link(page, id=session_id), aria_current="page" if page == asked.page else None)
            for page, name in _TABS
        ],
        class_="tabs",
        aria_label="Session",
    )


def panel(title: str, *children: Child, id_: str | None = None) -> Markup:
    """Return a section with a heading."""
    return h("section", h("h2", title), *children, id=id_)


def facts(pairs: Iterable[tuple[str, Child]]) -> Markup:
    """Return a list of names and values. Names without a value are left out."""
    shown = [(name, value) for name, value in pairs if value not in (None, "")]
    return h("dl", [h("div", h("dt", name), h("dd", value)) for name, value in shown])


def table(
    caption: str, headings: Sequence[str], rows: Iterable[Sequence[Child]], *, numeric: Sequence[int] = ()
) -> Markup:
    """Return a table. If it is wider than the window, it scrolls inside the page.

    Args:
        numeric: the columns that hold numbers.
    """

    def cell(index: int, value: Child) -> Markup:
        return h("td", value, class_="number" if index in numeric else None)

    head = h(
        "tr", [h("th", name, scope="col", class_="number" if i in numeric else None) for i, name in enumerate(headings)]
    )
    body = [h("tr", [cell(index, value) for index, value in enumerate(row)]) for row in rows]
    inner = h("table", h("caption", caption), h("thead", head), h("tbody", body))
    return h("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def note(kind: str, *children: Child, id_: str | None = None) -> Markup:
    """Return a marked remark: `good`, `warn`, `bad` or `plain`."""
    return h("p", *children, class_=f"note {kind}", id=id_)


def more(*links: tuple[str, str | None]) -> Markup:
    """Return links to other parts of a list. Links without a URL are left out."""
    return h("p", joined(*(h("a", name, href=href, class_="more") for name, href in links if href)), class_="paging")
