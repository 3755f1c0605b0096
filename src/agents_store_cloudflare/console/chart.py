"""A bar chart as SVG, made here: no script, no style of its own, readable as a table beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agents_store_cloudflare.console.html import Markup, element as h
from agents_store_cloudflare.console.text import one_line

__all__ = ["bar_chart"]

WIDTH: Final = 720
ROW: Final = 24
LABEL: Final = 190
NUMBER: Final = 110
MOST_BARS: Final = 40


def bar_chart(title: str, bars: Sequence[tuple[str, int, str]]) -> Markup | None:
    """Return the chart of at most 40 bars, None where no bar has a length.

    Args:
        title: what the chart shows.
        bars: (label, length, the number as people read it). A negative length shows no bar.
    """
    shown = bars[:MOST_BARS]
    longest = max((length for _, length, _ in shown), default=0)
    if longest <= 0:
        return None
    height = ROW * len(shown) + 8
    room = WIDTH - LABEL - NUMBER
    rows = [
        h(
            "g",
            h("text", one_line(label, 26) or "-", x=LABEL - 8, y=_middle(place), class_="label"),
            h(
                "rect",
                x=LABEL,
                y=place * ROW + 6,
                width=max(1, room * max(0, length) // longest),
                height=ROW - 8,
                class_="bar",
            ),
            h("text", number, x=LABEL + room * max(0, length) // longest + 8, y=_middle(place), class_="amount"),
        )
        for place, (label, length, number) in enumerate(shown)
    ]
    image = h(
        "svg", h("title", title), rows, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=title, class_="chart"
    )
    return h("div", image, class_="scroll", tabindex="0", role="region", aria_label=title)


def _middle(place: int) -> int:
    return place * ROW + 18
