"""Turns the filters of searches into data for SQL. No text of a filter becomes SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError

__all__ = ["MOST_LEAVES", "filter_json"]

MOST_LEAVES: Final = 200
"""The most values that one filter compares. Every item that a search reads is compared with each of them."""

_ORDERS: Final = frozenset({"$gt", "$gte", "$lt", "$lte"})
_INT64: Final = 2**63
_LARGEST: Final = 1e308

Leaf: TypeAlias = "tuple[str, str, str | float | None]"
"""One comparison of a filter: (JSON path, kind, operand). See item_sql."""


def filter_json(wanted: Mapping[str, Any] | None) -> str:
    """Return a filter for SQL: `[[is negated, [leaf, …]], …]`. An item matches if every group holds.

    A value of the filter is the wanted value of the item's key, or `{"$eq" | "$ne" | "$gt" | "$gte" | "$lt" | "$lte": operand}`. A
    dict without operators has only some keys of the item's dict. A list has all elements. None also matches a missing key.

    Raises:
        InvalidArgumentError: the filter has an unknown operator, an operand that it cannot compare, a key that no path can name, or
            too many values.
    """
    parts = _Parts()
    for key, value in (wanted or {}).items():
        parts.compare(_below("$", key), value)
    if parts.count > MOST_LEAVES:
        raise InvalidArgumentError(f"a filter of {parts.count:,} values; allowed are {MOST_LEAVES}")
    return json.dumps([[0, parts.leaves], *([1, group] for group in parts.negated)], ensure_ascii=False)


class _Parts:
    """Collects the leaves of one filter."""

    def __init__(self) -> None:
        self.leaves: list[Leaf] = []
        self.negated: list[list[Leaf]] = []

    @property
    def count(self) -> int:
        return len(self.leaves) + sum(map(len, self.negated))

    def compare(self, path: str, wanted: Any) -> None:
        """Add the comparison of the item's value with the wanted value."""
        if isinstance(wanted, Mapping):
            named = cast("Mapping[str, Any]", wanted)
            if any(str(key).startswith("$") for key in named):
                for operator, operand in named.items():
                    self._operate(path, operator, operand)
                return
            self.leaves.append((path, "object", None))
            for key, value in named.items():
                self.compare(_below(path, key), value)
        elif isinstance(wanted, list | tuple):
            elements = cast("Sequence[Any]", wanted)
            self.leaves.append((path, "array", len(elements)))
            for index, element in enumerate(elements):
                self.compare(f"{path}[{index}]", element)
        else:
            self.leaves.append(_scalar(path, wanted, may_miss=True))

    def _operate(self, path: str, operator: str, operand: Any) -> None:
        if operator == "$eq":
            self.leaves += _equal(path, operand, may_miss=True)
        elif operator == "$ne":
            self.negated.append(_equal(path, operand, may_miss=True))
        elif operator in _ORDERS:
            if isinstance(operand, bool) or not isinstance(operand, int | float) or not abs(operand) <= _LARGEST:
                raise InvalidArgumentError(f"{operator} compares numbers up to 1e308, not {type(operand).__name__}")
            self.leaves.append((path, operator, _in_range(operand)))
        else:
            raise InvalidArgumentError(
                f"a filter has no operator {operator!r}; it has $eq, $ne, $gt, $gte, $lt and $lte"
            )


def _equal(path: str, wanted: Any, *, may_miss: bool) -> list[Leaf]:
    """Add the comparison that the whole value equals the wanted value."""
    if isinstance(wanted, Mapping):
        named = cast("Mapping[str, Any]", wanted)
        inner = [leaf for key, value in named.items() for leaf in _equal(_below(path, key), value, may_miss=False)]
        return [(path, "object", len(named)), *inner]
    if isinstance(wanted, list | tuple):
        elements = cast("Sequence[Any]", wanted)
        inner = [
            leaf for index, each in enumerate(elements) for leaf in _equal(f"{path}[{index}]", each, may_miss=False)
        ]
        return [(path, "array", len(elements)), *inner]
    return [_scalar(path, wanted, may_miss=may_miss)]


def _scalar(path: str, wanted: object, *, may_miss: bool) -> Leaf:
    if wanted is None:
        return path, "null or missing" if may_miss else "null", None
    if isinstance(wanted, str):
        return path, "text", _utf8(wanted)
    if isinstance(wanted, int) and _INT64 <= abs(wanted) <= _LARGEST:
        return path, "digits", str(wanted)
    if isinstance(wanted, int | float) and abs(wanted) <= _LARGEST:
        return path, "number", wanted * 1
    raise InvalidArgumentError(f"a filter compares JSON values up to 1e308, not {type(wanted).__name__}")


def _in_range(number: float) -> float:
    return float(number) if abs(number) >= _INT64 else number


def _below(path: str, key: object) -> str:
    if not isinstance(key, str) or '"' in key or "\\" in key or any(character < " " for character in key):
        raise InvalidArgumentError(
            f"a filter cannot name the key {key!r}: it is no text, or has quotes, backslashes or control characters"
        )
    return f'{path}."{_utf8(key)}"'


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"a filter holds half a character: {text!r}") from None
    return text
