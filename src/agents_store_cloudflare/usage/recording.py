"""The statements that record entries: the totals first, then the entries, in one batch."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from operator import itemgetter
from typing import Any, LiteralString, TypeAlias, cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject, decode_json, encode_json
from agents_store_cloudflare.contract.usage.budgets import PriceBook
from agents_store_cloudflare.contract.usage.records import UsageEntry
from agents_store_cloudflare.database import MAX_VALUE_BYTES, SqlValue, Statement
from agents_store_cloudflare.usage import sql
from agents_store_cloudflare.usage.amounts import amounts_of, name_of
from agents_store_cloudflare.usage.entries import Completion, data_of, ids_of_commit, new_ids
from agents_store_cloudflare.usage.options import UsageOptions
from agents_store_cloudflare.usage.prices import as_price_book, price_entry
from agents_store_cloudflare.usage.table_names import check_table_name, for_table

__all__ = ["Recording", "completed", "request_digest", "usage_statements"]

DAY_MS = 86_400_000

_Columns: TypeAlias = "list[Any]"

_NONE = "[]"

_BY_SESSION = itemgetter(1, 2, 3)
_BY_DAY = itemgetter(7, 2, 3, 8)
_NAMED = itemgetter(1, 2, 3, 7, 8)


@dataclass(frozen=True, slots=True)
class Recording:
    """Completed entries as the JSON texts that are the parameters of the statements.

    Attributes:
        entries: a list of arrays: 0 id, 1 session id, 2 kind, 3 step count, 4 timestamp, 5 and 6 source, 7 data (an object, or its JSON
            text when it holds user JSON).
        ids: a list of the ids.
        additions: the amounts that each entry adds to the totals: 0 id, 1 session id, 2 kind, 3 name, 4 and 5 timestamp, 6 amounts,
            7 day, 8 agent.
        by_session: a list of the sums of the additions of each session. The columns are the same, and the ids are null.
        by_day: the same for days.
        sub_sessions: a list of arrays: 0 id, 1 session id, 2 sub-session id, of the entries with a sub-session; "" when there are none.
    """

    entries: str
    ids: str
    additions: list[_Columns]
    by_session: str
    by_day: str
    sub_sessions: str

    @classmethod
    def of(cls, entries: Sequence[UsageEntry]) -> Recording:
        """Return the recording of completed entries.

        Raises:
            InvalidArgumentError: two entries have the same id, or the entries are too large for one call.
        """
        ids = [entry.id for entry in entries]
        if len(set(ids)) != len(ids):
            raise InvalidArgumentError("two entries of one call have the same id")
        text = _text([_row(entry) for entry in entries])
        if len(text) > MAX_VALUE_BYTES // 4 and (size_bytes := len(text.encode())) > MAX_VALUE_BYTES:
            raise InvalidArgumentError(
                f"the entries have {size_bytes:,} bytes, one call takes {MAX_VALUE_BYTES:,}; send fewer"
            )
        additions = [_addition(entry) for entry in entries]
        sums = _sums(additions, _NAMED)
        named = [[entry.id, entry.session_id, entry.sub_session_id] for entry in entries if entry.sub_session_id]
        return cls(
            text,
            _text(ids),
            additions,
            _text(_sums(sums, _BY_SESSION)),
            _text(_sums(sums, _BY_DAY)),
            _text(named) if named else "",
        )

    def sessions(self) -> str:
        """Return the ids of the sessions as a JSON list."""
        return _text(sorted({each[1] for each in self.additions}))

    def statements(self, now_ms: int, table: str, *, all_new: bool = False) -> list[Statement]:
        """Return the statements that store the entries and add them to the totals. Entries that are stored already change nothing.

        Args:
            now_ms: the time at which the entries are recorded.
            table: the table of the store.
            all_new: `NEW_GUARD` stands before these statements, so no entry is stored already. Then the statements have smaller
                parameters.
        """

        def statement(text: LiteralString, *parameters: SqlValue) -> Statement:
            return Statement(for_table(text, table), parameters)

        additions, ids = (_NONE, _NONE) if all_new else (_text(self.additions), self.ids)
        sub_sessions = [statement(sql.ADD_SUB_SESSIONS, self.sub_sessions)] if self.sub_sessions else []
        return [
            statement(sql.ADD_TO_SESSIONS, self.by_session, additions, ids),
            statement(sql.ADD_TO_DAYS, self.by_day, additions, ids),
            *sub_sessions,
            statement(sql.INSERT_ENTRIES, self.entries, now_ms),
        ]


def completed(
    entries: Sequence[UsageEntry | Mapping[str, object]],
    now_ms: Callable[[], int],
    *,
    prices: PriceBook | None = None,
    commit_id: str | None = None,
) -> list[UsageEntry]:
    """Check entries, and return them with ids, times and prices.

    Args:
        entries: records or mappings.
        now_ms: the clock of entries without a time.
        prices: the prices of entries without a cost, or None.
        commit_id: makes the ids of entries without an id. A repetition makes the same ids.

    Raises:
        TypeError: a field has a wrong type; the message names it.
        InvalidArgumentError: a field breaks a rule; the message names it.
    """
    completion = Completion(now_ms, new_ids(now_ms()) if commit_id is None else ids_of_commit(commit_id))
    own = [_apart(completion.complete(entry)) for entry in entries]
    return own if prices is None else [price_entry(entry, prices) for entry in own]


def _apart(entry: UsageEntry) -> UsageEntry:
    """Return the entry with a copy of its user JSON, so that the caller's later changes do not reach the record."""
    if entry.data is None and not entry.extra:
        return entry
    extra = cast("JsonObject", decode_json(encode_json(entry.extra, name="body")))
    return replace(entry, data=decode_json(encode_json(entry.data, name="body")), extra=extra)


def request_digest(given: Sequence[UsageEntry | Mapping[str, object]], completed_entries: Sequence[UsageEntry]) -> str:
    """Return a digest of everything that the caller gave. Times and prices are left out when the store made them."""
    rows = [_row(entry) for entry in completed_entries]
    for entry, row in zip(given, rows, strict=True):
        timestamp = entry.timestamp if isinstance(entry, UsageEntry) else entry.get("timestamp")
        if timestamp is None:
            row[4] = None
    return sha256(_text(rows).encode()).hexdigest()


def usage_statements(
    session_id: str,
    entries: Sequence[UsageEntry | Mapping[str, object]],
    now_ms: Callable[[], int],
    options: UsageOptions,
) -> list[Statement]:
    """Return the statements that record entries of one session as part of another store's batch.

    They stand behind the guard of that batch, and are safe to send again.

    Raises:
        TypeError: a field has a wrong type; the message names it.
        InvalidArgumentError: a field breaks a rule, or an entry belongs to another session.
    """
    own = completed(entries, now_ms, prices=None if options.price_book is None else as_price_book(options.price_book))
    for entry in own:
        if entry.session_id != session_id:
            raise InvalidArgumentError(
                f"usage has an entry of session {entry.session_id!r}, but the call saves session {session_id!r}"
            )
    return Recording.of(own).statements(now_ms(), check_table_name(options.table_name)) if own else []


def _row(entry: UsageEntry) -> _Columns:
    source = entry.source
    return [
        entry.id,
        entry.session_id,
        entry.kind,
        entry.step_count,
        entry.timestamp,
        source.type,
        source.name,
        data_of(entry),
    ]


def _addition(entry: UsageEntry) -> _Columns:
    at = entry.timestamp or 0
    return [
        entry.id,
        entry.session_id,
        entry.kind,
        name_of(entry),
        at,
        at,
        amounts_of(entry),
        at // DAY_MS,
        entry.agent or (entry.source.name if entry.source.type == "agent" else ""),
    ]


def _sums(additions: Iterable[_Columns], key_of: Callable[[_Columns], object]) -> list[_Columns]:
    sums: dict[object, _Columns] = {}
    for each in additions:
        key = key_of(each)
        if (total := sums.get(key)) is None:
            sums[key] = [None, *each[1:6], defaultdict(int, each[6]), *each[7:]]
            continue
        total[4] = min(total[4], each[4])
        total[5] = max(total[5], each[5])
        amounts: defaultdict[str, int] = total[6]
        for name, number in each[6].items():
            amounts[name] += number
    return list(sums.values())


def _text(values: object) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
