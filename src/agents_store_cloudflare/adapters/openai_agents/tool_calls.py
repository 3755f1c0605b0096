"""Finds the tool calls and the outputs of calls among the items of a conversation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

__all__ = ["MAX_KNOWN", "KnownCalls", "call_ids", "calls_missing", "without_cut_outputs"]

CALL_ID_KEYS: Final = {"mcp_approval_request": "id"}
OUTPUT_ID_KEYS: Final = {"mcp_approval_response": "approval_request_id"}
MAX_KNOWN: Final = 1_000


class KnownCalls:
    """The newest 1,000 ids of calls that a session object has read or added. Other calls cost a read of the history.

    Attributes:
        ids: the ids, the oldest first.
    """

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}

    def add(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Remember the calls among the items."""
        self.ids |= dict.fromkeys(call_ids(items))
        for oldest in list(self.ids)[:-MAX_KNOWN]:
            del self.ids[oldest]

    def without(self, items: Iterable[Mapping[str, Any]]) -> KnownCalls:
        """Return the calls that stay known when the items are removed. Calls that are added to this object later are forgotten."""
        left, removed = KnownCalls(), set(call_ids(items))
        left.ids = {call_id: None for call_id in self.ids if call_id not in removed}
        return left


def call_ids(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the ids of the calls among the items, in their order."""
    return [call_id for item in items if (call_id := _id_of_call(item)) is not None]


def calls_missing(items: Iterable[Mapping[str, Any]], known: Collection[str]) -> list[str]:
    """Return the ids of missing calls: their outputs are among the items, and the calls are neither known nor earlier among the items."""
    called, missing = set(known), dict[str, None]()
    for item in items:
        if (call_id := _id_of_call(item)) is not None:
            called.add(call_id)
        elif (answered := _id_of_output(item)) is not None and answered not in called:
            missing[answered] = None
    return list(missing)


def without_cut_outputs(items: list[Any]) -> list[Any]:
    """Return the items without the outputs whose calls are not among them.

    A part of a history may begin between a call and its output.
    """
    called, kept = set[str](), list[Any]()
    for item in items:
        if (call_id := _id_of_call(item)) is not None:
            called.add(call_id)
        answered = _id_of_output(item)
        if answered is None or answered in called:
            kept.append(item)
    return kept


def _id_of_call(item: Mapping[str, Any]) -> str | None:
    kind = item.get("type")
    if not isinstance(kind, str) or not (kind.endswith("_call") or kind in CALL_ID_KEYS):
        return None
    return _text(item.get(CALL_ID_KEYS.get(kind, "call_id")))


def _id_of_output(item: Mapping[str, Any]) -> str | None:
    kind = item.get("type")
    if not isinstance(kind, str) or not (kind.endswith("_call_output") or kind in OUTPUT_ID_KEYS):
        return None
    return _text(item.get(OUTPUT_ID_KEYS.get(kind, "call_id")))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
