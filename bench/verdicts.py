"""Says whether targets are met, and formats numbers for people."""

from bench.findings import Published

__all__ = ["floor_verdict", "growth_verdict", "is_met", "javascript_verdict", "milliseconds"]


def is_met(entry: Published) -> bool | None:
    """Return whether a job meets its target; None if it has none."""
    target = entry["target"]
    if target is None:
        return None
    ratio = entry["floor"]["ratio"] if target["over"] == "floor" else entry["ratio"]
    return bool(_rounded(ratio["median"]) <= target["ratio"])


def javascript_verdict(entry: Published) -> str:
    """Return the target beside JavaScript, and whether it is met; "" if there is none."""
    return _job_verdict(entry, "JavaScript")


def floor_verdict(entry: Published) -> str:
    """Return the target beside the floor."""
    return _job_verdict(entry, "floor")


def growth_verdict(entry: Published) -> str:
    """Return the exponent's target."""
    return _verdict(entry["target"], is_met=_rounded(entry["exponent"]) <= entry["target"])


def milliseconds(value: float) -> str:
    """Return the milliseconds with only the significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _job_verdict(entry: Published, over: str) -> str:
    target = entry["target"]
    if target is None or target["over"] != over:
        return ""
    return _verdict(target["ratio"], is_met=is_met(entry) is True)


def _verdict(target: float, *, is_met: bool) -> str:
    return f"≤ {target:g} {'met' if is_met else 'missed'}"


def _rounded(value: float) -> float:
    """Round the ratio as it is shown, so that a shown 0.80 does not miss 0.8."""
    return round(value, 2)
