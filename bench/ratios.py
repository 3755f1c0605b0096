"""The arithmetic of alternating pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Python's time over JavaScript's: the median over the pairs, and the pairs furthest from it."""

    median: float
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Both sides' times of one job, in milliseconds; the n-th of each were taken one after the other."""

    javascript_ms: tuple[float, ...]
    python_ms: tuple[float, ...]

    @property
    def javascript_median_ms(self) -> float:
        """JavaScript's median."""
        return median(self.javascript_ms)

    @property
    def python_median_ms(self) -> float:
        """Python's median."""
        return median(self.python_ms)

    @property
    def ratio(self) -> Ratio:
        """The ratios within the pairs, never the ratio of the medians: what slows the machine for a while slows a pair."""
        ratios = [python / javascript for javascript, python in zip(self.javascript_ms, self.python_ms, strict=True)]
        return Ratio(median=median(ratios), lowest=min(ratios), highest=max(ratios))


def compared(pairs: Sequence[tuple[float, float]]) -> Comparison:
    """The comparison of pairs of (JavaScript's, Python's) milliseconds.

    Raises:
        ValueError: no pair, or a time that the clock was too coarse to see.
    """
    if not pairs:
        raise ValueError("there is nothing to compare without a pair")
    if any(time_ms <= 0 for pair in pairs for time_ms in pair):
        raise ValueError("a time of 0 ms has no ratio; repeat the job more often within one measurement")
    return Comparison(
        javascript_ms=tuple(javascript for javascript, _ in pairs), python_ms=tuple(python for _, python in pairs)
    )
