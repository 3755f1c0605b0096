"""What a copy promises about usage that others change while the copy is made."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import pytest

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.errors import D1StateError
from agents_store_cloudflare.database import Database, Homes, Row, Statement
from agents_store_cloudflare.homes.database import ObjectHomes
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.store.store import StoreParts
from agents_store_cloudflare.testing.conformance.fixtures import StoreFixtures
from agents_store_cloudflare.transfer import export_remains, export_session

__all__ = ["TransferMomentConformance"]

STEP = 5
"""Between the totals and the entries more batches are sent, so no gap between the two is missed."""

LONG = 50 * 365 * 86_400
"""An age in seconds that only entries of these tests have."""


class TransferMomentConformance(StoreFixtures):
    """The usage in a copy belongs to one moment."""

    @pytest.mark.parametrize(
        ("what", "how"),
        [("a session", how) for how in ("recorded", "kept", "deleted")] + [("an id without a session", "kept")],
    )
    async def test_usage_that_changes_meanwhile(
        self, store: CloudflareStore, source: Any, unique: str, how: str, what: str
    ) -> None:
        """TR-1, TR-12: whenever others record or delete usage, a copy has it as it was before, or as it was after."""
        export: Any = export_session if what == "a session" else export_remains
        acts: dict[str, Callable[[str], Awaitable[object]]] = {
            "recorded": lambda name: _record(store, name, 2),
            "kept": lambda _: store.usage_store.delete_old_entries(LONG, keep_totals=True),
            "deleted": store.usage_store.delete,
        }
        found: set[tuple[int, int]] = set()
        at, was_in_time = 0, True
        while was_in_time:
            name = f"{unique}-{at}"
            if what == "a session":
                await store.state_store.create_session(name, agent_type="a")
            await _record(store, name, 1)
            await store.usage_store.delete_old_entries(LONG, keep_totals=True)
            await _record(store, name, 3)
            meddler = Meddler(at, partial(acts[how], name))
            found.add(_usage_of(await export(meddler.around(source), name)))
            at, was_in_time = at + STEP, meddler.has_acted
        assert at > 10
        after = {"recorded": (5, 1), "kept": (0, 4), "deleted": (0, 0)}[how]
        assert found == {(3, 1), after}

    async def test_usage_that_never_rests(self, store: CloudflareStore, source: Any, unique: str) -> None:
        """TR-1: where usage is recorded again and again meanwhile, the copy is refused."""
        await store.state_store.create_session(unique, agent_type="a")
        meddler = Meddler(None, lambda: _record(store, unique, 1))
        with pytest.raises(D1StateError, match="was written while it was copied"):
            await export_session(meddler.around(source), unique)


class Meddler:
    """Somebody else, who acts during the batch number `at` of an export, or during every batch if `at` is None."""

    def __init__(self, at: int | None, act: Callable[[], Awaitable[object]]) -> None:
        self._at = at
        self._act = act
        self._sent = 0
        self.has_acted: bool = False

    def around(self, source: object) -> object:
        """Return a source of copies whose batches are disturbed: of a database, or of a store."""
        if not isinstance(source, CloudflareStore):
            return _Meddled(as_database(source), self)
        parts, homes = source.parts, source.parts.homes
        meddled = None if homes is None else _MeddledHomes(homes, self)
        database = _Meddled(parts.database, self)
        states = D1StateStore(meddled or database)
        return _MeddledStore(replace(parts, database=database, homes=cast("Any", meddled)), states)

    async def come(self) -> None:
        """Act, if it is time."""
        if self._at in (None, self._sent):
            self.has_acted = True
            await self._act()
        self._sent += 1


class _Meddled(Database):
    def __init__(self, database: Database, meddler: Meddler) -> None:
        self._database = database
        self._meddler = meddler

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        await self._meddler.come()
        return await self._database.batch(statements)


class _MeddledHomes(Homes):
    def __init__(self, homes: ObjectHomes, meddler: Meddler) -> None:
        self._homes = homes
        self._meddler = meddler

    def of(self, session_id: str) -> Database:
        return _Meddled(self._homes.of(session_id), self._meddler)

    def of_new(self, session_id: str) -> Database:
        return _Meddled(self._homes.of_new(session_id), self._meddler)

    def admit(self, session_id: str, parent_session_id: str | None) -> None:
        self._homes.admit(session_id, parent_session_id)

    async def check_new(self, session_id: str) -> None:
        await self._homes.check_new(session_id)

    async def drain(self, session_id: str) -> None:
        await self._homes.drain(session_id)

    async def has_waiting_usage(self, session_id: str) -> bool:
        return await self._homes.has_waiting_usage(session_id)

    def letter_of_copy(self, session_id: str, number: int, name: str, *, is_replaced: bool) -> Statement:
        return self._homes.letter_of_copy(session_id, number, name, is_replaced=is_replaced)


@dataclass
class _MeddledStore:
    parts: StoreParts
    state_store: D1StateStore


async def _record(store: CloudflareStore, session_id: str, count: int) -> None:
    entry = {"session_id": session_id, "kind": "custom", "name": "n", "value": 1, "timestamp": 1}
    await store.usage_store.record_entries([{**entry, "source": {"type": "agent", "name": "a"}} for _ in range(count)])


def _usage_of(copy: dict[str, Any]) -> tuple[int, int]:
    """Return how many entries a copy has, and how many deleted entries its kept totals count."""
    kept = [json.loads(row["amounts"])["entries"] for row in copy["stored"]["__agents_usage_by_session"]]
    return len(copy["stored"]["__agents_usage"]), sum(kept)
