"""Bar charts as SVG, without scripts and without styles of their own. A table beside the chart shows the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agents_store_cloudflare.console.html import Markup, element as h
from agents_store_cloudflare.console.text import one_line

__all__ = ["bar_chart", "time_line"]

WIDTH: Final = 720
ROW: Final = 24
LABEL: Final = 190
NUMBER: Final = 110
MOST_BARS: Final = 40


def bar_chart(title: str, bars: Sequence[tuple[str, int, str]]) -> Markup | None:
    """Return the chart of at most 40 bars, or None if no bar has a length.

    Args:
        title: the title of the chart.
        bars: (label, length, the number as text). A negative length shows no bar.
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


def time_line(title: str, points: Sequence[tuple[int, str, str]]) -> Markup | None:
    """Return points on a line of time, or None for fewer than two points.

    Args:
        points: (time in milliseconds, label, URL).
    """
    if len(points) < 2:
        return None
    first, last = min(at for at, _, _ in points), max(at for at, _, _ in points)
    span = max(1, last - first)
    dots = [
        h(
            "a",
            h("title", said),
            h("circle", cx=20 + (WIDTH - 40) * (at - first) // span, cy=16, r=7, class_="dot"),
            href=address,
            aria_label=said,
        )
        for at, said, address in points
    ]
    line = h("line", x1=20, y1=16, x2=WIDTH - 20, y2=16, class_="line")
    image = h(
        "svg", h("title", title), line, dots, viewBox=f"0 0 {WIDTH} 32", role="group", aria_label=title, class_="chart"
    )
    return h("div", image, class_="scroll", tabindex="0", role="region", aria_label=title)
