"""Finds the tool calls and the outputs of calls among the items of a conversation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

__all__ = ["MAX_KNOWN", "KnownCalls", "call_ids", "calls_missing", "without_cut_outputs"]

CALL_ID_KEYS: Final = {"mcp_approval_request": "id"}
OUTPUT_ID_KEYS: Final = {"mcp_approval_response": "approval_request_id"}
MAX_KNOWN: Final = 1_000


class KnownCalls:
    """The ids of calls that a session object has read or added: at most 1,000, the newest. Others cost a read of the history.

    Attributes:
        ids: the ids, the oldest first.
        epoch: the history that they were in. It changes when messages are removed. None as long as nothing is known.
    """

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}
        self.epoch: int | None = None

    def add(self, items: Iterable[Mapping[str, Any]], epoch: int) -> None:
        """Remember the calls among the items. Calls of another history are forgotten: messages were removed since."""
        if epoch != self.epoch:
            self.ids.clear()
        self.epoch = epoch
        self.ids |= dict.fromkeys(call_ids(items))
        for oldest in list(self.ids)[:-MAX_KNOWN]:
            del self.ids[oldest]


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
