"""Usage entries: the rules that they must keep, and their form in the table."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from operator import attrgetter
from typing import Any, cast

from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER, check_id, check_text, check_whole_number
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import MAX_DEPTH, JsonValue, decode_json, encode_json, parse_json
from agents_store_cloudflare.contract.record import check_extra
from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageEntry, UsageSource
from agents_store_cloudflare.database import Row
from agents_store_cloudflare.usage.drafts import read_entry, with_id_and_time

__all__ = ["KINDS", "Completion", "data_of", "entry_of", "ids_of_commit", "new_ids"]

_COLUMNS = {"id", "sessionId", "session_id", "kind", "stepCount", "step_count", "timestamp", "source"}

KINDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "tokens": (
        frozenset({"model", "tokens"}),
        frozenset({"provider", "request_model", "response_model", "time_to_first_token_ms", "duration_ms"}),
    ),
    "tool": (frozenset({"tool_name", "duration_ms", "success"}), frozenset({"error"})),
    "subagent": (frozenset({"agent_type", "sub_session_id", "duration_ms", "success"}), frozenset()),
    "custom": (frozenset({"name", "value"}), frozenset({"data"})),
}
"""Kind -> the fields that it needs, and the fields that it may have beside `OF_ANY_KIND`."""

OF_ANY_KIND = ("run_id", "agent", "cost_micros", "price_version", "corrects")

LARGEST_VALUE = 1e300
LATEST_TIMESTAMP_MS = 253_402_300_799_999
"""The last millisecond of the year 9999, the last year of a date."""

_TOKEN_COUNTS = ("prompt", "completion", "reasoning", "cached", "total")

# Field -> key, in the order of the keys in `data`.
_KEYS: Mapping[str, str] = {
    "run_id": "runId",
    "agent": "agent",
    "model": "model",
    "tokens": "tokens",
    "provider": "provider",
    "request_model": "requestModel",
    "response_model": "responseModel",
    "time_to_first_token_ms": "timeToFirstTokenMs",
    "tool_name": "toolName",
    "agent_type": "agentType",
    "sub_session_id": "subSessionId",
    "duration_ms": "durationMs",
    "success": "success",
    "error": "error",
    "name": "name",
    "value": "value",
    "data": "data",
    "cost_micros": "costMicros",
    "price_version": "priceVersion",
    "corrects": "corrects",
}
_BODY_FIELDS = frozenset(_KEYS) - frozenset(OF_ANY_KIND)
_OWN_FIELDS = {
    kind: [name for name in _KEYS if name in needed | allowed or name in OF_ANY_KIND]
    for kind, (needed, allowed) in KINDS.items()
}
_OWN_KEYS = {kind: ([_KEYS[name] for name in names], attrgetter(*names)) for kind, names in _OWN_FIELDS.items()}
# Most entries have only the fields that their kind needs.
_NEEDED_FIELDS = {kind: [name for name in _KEYS if name in needed] for kind, (needed, _) in KINDS.items()}
_NEEDED_KEYS = {kind: [_KEYS[name] for name in names] for kind, names in _NEEDED_FIELDS.items()}
_NEEDED = {kind: attrgetter(*names) for kind, names in _NEEDED_FIELDS.items()}
_OPTIONAL_FIELDS = {kind: [name for name in names if name not in KINDS[kind][0]] for kind, names in _OWN_FIELDS.items()}
_OPTIONAL = {kind: (attrgetter(*names), (None,) * len(names)) for kind, names in _OPTIONAL_FIELDS.items()}
_token_counts = attrgetter(*_TOKEN_COUNTS)
_SHORT_WAY = {
    spelling: name
    for name, key in {**_KEYS, "id": "id", "session_id": "sessionId", "kind": "kind", "step_count": "stepCount"}.items()
    for spelling in (name, key)
    if name != "data"
} | {"timestamp": "timestamp", "source": "source"}
_FOREIGN = {kind: attrgetter(*sorted(_BODY_FIELDS - needed - allowed)) for kind, (needed, allowed) in KINDS.items()}
_NAME_FIELDS = (
    "session_id",
    "source.type",
    "source.name",
    "run_id",
    "agent",
    "model",
    "provider",
    "request_model",
    "response_model",
    "tool_name",
    "agent_type",
    "sub_session_id",
    "name",
    "price_version",
    "corrects",
)
_NEEDED_NAMES = frozenset({"session_id", "source.type", "source.name"})
_names = attrgetter(*_NAME_FIELDS)
_COUNT_FIELDS = ("duration_ms", "time_to_first_token_ms", "cost_micros")
_counts = attrgetter(*_COUNT_FIELDS)
_NO_COUNTS = (None,) * len(_COUNT_FIELDS)


class Completion:
    """Checks the entries of one call and gives them ids and times. A name that has passed the check is not checked again.

    Args:
        now_ms: the clock of entries without a time.
        new_id: makes an id for an entry of a session.
    """

    def __init__(self, now_ms: Callable[[], int], new_id: Callable[[str], str]) -> None:
        self._now_ms = now_ms
        self._new_id = new_id
        self._passed: set[object] = {None}

    def complete(self, given: UsageEntry | Mapping[str, object]) -> UsageEntry:
        """Return the entry with its id and time.

        Raises:
            TypeError: a field has a wrong type; the message names it.
            InvalidArgumentError: a field breaks a rule; the message names it.
        """
        entry = given if isinstance(given, UsageEntry) else _read(given)
        if entry.kind not in KINDS:
            raise InvalidArgumentError(f"kind is {entry.kind!r}, it must be one of {', '.join(KINDS)}")
        self._check_names(entry)
        _check_count(entry.step_count, "step_count")
        if entry.extra:
            check_extra(entry, entry.extra)
        _check_fields(entry)
        _check_body(entry)
        if entry.id:
            check_id(entry.id, "id")
        if entry.timestamp is not None:
            _check_timestamp(entry.timestamp)
        if entry.id and entry.timestamp is not None:
            return entry
        entry_id = entry.id or self._new_id(entry.session_id)
        timestamp = self._now_ms() if entry.timestamp is None else entry.timestamp
        if entry is given:
            return with_id_and_time(entry, entry_id, timestamp)
        # This method has made the record, so nobody else has it yet.
        object.__setattr__(entry, "id", entry_id)
        object.__setattr__(entry, "timestamp", timestamp)
        return entry

    def _check_names(self, entry: UsageEntry) -> None:
        source = cast("object", entry.source)
        if not isinstance(source, UsageSource):
            raise TypeError(f"source must be a UsageSource or a mapping, not {type(source).__name__}")
        names = _names(entry)
        try:
            if self._passed.issuperset(names):
                return
        except TypeError:
            pass  # a value without a hash is not text; the check below raises the error
        for field, name in zip(_NAME_FIELDS, names, strict=True):
            if name is not None or field in _NEEDED_NAMES:
                check_id(name, field)
        self._passed.update(names)


def _read(given: Mapping[str, Any]) -> UsageEntry:
    entry = read_entry(given, _SHORT_WAY) if isinstance(cast("object", given), Mapping) else None
    return UsageEntry.from_dict(given) if entry is None else entry


def _check_fields(entry: UsageEntry) -> None:
    kind = entry.kind
    if None in _NEEDED[kind](entry):
        missing = sorted(name for name in KINDS[kind][0] if getattr(entry, name) is None)
        raise InvalidArgumentError(f"a {kind} entry needs {', '.join(missing)}")
    foreign = _FOREIGN[kind](entry)
    if foreign.count(None) != len(foreign):
        own = KINDS[kind][0] | KINDS[kind][1]
        names = sorted(name for name in _BODY_FIELDS - own if getattr(entry, name) is not None)
        raise InvalidArgumentError(f"a {kind} entry has no {', '.join(names)}")


def _check_body(entry: UsageEntry) -> None:
    low = 0 if entry.corrects is None else -MAX_SAFE_INTEGER
    counts = _counts(entry)
    if counts != _NO_COUNTS:
        for name, number in zip(_COUNT_FIELDS, counts, strict=True):
            if number is not None:
                _check_count(number, name, low)
    if entry.price_version is not None and entry.cost_micros is None:
        raise InvalidArgumentError("price_version needs cost_micros; an entry without a cost has no price")
    if entry.error is not None:
        check_text(entry.error, "error", empty=True)
    if entry.success is not None and entry.success is not True and entry.success is not False:
        raise TypeError(f"success must be a bool, not {type(entry.success).__name__}")
    if entry.value is not None:
        _check_value(entry.value)
    if entry.tokens is not None:
        _check_tokens(entry.tokens, low)


def _check_count(number: object, name: str, low: int = 0) -> None:
    if type(number) is not int or not low <= number <= MAX_SAFE_INTEGER:
        check_whole_number(number, name, low=low)


def _check_timestamp(timestamp: int) -> None:
    _check_count(timestamp, "timestamp")
    if timestamp > LATEST_TIMESTAMP_MS:
        raise InvalidArgumentError(
            f"timestamp is {timestamp}, after the year 9999; it is in milliseconds since 1970, not micro- or nanoseconds"
        )


def _check_value(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"value must be a number, not {type(value).__name__}")
    if not abs(value) <= LARGEST_VALUE:
        raise InvalidArgumentError("value must be a number between -1e300 and 1e300: totals must not overflow")


def _check_tokens(tokens: object, low: int) -> None:
    if not isinstance(tokens, TokenCounts):
        raise TypeError(f"tokens must be TokenCounts or a mapping, not {type(tokens).__name__}")
    if _are_plain(tokens):
        return
    for name, number in zip(_TOKEN_COUNTS, _token_counts(tokens), strict=True):
        _check_count(number, f"tokens.{name}", low)
    if low < 0:  # a correction may change only the parts
        return
    if tokens.cached > tokens.prompt:
        raise InvalidArgumentError(
            f"tokens.cached is {tokens.cached}, more than tokens.prompt, which is {tokens.prompt} and includes it"
        )
    if tokens.reasoning > tokens.completion:
        raise InvalidArgumentError(
            f"tokens.reasoning is {tokens.reasoning}, more than tokens.completion, which is {tokens.completion} and includes it"
        )


def _are_plain(tokens: TokenCounts) -> bool:
    """Return whether the counts keep every rule and none is negative. Nearly all counts do, and one expression checks them."""
    prompt, completion, reasoning, cached, total = _token_counts(tokens)
    return (
        int is type(prompt) is type(completion) is type(reasoning) is type(cached) is type(total)
        and 0 <= cached <= prompt <= MAX_SAFE_INTEGER
        and 0 <= reasoning <= completion <= MAX_SAFE_INTEGER
        and 0 <= total <= MAX_SAFE_INTEGER
    )


def data_of(entry: UsageEntry) -> JsonValue:
    """Return the fields of an entry that have no column of their own.

    If one of them is user JSON, the result is JSON text, because SQL must not write user JSON anew. Otherwise the result is an
    object.
    """
    body = _body_of(entry)
    if (tokens := entry.tokens) is not None:
        body["tokens"] = dict(zip(_TOKEN_COUNTS, _token_counts(tokens), strict=True))
    if entry.data is None and not entry.extra:
        return body
    body.update(entry.extra)  # here a null is a value
    return encode_json(body, name=f"the body of usage entry {entry.id!r}")


def _body_of(entry: UsageEntry) -> dict[str, JsonValue]:
    kind = entry.kind
    optional_of, none = _OPTIONAL[kind]
    if optional_of(entry) == none:
        return dict(zip(_NEEDED_KEYS[kind], _NEEDED[kind](entry), strict=True))
    keys, values_of = _OWN_KEYS[kind]
    return {key: value for key, value in zip(keys, values_of(entry), strict=True) if value is not None}


def new_ids(now_ms: int) -> Callable[[str], str]:
    """Return a function that makes unique ids.

    The ids begin with the time. So they are neighbours in the index, and recording many entries touches few of its pages.
    """
    beginning = f"{now_ms:012x}{secrets.token_hex(8)}"
    places = count()
    return lambda _session_id: f"{beginning}{next(places):04x}"


def ids_of_commit(commit_id: str) -> Callable[[str], str]:
    """Return a function that makes the same ids again when the call is repeated with its commit id."""
    places = count()
    return lambda session_id: uuid.uuid5(uuid.NAMESPACE_OID, f"{session_id}\n{commit_id}\n{next(places)}").hex


def entry_of(row: Row) -> UsageEntry:
    """Return the entry of a row. The values of columns win over the keys of the body.

    Other programs may write into the table. A damaged body becomes text in `extra`, under `unreadableBody`. A time that is no whole
    number becomes None.
    """
    entry_id, session_id, kind, step_count, timestamp, source_type, source_name, data = cast("Sequence[Any]", row)
    columns = {
        "id": entry_id,
        "sessionId": session_id,
        "kind": kind,
        "stepCount": step_count,
        "timestamp": timestamp if isinstance(timestamp, int) else None,
        "source": {"type": source_type, "name": source_name},
    }
    try:
        body = {key: value for key, value in _stored_body(data).items() if key not in _COLUMNS}
        return UsageEntry.from_dict({**body, **columns})
    except (AttributeError, TypeError, ValueError):
        return UsageEntry.from_dict({**columns, "unreadableBody": str(data)})


def _stored_body(data: str) -> Mapping[str, Any]:
    # A text with few brackets does not nest deeply. In WebAssembly a text that nests deeply would end the isolate.
    is_shallow = data.count("[") + data.count("{") <= MAX_DEPTH
    return cast("Mapping[str, Any]", decode_json(data) if is_shallow else parse_json(data, name="the body"))
