"""The amounts that an entry adds to the totals, as named whole numbers. Python and SQL add and subtract them exactly.

The view `__agents_usage_parts` computes the same amounts in SQL for stored entries, and a test compares the two. Sums in SQL have 64
bits, so large numbers are split: counts at 2^32 (`promptHigh` counts 2^32 tokens each), whole custom values at 10^9 (`w0`, `w1` …),
fractional values at 2^32 (`b0`, `b-1` …). A sum of such parts does not overflow below two thousand million entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TypeAlias

from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageEntry

__all__ = ["Amounts", "amounts_of", "count", "custom_total", "name_of", "token_counts"]

Amounts: TypeAlias = "dict[str, int]"

SPLIT = 2**32
WHOLE_LIMB = 10**9
BROKEN_BITS = 32

_NAMES: Mapping[str, str] = {"tokens": "model", "tool": "tool_name", "subagent": "agent_type", "custom": "name"}


def name_of(entry: UsageEntry) -> str:
    """Return the name under which an entry counts: the model, the tool, the agent type or the custom name."""
    name: str = getattr(entry, _NAMES[entry.kind])
    return name


def amounts_of(entry: UsageEntry) -> Amounts:
    """Return the amounts that a checked entry adds, without zeros. A correction counts as no call."""
    amounts: Amounts = {"entries": 1}
    if entry.corrects is None:
        amounts["calls"] = 1
        if entry.success is False:
            amounts["failed"] = 1
    if (tokens := entry.tokens) is not None:
        _put(amounts, "prompt", tokens.prompt)
        _put(amounts, "completion", tokens.completion)
        _put(amounts, "reasoning", tokens.reasoning)
        _put(amounts, "cached", tokens.cached)
        _put(amounts, "total", tokens.total)
    if entry.duration_ms:
        _put(amounts, "durationMs", entry.duration_ms)
    if entry.cost_micros is not None:
        _put(amounts, "costMicros", entry.cost_micros)
    elif entry.kind == "tokens":
        amounts["unpriced"] = 1
    if (value := entry.value) is not None:
        amounts.update(_broken(value) if isinstance(value, float) else _whole(value))
    return amounts


def _put(amounts: Amounts, name: str, number: int | None) -> None:
    if not number:
        return
    if -SPLIT < number < SPLIT:
        amounts[name] = number
    else:
        amounts[f"{name}High"], amounts[name] = divmod(number, SPLIT)


def _whole(value: int) -> Amounts:
    limbs: Amounts = {}
    rest, sign = abs(value), -1 if value < 0 else 1
    while rest:
        rest, limb = divmod(rest, WHOLE_LIMB)
        limbs[f"w{len(limbs)}"] = sign * limb
    return limbs


def _broken(value: float) -> Amounts:
    numerator, denominator = value.as_integer_ratio()  # the denominator is a power of two
    bits = denominator.bit_length() - 1
    place = -(-bits // BROKEN_BITS)
    rest, sign = abs(numerator) << (place * BROKEN_BITS - bits), -1 if value < 0 else 1
    limbs: Amounts = {"fractions": 1}
    while rest:
        limbs[f"b{-place}"] = sign * (rest & (SPLIT - 1))
        rest >>= BROKEN_BITS
        place -= 1
    return limbs


def count(amounts: Mapping[str, int], name: str) -> int:
    """Return one count, computed from its parts."""
    return amounts.get(name, 0) + amounts.get(f"{name}High", 0) * SPLIT


def token_counts(amounts: Mapping[str, int]) -> TokenCounts:
    """Return the sums of tokens."""
    return TokenCounts(
        prompt=count(amounts, "prompt"),
        completion=count(amounts, "completion"),
        reasoning=count(amounts, "reasoning"),
        cached=count(amounts, "cached"),
        total=count(amounts, "total"),
    )


def custom_total(amounts: Mapping[str, int]) -> int | float:
    """Return the exact sum of custom values. If one of them is a float, the sum is rounded once, to the nearest float."""
    limbs = [(int(name[1:]), limb) for name, limb in amounts.items() if name[0] == "w"]
    whole: int = sum(limb * WHOLE_LIMB**place for place, limb in limbs)
    if not amounts.get("fractions"):
        return whole
    broken = (Fraction(2) ** (BROKEN_BITS * int(name[1:])) * limb for name, limb in amounts.items() if name[0] == "b")
    return float(sum(broken, Fraction(whole)))
