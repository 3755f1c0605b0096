"""The figures of the parts: peers over the delay, load over the rate, capacity over the sessions. Each line has a dash and a label."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.capacity import Load, Shape, in_d1, in_homes
from bench.findings import Published
from bench.plot import STYLE, WIDTH, LogScale, drawn_line, drawn_text, spread_out, svg

__all__ = ["capacity_svg", "load_svg", "peers_svg"]

HEIGHT: Final = 400
TOP: Final = 44
LEFT: Final = 84
RIGHT: Final = 300
BOTTOM: Final = HEIGHT - 44
LABEL_HEIGHT: Final = 17
DASHES: Final = ("", "8 3", "2 3", "8 3 2 3", "14 4")
LINES_STYLE: Final = (
    STYLE
    + """
.s { fill: none; stroke-width: 2; }
.s0 { stroke: #0969da; } .s1 { stroke: #1a7f37; } .s2 { stroke: #9a6700; } .s3 { stroke: #8250df; } .s4 { stroke: #bf3989; }
.d0 { fill: #0969da; } .d1 { fill: #1a7f37; } .d2 { fill: #9a6700; } .d3 { fill: #8250df; } .d4 { fill: #bf3989; }
@media (prefers-color-scheme: dark) {
  .s0 { stroke: #58a6ff; } .s1 { stroke: #3fb950; } .s2 { stroke: #d29922; } .s3 { stroke: #a371f7; } .s4 { stroke: #f778ba; }
  .d0 { fill: #58a6ff; } .d1 { fill: #3fb950; } .d2 { fill: #d29922; } .d3 { fill: #a371f7; } .d4 { fill: #f778ba; }
}
"""
)
TURN: Final = "chat_turn"
LEAST_MS: Final = 1.0
CUTS: Final = {"p50Ms": "half of the turns", "p95Ms": "95 of 100 turns", "p99Ms": "99 of 100 turns"}
MANY_TENS: Final = 200
SESSIONS: Final = {10_000: "10,000", 100_000: "100,000", 500_000: "", 1_000_000: "1 million", 10_000_000: "10 million"}
"""The sessions of a month, with their marks. 500,000 of 20 KB fill a D1 database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a figure: its label, and its points in the figure's own units."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """The places of values, and the marked values with their texts."""

    across: Callable[[float], float]
    across_ticks: Sequence[tuple[float, str]]
    up: LogScale
    up_ticks: Sequence[tuple[float, str]]


def peers_svg(run: Published) -> str:
    """Return the time of a whole turn of each side, over the delay of the network. The slope is the number of waits in a row."""
    delays = [int(delay) for delay in run["sides"][0]["jobs"][TURN]["medianMs"]]
    lines = [
        Line(
            name=side["name"],
            points=[(delay, max(side["jobs"][TURN]["medianMs"][str(delay)], LEAST_MS)) for delay in delays],
        )
        for side in run["sides"]
        if TURN in side["jobs"]
    ]
    span = max(delays) or 1

    def across(delay: float) -> float:
        return LEFT + delay / span * (WIDTH - RIGHT - LEFT)

    axes = Axes(
        across=across,
        across_ticks=[(delay, f"{delay} ms") for delay in delays],
        up=_up(lines),
        up_ticks=_tens(lines, " ms"),
    )
    return _figure(
        "A chat's turn of 400 chunks: its time, without the model's, over the delay of each call", axes, lines
    )


def load_svg(run: Published) -> str:
    """Return the times under which turns stayed, over the turns that began in a second."""
    steps = run["steps"]
    lines = [
        Line(name=name, points=[(step["offered"], max(step[cut], LEAST_MS)) for step in steps])
        for cut, name in CUTS.items()
    ]
    rates = [step["offered"] for step in steps]
    axes = Axes(
        across=LogScale(min(rates), max(rates), LEFT, WIDTH - RIGHT).place,
        across_ticks=[(rate, f"{rate:g}/s") for rate in rates],
        up=_up(lines),
        up_ticks=_tens(lines, " ms"),
    )
    return _figure("Load on one local process: the time of a turn over the turns that begin in a second", axes, lines)


def capacity_svg() -> str:
    """Return the cost of a month over its sessions, in one D1 database and with homes. D1's line ends where the database is full."""
    lines = [
        _costs("homes", in_homes, list(SESSIONS)),
        _costs("one D1, until it is full", in_d1, [each for each in SESSIONS if in_d1(Load(sessions=each)).fits]),
    ]
    axes = Axes(
        across=LogScale(min(SESSIONS), max(SESSIONS), LEFT, WIDTH - RIGHT).place,
        across_ticks=list(SESSIONS.items()),
        up=_up(lines),
        up_ticks=_tens(lines, "", "$"),
    )
    return _figure("Dollars a month over the sessions of a month, 20 turns each", axes, lines)


def _costs(name: str, shape: Callable[[Load], Shape], sessions: Sequence[int]) -> Line:
    return Line(name=name, points=[(each, shape(Load(sessions=each)).total) for each in sessions])


def _up(lines: Sequence[Line]) -> LogScale:
    values = [y for line in lines for _, y in line.points]
    return LogScale(min(values) * 0.8, max(values) * 1.25, BOTTOM, TOP)


def _tens(lines: Sequence[Line], unit: str, sign: str = "") -> list[tuple[float, str]]:
    values = [y for line in lines for _, y in line.points]
    lowest, highest = min(values) * 0.8, max(values) * 1.25
    steps = (1,) if highest / lowest > MANY_TENS else (1, 2, 5)
    ticks = [step * 10.0**power for power in range(7) for step in steps]
    return [(each, f"{sign}{each:,.0f}{unit}") for each in ticks if lowest <= each <= highest]


def _figure(title: str, axes: Axes, lines: Sequence[Line]) -> str:
    end = WIDTH - RIGHT
    parts = [drawn_text(12, 18, title, "start", "name")]
    for value, text in axes.across_ticks:
        x = axes.across(value)
        parts += [drawn_line(x, TOP, x, BOTTOM, "grid"), drawn_text(x, BOTTOM + 18, text, "middle")]
    for value, text in axes.up_ticks:
        y = axes.up.place(value)
        parts += [drawn_line(LEFT, y, end, y, "grid"), drawn_text(LEFT - 8, y + 4, text, "end")]
    labels = spread_out([axes.up.place(line.points[-1][1]) for line in lines], LABEL_HEIGHT)
    for number, (line, label_y) in enumerate(zip(lines, labels, strict=True)):
        places = [(axes.across(x), axes.up.place(y)) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="s s{number}" stroke-dasharray="{DASHES[number]}" points="{path}"/>')
        parts += [f'<circle class="d{number}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
        parts += [
            drawn_line(places[-1][0] + 4, places[-1][1], end + 20, label_y, "grid"),
            drawn_text(end + 26, label_y + 4, line.name, "start", "name"),
        ]
    return svg(HEIGHT, title, parts, style=LINES_STYLE)
