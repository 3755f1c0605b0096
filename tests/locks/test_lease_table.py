"""The core of locking alone: what is written, what survives a restart, what clocks that jump do."""

from collections.abc import Callable
from typing import LiteralString

import pytest

from agents_store_cloudflare.database import Row, SqlValue
from agents_store_cloudflare.locks.lease import Grant, LeaseRequest
from agents_store_cloudflare.locks.lease_table import LeaseTable
from agents_store_cloudflare.testing import SqliteObjectSql

NOW = 1_700_000_000_000


class WatchedSql(SqliteObjectSql):
    """Records every written row, and whether a statement was run."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def exec(self, sql: LiteralString, *parameters: SqlValue) -> list[Row]:
        raise AssertionError(f"leases are texts by key; a statement was run: {sql}")

    def put_text(self, key: str, text: str) -> None:
        self.written.append(key)
        super().put_text(key, text)

    def delete_text(self, key: str) -> None:
        self.written.append(key)
        super().delete_text(key)

    def writes(self) -> list[str]:
        """Return the keys of the rows written since the last question."""
        found, self.written = self.written, []
        return found


@pytest.fixture
def sql() -> WatchedSql:
    return WatchedSql()


@pytest.fixture
def table(sql: WatchedSql) -> LeaseTable:
    return LeaseTable(sql)


def _wants(request_id: str, *, key: str = "k", ttl_ms: int = 1_000, delay_ms: int = 0) -> LeaseRequest:
    return LeaseRequest(key=key, owner="o", request_id=request_id, ttl_ms=ttl_ms, delay_ms=delay_ms)


def _granted(table: LeaseTable, request_id: str, now_ms: int, *, ttl_ms: int = 1_000) -> Grant:
    grant = table.acquire(_wants(request_id, ttl_ms=ttl_ms), now_ms=now_ms)
    assert grant is not None
    return grant


def test_each_change_writes_one_row(table: LeaseTable, sql: WatchedSql) -> None:
    """LK-18: A grant, a refresh and a release write one row each. A call that changes nothing writes nothing."""
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


def test_asking_writes_nothing(table: LeaseTable, sql: WatchedSql) -> None:
    """LK-18: Questions about a key that was never granted write nothing."""
    assert table.expires_at("k", now_ms=NOW) is None
    assert table.refresh("k", fencing_token=1, ttl_ms=5, now_ms=NOW) is None
    assert not table.release("k", fencing_token=1, now_ms=NOW)
    assert not table.abandon("k", request_id="a", now_ms=NOW)
    assert not table.is_given_back(_wants("a"))
    assert table.frees_at("k", now_ms=NOW) is None
    assert table.delete("k", now_ms=NOW)
    assert sql.writes() == []


def test_a_grant_is_stored_before_it_is_told(table: LeaseTable, sql: WatchedSql) -> None:
    """LK-3: Another instance of the object reads the granted lease, and gives a higher token after it."""
    grant = _granted(table, "a", NOW)
    restarted = LeaseTable(sql)
    assert restarted.acquire(_wants("b"), now_ms=NOW + 999) is None
    assert restarted.acquire(_wants("a"), now_ms=NOW + 999) == grant
    assert _granted(LeaseTable(sql), "b", NOW + 1_000).fencing_token > grant.fencing_token


def test_tokens_are_times_unless_those_stand_still(table: LeaseTable) -> None:
    """LK-2: A token is the time of its grant, or one more than the last if that is higher, also after a clock was set back by years."""
    tokens: list[int] = []
    for now_ms in (NOW, NOW, NOW + 10, NOW - 100_000_000_000, 1, NOW + 5):
        grant = _granted(table, f"r{len(tokens)}", now_ms)
        tokens.append(grant.fencing_token)
        table.release("k", fencing_token=grant.fencing_token, now_ms=now_ms)
    assert tokens == [NOW, NOW + 1, NOW + 10, NOW + 11, NOW + 12, NOW + 13]


@pytest.mark.parametrize("ask", ["expires_at", "refresh", "release"])
def test_an_end_that_was_told_is_final(table: LeaseTable, sql: WatchedSql, ask: str) -> None:
    """LK-4: After a caller heard that a lease ended, neither a restart nor a clock set back revives it."""
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
    """LK-19: After a clock was set back, a lease lasts at most its ttl from that moment, and its holder keeps it until then."""
    token = _granted(table, "a", NOW).fencing_token
    back = NOW - 3_600_000
    sql.writes()
    assert table.acquire(_wants("b"), now_ms=back) is None
    assert len(sql.writes()) == 1
    assert table.expires_at("k", now_ms=back + 500) == back + 1_000
    assert sql.writes() == []
    assert _granted(table, "b", back + 1_000).fencing_token == token + 1


def test_a_request_that_gave_its_lease_back_gets_no_other(table: LeaseTable) -> None:
    """LK-9: An acquire that arrives again after its release takes nothing, because nobody would use it."""
    grant = _granted(table, "a", NOW)
    assert not table.is_given_back(_wants("a"))
    assert table.release("k", fencing_token=grant.fencing_token, now_ms=NOW)
    assert table.is_given_back(_wants("a"))
    assert table.acquire(_wants("a"), now_ms=NOW) is None
    assert table.acquire(_wants("b"), now_ms=NOW) is not None


def test_a_release_is_answered_alike_after_a_takeover(table: LeaseTable) -> None:
    """LK-9: A release with a lost reply gets the same answer again, also after the key has a new holder."""
    grant = _granted(table, "a", NOW)
    assert table.release("k", fencing_token=grant.fencing_token, now_ms=NOW)
    _granted(table, "b", NOW)
    assert table.release("k", fencing_token=grant.fencing_token, now_ms=NOW)
    assert table.expires_at("k", now_ms=NOW) is not None


def test_a_request_that_is_asked_again_after_its_expiry_is_a_new_one(table: LeaseTable) -> None:
    """LK-4, LK-9: An expired grant that nobody collected is not revived. A repeated request gets a higher token."""
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


def test_a_key_stays_closed_after_an_expiry_for_its_delay(table: LeaseTable, sql: WatchedSql) -> None:
    """LK-21: Nobody gets the key before the delay ends, not even the same request, and the lease has ended meanwhile."""
    first = table.acquire(_wants("a", delay_ms=500), now_ms=NOW)
    assert first is not None
    assert table.frees_at("k", now_ms=NOW + 999) == NOW + 1_500
    assert table.acquire(_wants("b"), now_ms=NOW + 1_000) is None
    assert table.acquire(_wants("a"), now_ms=NOW + 1_499) is None
    assert table.expires_at("k", now_ms=NOW + 1_200) is None
    assert table.refresh("k", fencing_token=first.fencing_token, ttl_ms=9, now_ms=NOW + 1_200) is None
    assert table.frees_at("k", now_ms=NOW + 1_200) == NOW + 1_500
    assert len(sql.writes()) == 2
    assert _granted(table, "b", NOW + 1_500).fencing_token > first.fencing_token


@pytest.mark.parametrize("end", ["release", "late release", "abandon", "late abandon"])
def test_a_holder_that_has_stopped_closes_nothing(table: LeaseTable, end: str) -> None:
    """LK-21: A release in time causes no delay. A late release is no release, but it ends the delay."""
    grant = table.acquire(_wants("a", delay_ms=500), now_ms=NOW)
    assert grant is not None
    now_ms = NOW + (1_100 if "late" in end else 100)
    assert not table.release("k", fencing_token=grant.fencing_token - 1, now_ms=now_ms)
    assert not table.abandon("k", request_id="b", now_ms=now_ms)
    assert table.frees_at("k", now_ms=now_ms) == NOW + 1_500
    if "release" in end:
        assert table.release("k", fencing_token=grant.fencing_token, now_ms=now_ms) == (end == "release")
    else:
        assert table.abandon("k", request_id="a", now_ms=now_ms) == (end == "abandon")
    assert table.frees_at("k", now_ms=now_ms) is None
    assert table.acquire(_wants("b"), now_ms=now_ms) is not None


def test_a_clock_set_back_does_not_lengthen_a_delay(table: LeaseTable) -> None:
    """LK-19, LK-21: After a clock was set back, the delay too lasts at most its own length from that moment."""
    assert table.acquire(_wants("a", delay_ms=500), now_ms=NOW) is not None
    assert table.frees_at("k", now_ms=NOW + 1_100) == NOW + 1_500
    back = NOW - 3_600_000
    assert table.frees_at("k", now_ms=back) == back + 500
    assert table.acquire(_wants("b"), now_ms=back + 500) is not None


def test_a_forgotten_key_leaves_its_token(table: LeaseTable, sql: WatchedSql) -> None:
    """LK-2, LK-24: After a delete the tokens still rise, also after a restart and with a clock set back. A delete writes two rows."""
    grant = _granted(table, "a", NOW)
    assert not table.delete("k", now_ms=NOW)
    assert table.acquire(_wants("a"), now_ms=NOW) == grant
    assert table.release("k", fencing_token=grant.fencing_token, now_ms=NOW)
    sql.writes()
    assert table.delete("k", now_ms=NOW)
    assert len(sql.writes()) == 2
    assert table.delete("k", now_ms=NOW)
    assert sql.writes() == []
    restarted = LeaseTable(sql)
    again = restarted.acquire(_wants("b"), now_ms=NOW - 5_000)
    assert again is not None
    assert again.fencing_token == grant.fencing_token + 1


def test_a_closed_key_is_not_forgotten(table: LeaseTable) -> None:
    """LK-21, LK-24: A delete does not end a delay."""
    assert table.acquire(_wants("a", delay_ms=500), now_ms=NOW) is not None
    assert not table.delete("k", now_ms=NOW + 1_100)
    assert table.delete("k", now_ms=NOW + 1_500)


def test_idle_keys_are_forgotten_and_keep_a_floor(table: LeaseTable, sql: WatchedSql) -> None:
    """LK-2, LK-24: A clean-up forgets, page by page, the keys that were free long enough. No token is given twice."""
    highest = 0
    for number in range(25):
        grant = table.acquire(_wants("a", key=f"{number:02}é"), now_ms=NOW + number)
        assert grant is not None
        highest = max(highest, grant.fencing_token)
    later = NOW + 1_000 + 10_000
    assert table.acquire(_wants("b", key="07é"), now_ms=later) is not None
    assert table.acquire(_wants("b", key="held", ttl_ms=80_000_000), now_ms=NOW) is not None
    sql.writes()
    pages: list[int] = []
    after: str | None = ""
    while after is not None:
        page = table.clean_up(idle_ms=10_000, after=after, limit=10, now_ms=later + 12)
        pages.append(page.removed)
        after = page.next_after
    # 00 to 12 have been free for ten seconds; 07 is in use again.
    assert pages == [9, 3, 0]
    assert len(sql.writes()) == 12 + 2
    assert not LeaseTable(sql).delete("held", now_ms=later)
    again = LeaseTable(sql).acquire(_wants("c", key="00é"), now_ms=NOW)
    assert again is not None
    assert again.fencing_token > NOW + 12


def test_a_release_is_recognised_whoever_came_after_it(table: LeaseTable) -> None:
    """LK-9: A repeated release gets its first answer after other holders, and after the key was forgotten."""
    first = _granted(table, "a", NOW)
    assert table.release("k", fencing_token=first.fencing_token, now_ms=NOW)
    lost = _granted(table, "b", NOW)
    for number in range(40):
        other = _granted(table, f"c{number}", NOW + 2_000 + number)
        assert table.release("k", fencing_token=other.fencing_token, now_ms=NOW + 2_000 + number)
    for _ in range(2):
        assert table.release("k", fencing_token=first.fencing_token, now_ms=NOW + 3_000)
        assert not table.release("k", fencing_token=lost.fencing_token, now_ms=NOW + 3_000), "its lease expired"
        assert table.delete("k", now_ms=NOW + 3_000)
    live = _granted(table, "d", NOW + 3_000)
    assert table.release("k", fencing_token=first.fencing_token, now_ms=NOW + 3_000)
    assert not table.release("k", fencing_token=lost.fencing_token, now_ms=NOW + 3_000)
    assert table.release("k", fencing_token=live.fencing_token, now_ms=NOW + 3_000)


def test_what_is_remembered_of_expiries_is_bounded(table: LeaseTable, sql: WatchedSql) -> None:
    """LK-9: Only the newest expired leases are remembered. An older token gets the careful answer."""
    now_ms, tokens = NOW, list[int]()
    for number in range(200):
        tokens.append(_granted(table, f"a{number}", now_ms).fencing_token)
        now_ms += 5_000
    assert not any(table.release("k", fencing_token=token, now_ms=now_ms) for token in tokens)
    assert len(sql.get_text("lease_v1/k") or "") < 1_000
    for number in range(200):
        _granted(table, f"b{number}", now_ms)
        now_ms += 5_000
        assert table.delete("k", now_ms=now_ms)
    assert len(sql.get_text("floor_v1") or "") < 2_500
