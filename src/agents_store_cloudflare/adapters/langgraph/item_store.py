"""`D1Store`: LangGraph's long-term memory in D1."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, Op, PutOp, Result, SearchOp, TTLConfig

from agents_store_cloudflare.adapters.langgraph import item_sql, reads
from agents_store_cloudflare.adapters.langgraph.errors import StaleItemError
from agents_store_cloudflare.adapters.langgraph.items import key_text, labels_of, namespace_text, value_json
from agents_store_cloudflare.adapters.langgraph.seen_items import Expected, Name, SeenItems
from agents_store_cloudflare.adapters.langgraph.sync_calls import run_now
from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.arguments import (
    UNSET,
    FencingToken,
    check_fencing_token,
    check_flag,
    check_id,
    check_whole_number,
)
from agents_store_cloudflare.contract.errors import AgentsStoreError, InvalidArgumentError
from agents_store_cloudflare.database import Homes, OneDatabase, Row, Statement
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state.fencing import Faults, fenced_batch

__all__ = ["D1Store"]

MINUTE_MS: Final = 60_000

TOMBSTONE_MS: Final = 10 * MINUTE_MS
"""The time for which the row of a deleted item stays, so that a repeated put does not bring the item back."""

SWEPT_PER_CALL: Final = 20
SWEPT_AT_ONCE: Final = 500
MOST_ROWS: Final = 1_000_000


class D1Store(BaseStore):
    """A LangGraph store on D1, or on sqlite in tests: items that outlive threads. It has no vectors.

    The reads of a call are one batch, and its puts are one batch, which is one transaction. Reads come first, as in LangGraph's
    store in memory. `run_migration` or `setup()` makes the tables.

    Args:
        database: a D1 binding (`env.AGENT_DB`) or a `Database` (`testing.SqliteDatabase`).
        fencing_token: the lock of a thread, or its token. Every put compares it, in its own transaction, with the highest token
            that any saver or store has seen for that id.
        session_id: the id whose fence is used. The default is the key of the lock.
        item_check: refuse to put or delete an item that somebody else wrote since this store read it.
        ttl: LangGraph's settings for a time to live, in minutes: `{"default_ttl": 60, "refresh_on_read": True}`. Without it items
            stay for ever. The database's clock decides. Expired items are never returned. Every call with puts removes some
            expired rows. `sweep_ttl` removes all of them.
        search_rows: the most items that a search looks at, and the most namespaces that a list looks at.

    Example:
        >>> graph = builder.compile(checkpointer=D1Saver(env.AGENT_DB), store=D1Store(env.AGENT_DB))

    Every put may raise `StaleFencingTokenError` (a newer holder of the lock has written), `StaleItemError` (with `item_check`),
    `ForeignValueError` (JSON cannot hold the value, or it is too large) and `D1StateError` (the database failed). Then nothing was
    written.
    """

    def __init__(
        self,
        database: object,
        *,
        fencing_token: FencingToken = UNSET,
        session_id: str | None = None,
        item_check: bool = False,
        ttl: TTLConfig | None = None,
        search_rows: int = 2_000,
    ) -> None:
        if isinstance(database, Homes):
            raise InvalidArgumentError("items belong to no session: give D1Store the D1 binding, not the homes")
        self._database = database
        self._homes: Homes = OneDatabase(as_database(database))
        self._token: int | None = check_fencing_token(fencing_token)
        self._session_id: str = _fence_of(fencing_token, session_id)
        self._seen: SeenItems | None = SeenItems() if check_flag(item_check, "item_check") else None
        self._rows: int = check_whole_number(search_rows, "search_rows", low=1, high=MOST_ROWS)
        self.supports_ttl: bool = ttl is not None
        self.ttl_config: TTLConfig | None = ttl
        _ttl_ms((ttl or {}).get("default_ttl"))

    async def setup(self) -> None:
        """Make the tables, as `run_migration` does. You may call it again.

        Raises:
            MigrationError: the database is newer than this code.

        Cost: 1 D1 batch (1 row read).
        """
        await run_migration(self._database)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations: the reads in one batch, then the puts in one batch. If an item has several puts, the last one counts.

        Reads never see the puts of their own call, even if a reply was lost. Everything is checked before anything is sent.

        Returns:
            The answer of each operation, in their order; None for a put.

        Raises:
            WideSearchError: a search looked at `search_rows` items and is not complete.
            ForeignValueError: JSON cannot hold a value, or another program wrote a row.
            InvalidArgumentError: an argument breaks a rule. InvalidNamespaceError: a namespace breaks a rule.
            StaleFencingTokenError, StaleItemError: somebody else has written.

        Cost: 1 D1 batch (2-6 rows read, 0-2 written).
        """
        asked = list(ops)
        found = [*self._reads(asked)]
        puts = self._puts(asked)
        answers: dict[int, Any] = await self._read(found) if found else {}
        if puts:
            await self._write(puts)
        return [answers.get(place) for place in range(len(asked))]

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Call `abatch` from synchronous code. It does not work in a Worker."""
        return run_now(self.abatch(ops), "batch")

    async def sweep_ttl(self) -> int:
        """Remove the rows of all expired and deleted items, 500 in each batch. Return their number.

        Raises:
            D1StateError: the database failed. Rows that were removed before stay removed.

        Cost: 1 D1 batch (4 rows read).
        """
        count = 0
        while True:
            [rows] = await self._send("sweep_ttl", [Statement(item_sql.SWEEP, (SWEPT_AT_ONCE,))])
            count += len(rows)
            if len(rows) < SWEPT_AT_ONCE:
                return count

    def _reads(self, asked: Sequence[Op]) -> Iterable[reads.Read]:
        keeps = self.ttl_config is not None
        if items := {place: op for place, op in enumerate(asked) if isinstance(op, GetOp)}:
            yield reads.gets(items, keeps=keeps, seen=self._seen)
        for place, op in enumerate(asked):
            if isinstance(op, SearchOp):
                yield reads.search(place, op, self._rows, keeps=keeps, seen=self._seen)
            elif isinstance(op, ListNamespacesOp):
                yield reads.namespaces(place, op, self._rows)
            elif not isinstance(cast("object", op), GetOp | PutOp):
                raise InvalidArgumentError(f"D1Store has no operation {type(op).__name__}")

    def _puts(self, asked: Sequence[Op]) -> dict[Name, tuple[str | None, int | None]]:
        """Return the value as JSON, or None, and the time to live of each item to put. The last put of an item counts."""
        puts = dict[Name, tuple[str | None, int | None]]()
        for op in asked:
            if not isinstance(op, PutOp):
                continue
            namespace = namespace_text(op.namespace, empty=False)
            key = key_text(op.key)
            ttl_ms = _ttl_ms(op.ttl)
            if ttl_ms is not None and self.ttl_config is None:
                raise InvalidArgumentError("this store has no time to live: make it with ttl={}")
            name = f"item {key!r} of {tuple(op.namespace)!r}"
            puts[namespace, key] = (None, None) if op.value is None else (value_json(op.value, name), ttl_ms)
        return puts

    async def _read(self, found: Sequence[reads.Read]) -> dict[int, Any]:
        results = await self._send("abatch", [statement for read in found for statement in read.statements])
        answers, start = dict[int, Any](), 0
        for read in found:
            end = start + len(read.statements)
            answers |= read.answers(results[start:end])
            start = end
        return answers

    async def _write(self, puts: dict[Name, tuple[str | None, int | None]]) -> None:
        write_id = secrets.token_urlsafe(item_sql.REVISION * 3 // 4)
        expected: list[Expected] = self._seen.expected(puts) if self._seen is not None else []
        guard = [Statement(item_sql.GUARD_ITEMS, (json.dumps(expected), write_id))] if expected else []
        statements = [_put(name, value, ttl_ms, write_id) for name, (value, ttl_ms) in puts.items()]
        sweep = Statement(item_sql.SWEEP, (max(SWEPT_PER_CALL, 2 * len(puts)),))
        faults: Faults = {"item": lambda facts: _stale(expected[cast("int", facts["place"])])}
        with self._noted({name: "" if value is None else write_id for name, (value, _) in puts.items()}):
            await fenced_batch(
                self._homes, "abatch", self._session_id, [*guard, *statements, sweep], token=self._token, faults=faults
            )

    @contextmanager
    def _noted(self, writes: Mapping[Name, str]) -> Generator[None]:
        """Note that this store writes these items, and whether they were stored. After a lost reply the outcome is unknown."""
        if self._seen is None:
            yield
            return
        self._seen.begin(writes)
        try:
            yield
        except AgentsStoreError as error:
            if not error.outcome_unknown:
                self._seen.end(writes, is_stored=False)
            raise
        self._seen.end(writes, is_stored=True)

    async def _send(self, operation: str, statements: Sequence[Statement]) -> list[list[Row]]:
        return await fenced_batch(self._homes, operation, self._session_id, statements)


def _put(name: Name, value: str | None, ttl_ms: int | None, write_id: str) -> Statement:
    lasts_ms = TOMBSTONE_MS if value is None else ttl_ms
    return Statement(item_sql.PUT, (*name, value, lasts_ms, ttl_ms, write_id))


def _stale(expected: Expected) -> StaleItemError:
    namespace, key, _ = expected
    return StaleItemError(list(labels_of(namespace)), key)


def _fence_of(token: FencingToken, session_id: str | None) -> str:
    if session_id is not None:
        return check_id(session_id, "session_id")
    if token is UNSET:
        return "*"
    key = getattr(token, "key", None)
    if key is None and cast("object", token) is not None:
        raise InvalidArgumentError("a fencing token belongs to a lock's key: give session_id too, or the lock itself")
    return check_id(key, "session_id")


def _ttl_ms(minutes: float | None) -> int | None:
    if minutes is None:
        return None
    if isinstance(minutes, bool) or not isinstance(cast("object", minutes), int | float):
        raise TypeError(f"ttl must be a number of minutes, not {type(minutes).__name__}")
    if not (math.isfinite(minutes) and 0 < minutes <= 1e9):
        raise InvalidArgumentError(f"ttl is a number of minutes above zero, not {minutes!r}")
    return math.ceil(minutes * MINUTE_MS)
