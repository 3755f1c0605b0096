"""The arithmetic of alternating pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

__all__ = ["Comparison", "Ratio", "compared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One time over the other: the median over the pairs, and the pairs furthest from it."""

    median: float
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The times of one job and of what it is compared with, in milliseconds; the n-th of each belong to one pair."""

    reference_ms: tuple[float, ...]
    own_ms: tuple[float, ...]

    @property
    def reference_median_ms(self) -> float:
        """The median of what it is compared with."""
        return median(self.reference_ms)

    @property
    def own_median_ms(self) -> float:
        """The job's own median."""
        return median(self.own_ms)

    @property
    def ratio(self) -> Ratio:
        """The ratios within the pairs, never the ratio of the medians: what slows the machine for a while slows a pair."""
        ratios = [own / reference for reference, own in zip(self.reference_ms, self.own_ms, strict=True)]
        return Ratio(median=median(ratios), lowest=min(ratios), highest=max(ratios))


def compared(pairs: Sequence[tuple[float, float]]) -> Comparison:
    """The comparison of pairs of (the reference's, the job's) milliseconds.

    Raises:
        ValueError: no pair, or a time that the clock was too coarse to see.
    """
    if not pairs:
        raise ValueError("there is nothing to compare without a pair")
    if any(time_ms <= 0 for pair in pairs for time_ms in pair):
        raise ValueError("a time of 0 ms has no ratio; repeat the job more often within one measurement")
    return Comparison(reference_ms=tuple(first for first, _ in pairs), own_ms=tuple(second for _, second in pairs))
