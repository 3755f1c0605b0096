"""Entries of mappings, by the short way: what comes out is a record like any other."""

import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageEntry, UsageSource
from agents_store_cloudflare.testing.conformance.usage import entry_of_each_kind
from agents_store_cloudflare.usage.entries import Completion

MAPPINGS: list[dict[str, Any]] = [
    {key: value for key, value in entry.to_dict().items() if value is not None} for entry in entry_of_each_kind("s")
]
MAPPINGS.append({"session_id": "s", "kind": "tokens", "model": "m", "source": {"name": "n", "type": "t"}, "tokens": {}})


def _complete(given: UsageEntry | dict[str, Any]) -> UsageEntry:
    return Completion(lambda: 5, lambda _session_id: "made").complete(given)


@pytest.mark.parametrize("place", range(len(MAPPINGS)))
def test_both_ways_give_the_same_record(place: int) -> None:
    """US-1: A mapping gives the same record as `from_dict`. A record is used unchanged."""
    given = {key: value for key, value in MAPPINGS[place].items() if key not in {"id", "timestamp"}}
    record = UsageEntry.from_dict(given)
    completed = _complete(given)
    assert completed == _complete(record) == UsageEntry.from_dict({**given, "id": "made", "timestamp": 5})
    assert (record.id, record.timestamp) == ("", None)
    assert type(completed) is UsageEntry
    assert type(completed.source) is UsageSource
    assert repr(completed) == repr(_complete(record))
    assert pickle.loads(pickle.dumps(completed)) == completed


def test_records_stay_frozen() -> None:
    """US-1: Nobody can write to a record from a mapping, nor to its content."""
    entry = _complete(MAPPINGS[-1])
    assert entry.tokens == TokenCounts(total=0)
    for record, name in ((entry, "id"), (entry.tokens, "prompt"), (entry.source, "name")):
        with pytest.raises(FrozenInstanceError):
            setattr(record, name, "x")
