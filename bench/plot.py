"""The figures of docs/performance.md: SVG without scripts, readable on light and dark backgrounds."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.findings import Published
from bench.verdicts import is_met

__all__ = ["STYLE", "WIDTH", "LogScale", "drawn_line", "drawn_text", "growth_svg", "ratios_svg", "spread_out", "svg"]

WIDTH = 960
ROW = 26
TOP = 54
LABELS = 400
GROWTH_LABELS = 280
RIGHT = 40
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #57606a; }
.name { fill: #24292f; }
.grid { stroke: #8c959f; stroke-opacity: .35; }
.one { stroke: #8c959f; stroke-width: 1.5; }
.met { stroke: #1a7f37; fill: #1a7f37; }
.missed { stroke: #cf222e; fill: #cf222e; }
.stated { stroke: #0969da; fill: #0969da; }
.target { stroke: #24292f; stroke-width: 2; }
.line { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1; }
  .name { fill: #e6edf3; }
  .met { stroke: #3fb950; fill: #3fb950; }
  .missed { stroke: #f85149; fill: #f85149; }
  .stated { stroke: #58a6ff; fill: #58a6ff; }
  .line { fill: none; }
  .target { stroke: #e6edf3; }
}
"""


class LogScale:
    """Values on a logarithmic axis between two places."""

    def __init__(self, lowest: float, highest: float, start: float, end: float) -> None:
        self._low, self._high = math.log(lowest), math.log(highest)
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        """Return the place of the value. A value beyond an end gets the place of this end."""
        part = (math.log(value) - self._low) / (self._high - self._low)
        return self._start + min(max(part, 0.0), 1.0) * (self._end - self._start)


def ratios_svg(run: Published) -> str:
    """Return each job's ratio to JavaScript with its spread and its target; the line in the middle is as fast as JavaScript."""
    jobs = run["jobs"]
    bottom = TOP + ROW * len(jobs)
    ratios = [entry["ratio"][part] for entry in jobs for part in ("lowest", "highest")]
    ticks = _powers_of_two(min(ratios), max(ratios))
    scale = LogScale(ticks[0], ticks[-1], LABELS, WIDTH - RIGHT)
    parts = [
        drawn_text(
            12,
            16,
            "Python’s time over JavaScript’s; bar: lowest–highest; stroke: target; green: met, red: missed, blue: none",
            "start",
        )
    ]
    for tick in ticks:
        x = scale.place(tick)
        parts.append(drawn_line(x, TOP - 8, x, bottom, "one" if tick == 1 else "grid"))
        parts.append(drawn_text(x, TOP - 12, f"{tick:g}", "middle"))
    for number, entry in enumerate(jobs):
        parts += _ratio_row(entry, scale, TOP + ROW * (number + 0.5))
    return svg(bottom + 12, "Ratio of Python's time to JavaScript's, by job", parts)


def growth_svg(run: Published) -> str:
    """Return each series' time at 1, 10 and 100 times its size, beside its time at the first: flat lines stay at the bottom."""
    series = run["growth"]
    height, left, end = 420, 60, WIDTH - GROWTH_LABELS
    grown = [[time / entry["medianMs"][0] for time in entry["medianMs"]] for entry in series]
    across = LogScale(1, 100, left, end)
    up = LogScale(0.5, max(200.0, *map(max, grown)), height - 30, TOP)
    parts = [drawn_text(left, 16, "time over the time at the first size, against the size; dashed: linear", "start")]
    for tick in (1, 10, 100):
        parts.append(drawn_line(across.place(tick), TOP, across.place(tick), height - 30, "grid"))
        parts.append(drawn_line(left, up.place(tick), end, up.place(tick), "grid"))
        parts.append(drawn_text(across.place(tick), height - 12, f"{tick} ×", "middle"))
        parts.append(drawn_text(left - 8, up.place(tick) + 4, f"{tick} ×", "end"))
    parts.append(f'{drawn_line(left, up.place(1), end, up.place(100), "one")[:-2]} stroke-dasharray="4 4"/>')
    labels = spread_out([up.place(times[-1]) for times in grown], 17)
    for entry, times, y in zip(series, grown, labels, strict=True):
        points = [
            (across.place(size / entry["sizes"][0]), up.place(time))
            for size, time in zip(entry["sizes"], times, strict=True)
        ]
        parts += _growth_line(entry, points, y)
    return svg(height, "Growth of the package's times with the size of the work", parts)


def _ratio_row(entry: Published, scale: LogScale, y: float) -> list[str]:
    kind = {True: "met", False: "missed", None: "stated"}[is_met(entry)]
    low, middle, high = (scale.place(entry["ratio"][part]) for part in ("lowest", "median", "highest"))
    parts = [
        drawn_text(LABELS - 12, y + 4, entry["name"], "end", "name"),
        drawn_line(low, y, high, y, kind),
        f'<circle class="{kind}" cx="{middle:.1f}" cy="{y:.1f}" r="4.5"/>',
        drawn_text(high + 8, y + 4, f"{entry['ratio']['median']:.2f}", "start"),
    ]
    target = entry["target"]
    if target and target["over"] == "JavaScript":
        x = scale.place(target["ratio"])
        parts.append(drawn_line(x, y - 8, x, y + 8, "target"))
    return parts


def _growth_line(entry: Published, points: Sequence[tuple[float, float]], label_y: float) -> list[str]:
    kind = "met" if round(entry["exponent"], 2) <= entry["target"] else "missed"
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    end_x, end_y = points[-1]
    label = f"{entry['name']}: {entry['exponent']:.2f}"
    return [
        f'<polyline class="line {kind}" style="fill:none" points="{path}"/>',
        *[f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points],
        drawn_line(end_x + 4, end_y, end_x + 22, label_y, "grid"),
        drawn_text(end_x + 26, label_y + 4, label, "start", "name"),
    ]


def spread_out(places: Sequence[float], least: float) -> list[float]:
    """Return the places, moved down as little as possible so that any two keep a minimal distance."""
    moved = list(places)
    free = -math.inf
    for number in sorted(range(len(moved)), key=lambda each: places[each]):
        moved[number] = max(moved[number], free)
        free = moved[number] + least
    return moved


def _powers_of_two(lowest: float, highest: float) -> list[float]:
    first = min(-1, math.floor(math.log2(lowest)))
    last = max(1, math.ceil(math.log2(highest)))
    return [2.0**power for power in range(first, last + 1)]


def drawn_line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Return a straight line of a class of the style."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def drawn_text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    """Return a text. Its anchor is "start", "middle" or "end"."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def svg(height: float, title: str, parts: Sequence[str], *, style: str = STYLE) -> str:
    """Return the figure. Its title is what a screen reader says."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", f"<style>{style}</style>", *parts, "</svg>\n"])
