"""The arithmetic of alternating pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

__all__ = ["Comparison", "Ratio", "compared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The ratio of two times: the median over the pairs, and the pairs furthest from it."""

    median: float
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The times of one job and of its reference in milliseconds. The n-th times of both belong to one pair."""

    reference_ms: tuple[float, ...]
    own_ms: tuple[float, ...]

    @property
    def reference_median_ms(self) -> float:
        """The median of the reference."""
        return median(self.reference_ms)

    @property
    def own_median_ms(self) -> float:
        """The job's own median."""
        return median(self.own_ms)

    @property
    def ratio(self) -> Ratio:
        """The ratios within the pairs, not the ratio of the medians, because a slow moment of the machine slows both times of a pair."""
        ratios = [own / reference for reference, own in zip(self.reference_ms, self.own_ms, strict=True)]
        return Ratio(median=median(ratios), lowest=min(ratios), highest=max(ratios))


def compared(pairs: Sequence[tuple[float, float]]) -> Comparison:
    """Return the comparison of pairs of (the reference's, the job's) milliseconds.

    Raises:
        ValueError: there is no pair, or a time is too short for the clock.
    """
    if not pairs:
        raise ValueError("there is nothing to compare without a pair")
    if any(time_ms <= 0 for pair in pairs for time_ms in pair):
        raise ValueError("a time of 0 ms has no ratio; repeat the job more often within one measurement")
    return Comparison(reference_ms=tuple(first for first, _ in pairs), own_ms=tuple(second for _, second in pairs))
