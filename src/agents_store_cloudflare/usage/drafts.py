"""Entries in the making: a twin of `UsageEntry` that may still be written, and becomes one.

A frozen record's constructor writes each field by a call of `object.__setattr__`, which in the Worker takes longer than all the checks
of an entry. The twin has the same slots and none of that; Python lets an object change to a class of the same layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields, make_dataclass
from operator import attrgetter
from typing import Any

from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageEntry, UsageSource

__all__ = ["read_entry", "with_id_and_time"]


def _twin_of(record: type[Any]) -> Any:
    after = {"__post_init__": record.__post_init__} if hasattr(record, "__post_init__") else {}
    parts = [
        (part.name, Any, field(default=part.default, default_factory=part.default_factory)) for part in fields(record)
    ]
    return make_dataclass(
        f"_{record.__name__}Draft", parts, bases=record.__bases__, namespace=after, slots=True, kw_only=True
    )


_EntryDraft = _twin_of(UsageEntry)
_CountsDraft = _twin_of(TokenCounts)
_SourceDraft = _twin_of(UsageSource)
_NAMES = [part.name for part in fields(UsageEntry)]
_values = attrgetter(*_NAMES)


def read_entry(given: Mapping[str, Any], spellings: Mapping[str, str]) -> UsageEntry | None:
    """`UsageEntry.from_dict`, by a shorter way: an agent's every step comes through here. None where `given` needs the long one.

    Args:
        spellings: the keys that it may have -> the field.
    """
    try:
        known = {spellings[key]: value for key, value in given.items()}
        source = known["source"] = _SourceDraft(**known["source"])
        source.__class__ = UsageSource
        if "tokens" in known:
            tokens = known["tokens"] = _CountsDraft(**known["tokens"])
            tokens.__class__ = TokenCounts
        return _finished(_EntryDraft(**known)) if len(known) == len(given) else None
    except (AttributeError, KeyError, TypeError):
        return None  # the long way knows what to do with it, or what to call it


def with_id_and_time(entry: UsageEntry, entry_id: str, timestamp: int) -> UsageEntry:
    """The entry with these; `copy` and `replace` take ten times as long."""
    draft = _EntryDraft(**dict(zip(_NAMES, _values(entry), strict=True)))
    draft.id, draft.timestamp = entry_id, timestamp
    return _finished(draft)


def _finished(draft: Any) -> UsageEntry:
    draft.__class__ = UsageEntry
    entry: UsageEntry = draft
    return entry
