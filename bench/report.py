"""What a run found: a table for people, JSON for programs."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.jobs import Job
from bench.ratios import Comparison
from bench.workers import Cost
from tools.places import NODE_MODULES

COLUMNS = ("job", "JavaScript", "Python", "ratio", "lowest–highest", "rows read", "rows written")
NPM_PACKAGES = ("workerd", "wrangler", "pyodide")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one job gave. A cost is None where the job asks nothing of D1."""

    job: Job
    comparison: Comparison
    javascript_cost: Cost | None
    python_cost: Cost | None


def table(findings: Sequence[Finding]) -> str:
    """The findings in aligned columns: milliseconds and rows of one repetition, rows as JavaScript → Python."""
    rows = [COLUMNS, *map(_cells, findings)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    lines: list[str] = []
    for name, *values in rows:
        padded = [value.rjust(width) for value, width in zip(values, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *padded]))
    return "\n".join(lines)


def as_json(findings: Sequence[Finding], facts: dict[str, Any]) -> str:
    """Every time of every pair, with the facts of the run."""
    return json.dumps({**facts, "jobs": [_entry(finding) for finding in findings]}, indent=2)


def machine() -> dict[str, Any]:
    """What the numbers depend on and what may be told of it: neither names nor paths."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "loadBefore": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """The versions of the package, of the runtime and of its tools."""
    node = {name: json.loads((NODE_MODULES / name / "package.json").read_text())["version"] for name in NPM_PACKAGES}
    return {"agents-store-cloudflare": version("agents-store-cloudflare"), **node}


def _cells(finding: Finding) -> tuple[str, ...]:
    comparison, ratio = finding.comparison, finding.comparison.ratio
    read, written = "", ""
    if finding.javascript_cost and finding.python_cost:
        read = f"{finding.javascript_cost.rows_read:,.0f} → {finding.python_cost.rows_read:,.0f}"
        written = f"{finding.javascript_cost.rows_written:,.0f} → {finding.python_cost.rows_written:,.0f}"
    return (
        finding.job.name,
        f"{comparison.javascript_median_ms:.2f} ms",
        f"{comparison.python_median_ms:.2f} ms",
        f"{ratio.median:.2f}",
        f"{ratio.lowest:.2f}–{ratio.highest:.2f}",
        read,
        written,
    )


def _entry(finding: Finding) -> dict[str, Any]:
    comparison = finding.comparison
    return {
        "name": finding.job.name,
        "repetitions": finding.job.repetitions,
        "ratio": asdict(comparison.ratio),
        "javascript": _side(comparison.javascript_ms, comparison.javascript_median_ms, finding.javascript_cost),
        "python": _side(comparison.python_ms, comparison.python_median_ms, finding.python_cost),
    }


def _side(times_ms: Sequence[float], median_ms: float, cost: Cost | None) -> dict[str, Any]:
    d1 = None
    if cost is not None:
        d1 = {"batches": cost.batches, "rowsRead": cost.rows_read, "rowsWritten": cost.rows_written}
    return {"medianMs": median_ms, "timesMs": list(times_ms), "d1": d1}


def _cpu_model() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"
