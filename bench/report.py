"""The results of a run, in aligned columns for a terminal."""

from collections.abc import Sequence

from bench.findings import Published
from bench.verdicts import floor_verdict, growth_verdict, javascript_verdict, milliseconds

__all__ = ["growth_table", "jobs_table"]

JOB_COLUMNS = (
    "job",
    "JavaScript",
    "Python",
    "ratio",
    "lowest–highest",
    "target",
    "over floor",
    "target",
    "rows read",
    "rows written",
)
GROWTH_COLUMNS = ("growth", "sizes", "times", "exponent", "target")


def jobs_table(entries: Sequence[Published]) -> str:
    """Milliseconds and rows of one repetition, rows as JavaScript → Python."""
    return _aligned([JOB_COLUMNS, *map(_job_cells, entries)])


def growth_table(entries: Sequence[Published]) -> str:
    """Milliseconds of one repetition at each size."""
    return _aligned([GROWTH_COLUMNS, *map(_growth_cells, entries)])


def _job_cells(entry: Published) -> tuple[str, ...]:
    javascript, python, ratio = entry["javascript"], entry["python"], entry["ratio"]
    read, written = "", ""
    if javascript["d1"] and python["d1"]:
        read = f"{javascript['d1']['rowsRead']:,.0f} → {python['d1']['rowsRead']:,.0f}"
        written = f"{javascript['d1']['rowsWritten']:,.0f} → {python['d1']['rowsWritten']:,.0f}"
    return (
        entry["name"],
        f"{milliseconds(javascript['medianMs'])} ms",
        f"{milliseconds(python['medianMs'])} ms",
        f"{ratio['median']:.2f}",
        f"{ratio['lowest']:.2f}–{ratio['highest']:.2f}",
        javascript_verdict(entry),
        f"{entry['floor']['ratio']['median']:.2f}",
        floor_verdict(entry),
        read,
        written,
    )


def _growth_cells(entry: Published) -> tuple[str, ...]:
    return (
        entry["name"],
        " ".join(f"{size:,}" for size in entry["sizes"]) + f" {entry['unit']}",
        " ".join(map(milliseconds, entry["medianMs"])) + " ms",
        f"{entry['exponent']:.2f}",
        growth_verdict(entry),
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines: list[str] = []
    for name, *values in rows:
        padded = [value.rjust(width) for value, width in zip(values, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *padded]))
    return "\n".join(lines)
