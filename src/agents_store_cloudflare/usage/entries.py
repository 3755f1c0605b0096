"""Usage entries as the table holds them, and the rules they must keep."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from agents_store_cloudflare.arguments import check_id, check_text, check_whole_number
from agents_store_cloudflare.database import Row
from agents_store_cloudflare.errors import InvalidArgumentError
from agents_store_cloudflare.json_values import JsonObject, decode_json, encode_json
from agents_store_cloudflare.records import TokenCounts, UsageEntry, UsageSource, check_extra

__all__ = ["KINDS", "columns_of", "complete", "entry_of"]

_OF_EVERY_ENTRY = {"id", "sessionId", "kind", "stepCount", "timestamp", "source"}
_COLUMNS = _OF_EVERY_ENTRY | {"session_id", "step_count"}

KINDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "tokens": (frozenset({"model", "tokens"}), frozenset()),
    "tool": (frozenset({"tool_name", "duration_ms", "success"}), frozenset({"error"})),
    "subagent": (frozenset({"agent_type", "sub_session_id", "duration_ms", "success"}), frozenset()),
    "custom": (frozenset({"name", "value"}), frozenset({"data"})),
}
"""For each kind: the fields it needs, and those it may have."""

LARGEST_VALUE = 1e300

_BODY_FIELDS = frozenset[str]().union(*(needed | allowed for needed, allowed in KINDS.values()))


def complete(given: UsageEntry | Mapping[str, object], now_ms: Callable[[], int]) -> UsageEntry:
    """The entry with its id and time, once it keeps every rule.

    Raises:
        TypeError, InvalidArgumentError: the rule that is broken, by the field's name.
    """
    entry = given if isinstance(given, UsageEntry) else UsageEntry.from_dict(given)
    check_id(entry.session_id, "session_id")
    if entry.kind not in KINDS:
        raise InvalidArgumentError(f"kind is {entry.kind!r}, it must be one of {', '.join(KINDS)}")
    check_whole_number(entry.step_count, "step_count")
    _check_source(entry.source)
    check_extra(entry, entry.extra)
    _check_fields(entry)
    _check_body(entry)
    return replace(
        entry,
        id=check_id(entry.id, "id") if entry.id else uuid.uuid4().hex,
        timestamp=now_ms() if entry.timestamp is None else check_whole_number(entry.timestamp, "timestamp"),
    )


def _check_source(source: object) -> None:
    if not isinstance(source, UsageSource):
        raise TypeError(f"source must be a UsageSource or a mapping, not {type(source).__name__}")
    check_id(source.type, "source.type")
    check_id(source.name, "source.name")


def _check_fields(entry: UsageEntry) -> None:
    needed, allowed = KINDS[entry.kind]
    present = {name for name in _BODY_FIELDS if getattr(entry, name) is not None}
    if missing := sorted(needed - present):
        raise InvalidArgumentError(f"a {entry.kind} entry needs {', '.join(missing)}")
    if foreign := sorted(present - needed - allowed):
        raise InvalidArgumentError(f"a {entry.kind} entry has no {', '.join(foreign)}")


def _check_body(entry: UsageEntry) -> None:
    for name in ("model", "tool_name", "agent_type", "name"):
        if getattr(entry, name) is not None:
            check_id(getattr(entry, name), name)
    if entry.sub_session_id is not None:
        check_id(entry.sub_session_id, "sub_session_id")
    if entry.duration_ms is not None:
        check_whole_number(entry.duration_ms, "duration_ms")
    if entry.error is not None:
        check_text(entry.error, "error", empty=True)
    if entry.success is not None and not isinstance(cast("object", entry.success), bool):
        raise TypeError(f"success must be a bool, not {type(entry.success).__name__}")
    if isinstance(entry.value, bool) or not isinstance(cast("object", entry.value), int | float | None):
        raise TypeError(f"value must be a number, not {type(entry.value).__name__}")
    if entry.value is not None and not abs(entry.value) <= LARGEST_VALUE:
        raise InvalidArgumentError("value must be a number between -1e300 and 1e300: totals must not overflow")
    if entry.tokens is not None:
        _check_tokens(entry.tokens)


def _check_tokens(tokens: object) -> None:
    if not isinstance(tokens, TokenCounts):
        raise TypeError(f"tokens must be TokenCounts or a mapping, not {type(tokens).__name__}")
    for name in ("prompt", "completion", "reasoning", "cached", "total"):
        check_whole_number(getattr(tokens, name), f"tokens.{name}")
    if tokens.cached > tokens.prompt:
        raise InvalidArgumentError(
            f"tokens.cached is {tokens.cached}, inside tokens.prompt there are only {tokens.prompt}"
        )
    if tokens.reasoning > tokens.completion:
        raise InvalidArgumentError(
            f"tokens.reasoning is {tokens.reasoning}, inside tokens.completion there are only {tokens.completion}"
        )


def columns_of(entry: UsageEntry) -> JsonObject:
    """The columns of an entry; `data` is the JSON text of everything that has no column of its own."""
    body: JsonObject = {
        key: value for key, value in entry.to_dict().items() if key not in _OF_EVERY_ENTRY and value is not None
    }
    body.update(entry.extra)  # where null is a value
    return {
        "id": entry.id,
        "session_id": entry.session_id,
        "kind": entry.kind,
        "step_count": entry.step_count,
        "timestamp": entry.timestamp,
        "source_type": entry.source.type,
        "source_name": entry.source.name,
        "data": encode_json(body, name=f"the body of usage entry {entry.id!r}"),
    }


def entry_of(row: Row) -> UsageEntry:
    """The entry of a row. What its body has beside the columns does not hide them."""
    entry_id, session_id, kind, step_count, timestamp, source_type, source_name, data = cast("Sequence[Any]", row)
    return UsageEntry.from_dict(
        {
            **{
                key: value for key, value in cast("Mapping[str, Any]", decode_json(data)).items() if key not in _COLUMNS
            },
            "id": entry_id,
            "sessionId": session_id,
            "kind": kind,
            "stepCount": step_count,
            "timestamp": timestamp,
            "source": {"type": source_type, "name": source_name},
        }
    )
