"""The core of locking alone: what is written, what survives a restart, what clocks that jump do."""

from collections.abc import Callable
from typing import LiteralString

import pytest

from agents_store_cloudflare.database import Row, SqlValue
from agents_store_cloudflare.locks import sql as q
from agents_store_cloudflare.locks.lease_table import Grant, LeaseRequest, LeaseTable
from agents_store_cloudflare.testing import SqliteObjectSql

NOW = 1_700_000_000_000


class WatchedSql(SqliteObjectSql):
    """Knows every statement that it ran."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[str] = []

    def exec(self, sql: LiteralString, *parameters: SqlValue) -> list[Row]:
        self.ran.append(sql)
        return super().exec(sql, *parameters)

    def writes(self) -> list[str]:
        found = [sql for sql in self.ran if sql not in (q.SELECT_LEASE, q.CREATE_LEASES)]
        self.ran.clear()
        return found


@pytest.fixture
def sql() -> WatchedSql:
    return WatchedSql()


@pytest.fixture
def table(sql: WatchedSql) -> LeaseTable:
    return LeaseTable(sql)


def _wants(request_id: str, *, key: str = "k", ttl_ms: int = 1_000) -> LeaseRequest:
    return LeaseRequest(key=key, owner="o", request_id=request_id, ttl_ms=ttl_ms)


def _granted(table: LeaseTable, request_id: str, now_ms: int, *, ttl_ms: int = 1_000) -> Grant:
    grant = table.acquire(_wants(request_id, ttl_ms=ttl_ms), now_ms=now_ms)
    assert grant is not None
    return grant


def test_each_change_writes_one_row(table: LeaseTable, sql: WatchedSql) -> None:
    """LK-18: a grant, a refresh and a release are one written row each, and what changes nothing writes nothing."""
    grant = _granted(table, "a", NOW)
    assert len(sql.writes()) == 1
    assert table.acquire(_wants("b"), now_ms=NOW) is None
    assert table.acquire(_wants("a"), now_ms=NOW) == grant
    assert table.refresh("k", fencing_token=1, ttl_ms=5, now_ms=NOW) is None
    assert table.expires_at("k", now_ms=NOW) == NOW + 1_000
    assert not table.release("k", fencing_token=1, now_ms=NOW)
    assert sql.writes() == []
    assert table.refresh("k", fencing_token=grant.fencing_token, ttl_ms=5, now_ms=NOW) == NOW + 5
    assert len(sql.writes()) == 1
    assert table.release("k", fencing_token=grant.fencing_token, now_ms=NOW)
    assert len(sql.writes()) == 1
    assert table.release("k", fencing_token=grant.fencing_token, now_ms=NOW)
    assert sql.writes() == []


def test_asking_makes_no_table(table: LeaseTable, sql: WatchedSql) -> None:
    """LK-18: whatever is asked about a key that was never granted, nothing is written, not even a table."""
    assert table.expires_at("k", now_ms=NOW) is None
    assert table.refresh("k", fencing_token=1, ttl_ms=5, now_ms=NOW) is None
    assert not table.release("k", fencing_token=1, now_ms=NOW)
    assert not table.abandon("k", request_id="a", now_ms=NOW)
    assert not table.is_given_back(_wants("a"))
    assert set(sql.ran) == {q.SELECT_LEASE}
    assert sql.exec("SELECT count(*) FROM sqlite_master") == [[0]]


def test_a_grant_is_stored_before_it_is_told(table: LeaseTable, sql: WatchedSql) -> None:
    """LK-3: what another instance of the object reads is what was granted: the same lease, and a higher token after it."""
    grant = _granted(table, "a", NOW)
    restarted = LeaseTable(sql)
    assert restarted.acquire(_wants("b"), now_ms=NOW + 999) is None
    assert restarted.acquire(_wants("a"), now_ms=NOW + 999) == grant
    assert _granted(LeaseTable(sql), "b", NOW + 1_000).fencing_token > grant.fencing_token


def test_tokens_are_times_unless_those_stand_still(table: LeaseTable) -> None:
    """LK-2: a token is the time of its grant, or one more than the last where that is higher, also with a clock set back by years."""
    tokens: list[int] = []
    for now_ms in (NOW, NOW, NOW + 10, NOW - 100_000_000_000, 1, NOW + 5):
        grant = _granted(table, f"r{len(tokens)}", now_ms)
        tokens.append(grant.fencing_token)
        table.release("k", fencing_token=grant.fencing_token, now_ms=now_ms)
    assert tokens == [NOW, NOW + 1, NOW + 10, NOW + 11, NOW + 12, NOW + 13]


@pytest.mark.parametrize("ask", ["expires_at", "refresh", "release"])
def test_an_end_that_was_told_is_final(table: LeaseTable, sql: WatchedSql, ask: str) -> None:
    """LK-4: who was told that a lease is over was told for good: neither a restart nor a clock set back brings it back."""
    token = _granted(table, "a", NOW).fencing_token
    later = NOW + 1_000
    answers: dict[str, Callable[[], object]] = {
        "expires_at": lambda: table.expires_at("k", now_ms=later),
        "refresh": lambda: table.refresh("k", fencing_token=token, ttl_ms=9, now_ms=later),
        "release": lambda: table.release("k", fencing_token=token, now_ms=later),
    }
    assert not answers[ask]()
    restarted = LeaseTable(sql)
    assert restarted.expires_at("k", now_ms=NOW) is None
    assert restarted.refresh("k", fencing_token=token, ttl_ms=9, now_ms=NOW) is None
    assert not restarted.release("k", fencing_token=token, now_ms=NOW)


def test_a_clock_set_back_does_not_hold_a_key_for_hours(table: LeaseTable, sql: WatchedSql) -> None:
    """LK-19: after a clock was set back a lease lasts for its ttl at most, from when that is seen; the holder keeps it till then."""
    token = _granted(table, "a", NOW).fencing_token
    back = NOW - 3_600_000
    sql.writes()
    assert table.acquire(_wants("b"), now_ms=back) is None
    assert sql.writes() == [q.UPDATE_EXPIRY]
    assert table.expires_at("k", now_ms=back + 500) == back + 1_000
    assert sql.writes() == []
    assert _granted(table, "b", back + 1_000).fencing_token == token + 1


def test_a_request_that_gave_its_lease_back_gets_no_other(table: LeaseTable) -> None:
    """LK-9: an acquire that arrives again after its lease was released takes nothing: nobody would use it."""
    grant = _granted(table, "a", NOW)
    assert not table.is_given_back(_wants("a"))
    assert table.release("k", fencing_token=grant.fencing_token, now_ms=NOW)
    assert table.is_given_back(_wants("a"))
    assert table.acquire(_wants("a"), now_ms=NOW) is None
    assert table.acquire(_wants("b"), now_ms=NOW) is not None


def test_a_release_is_answered_alike_after_a_takeover(table: LeaseTable) -> None:
    """LK-9: a release whose reply was lost gets its answer again also when the key has gone to the next one."""
    grant = _granted(table, "a", NOW)
    assert table.release("k", fencing_token=grant.fencing_token, now_ms=NOW)
    _granted(table, "b", NOW)
    assert table.release("k", fencing_token=grant.fencing_token, now_ms=NOW)
    assert table.expires_at("k", now_ms=NOW) is not None


def test_a_request_that_is_asked_again_after_its_expiry_is_a_new_one(table: LeaseTable) -> None:
    """LK-4, LK-9: a grant that nobody collected and that has expired is not revived; asking again gives a higher token."""
    first = _granted(table, "a", NOW)
    assert _granted(table, "a", NOW + 1_000).fencing_token > first.fencing_token


def test_an_abandoned_request_gives_its_lease_back(table: LeaseTable) -> None:
    """LK-12: only the request that holds the lease can abandon it."""
    _granted(table, "a", NOW)
    assert not table.abandon("k", request_id="b", now_ms=NOW)
    assert table.abandon("k", request_id="a", now_ms=NOW)
    assert not table.abandon("k", request_id="a", now_ms=NOW)
    assert table.expires_at("k", now_ms=NOW) is None


def test_many_keys_share_a_table(table: LeaseTable) -> None:
    """LK-1: keys in one table hold, expire and count on their own."""
    assert table.acquire(_wants("a", key="k"), now_ms=NOW) is not None
    assert table.acquire(_wants("a", key="l"), now_ms=NOW) is not None
    assert table.acquire(_wants("b", key="l"), now_ms=NOW) is None
    assert table.expires_at("m", now_ms=NOW) is None


def test_every_statement_goes_by_its_key(table: LeaseTable, sql: WatchedSql) -> None:
    """LK-18: no statement reads more than the row of its key."""
    _granted(table, "a", NOW)
    statements: tuple[tuple[LiteralString, int], ...] = (
        (q.SELECT_LEASE, 1),
        (q.UPSERT_LEASE, 6),
        (q.UPDATE_EXPIRY, 3),
        (q.UPDATE_RELEASED, 1),
    )
    explain: LiteralString = "EXPLAIN QUERY PLAN "
    for statement, parameters in statements:
        plan = sql.exec(explain + statement, *[None] * parameters)
        assert [row for row in plan if str(row[3]).startswith("SCAN")] == []
