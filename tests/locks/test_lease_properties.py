"""`LeaseTable` against a model: any order of calls, repetitions and restarts, under a clock that jumps both ways."""

from dataclasses import dataclass, field

from hypothesis import settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from agents_store_cloudflare.locks.lease import LeaseRequest
from agents_store_cloudflare.locks.lease_table import LeaseTable
from agents_store_cloudflare.testing import SqliteObjectSql
from tests.lengths import length

KEYS = st.sampled_from(["k", "l"])
TTLS = st.integers(1, 1_000)
DELAYS = st.sampled_from([0, 0, 100, 700])


@dataclass
class Key:
    """The facts that callers were told about one key."""

    tokens: list[int] = field(default_factory=list[int])
    request_ids: dict[str, int] = field(default_factory=dict[str, int])
    over: set[int] = field(default_factory=set[int])
    released: set[int] = field(default_factory=set[int])
    told_until: int = 0
    ttl_ms: int = 0
    delay_ms: int = 0
    opens_at: int = 0
    is_known: bool = False

    def last(self) -> int:
        return self.tokens[-1] if self.tokens else 0


class LeaseMachine(RuleBasedStateMachine):
    """The guarantees. Each is checked when the table gives an answer."""

    requests: Bundle[LeaseRequest] = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.sql = SqliteObjectSql()
        self.table = LeaseTable(self.sql)
        self.now_ms = 1_700_000_000_000
        self.keys = {"k": Key(), "l": Key()}
        self.floor = 0
        self.count = 0

    def teardown(self) -> None:
        self.sql.close()

    def is_live(self, key: Key) -> bool:
        """Return whether the lease counts as held: granted or refreshed, before its end, and not reported as ended."""
        return bool(key.tokens) and key.last() not in key.over and self.now_ms < key.told_until

    def look(self, key: Key) -> bool:
        """Return the state that a call on the key must find. It holds from then on."""
        if self.is_live(key):
            key.told_until = min(key.told_until, self.now_ms + key.ttl_ms)
            return True
        if key.is_known:
            if key.last() not in key.over:
                key.opens_at = key.told_until + key.delay_ms
            key.opens_at = min(key.opens_at, self.now_ms + key.delay_ms)
            if key.opens_at <= self.now_ms:
                key.opens_at = 0
            key.over.add(key.last())
        return False

    def frees_at(self, key: Key) -> int | None:
        """Return the time at which the key becomes free; None means now."""
        if self.look(key):
            return key.told_until + key.delay_ms
        return key.opens_at or None

    def ends(self, key: Key) -> None:
        key.over.add(key.last())
        key.opens_at = 0

    def is_forgotten(self, key: Key) -> None:
        key.is_known = False
        key.request_ids.clear()
        key.opens_at = 0
        self.floor = max(self.floor, key.last())

    @rule(milliseconds=st.integers(0, 1_500))
    def time_passes(self, milliseconds: int) -> None:
        self.now_ms += milliseconds

    @rule(milliseconds=st.integers(-5_000, 5_000))
    def clock_jumps(self, milliseconds: int) -> None:
        self.now_ms += milliseconds

    @rule()
    def object_restarts(self) -> None:
        self.table = LeaseTable(self.sql)

    @rule(target=requests, key=KEYS, ttl_ms=TTLS, delay_ms=DELAYS)
    def somebody_asks(self, key: str, ttl_ms: int, delay_ms: int) -> LeaseRequest:
        self.count += 1
        request = LeaseRequest(key=key, owner="o", request_id=f"r{self.count}", ttl_ms=ttl_ms, delay_ms=delay_ms)
        self.acquire(request)
        return request

    @rule(request=requests)
    def the_same_asks_again(self, request: LeaseRequest) -> None:
        self.acquire(request)

    @rule(request=consumes(requests))
    def a_caller_goes_away(self, request: LeaseRequest) -> None:
        key = self.keys[request.key]
        is_last = key.request_ids.get(request.request_id) == key.last() and key.is_known
        holds = self.look(key) and is_last
        assert self.table.abandon(request.key, request_id=request.request_id, now_ms=self.now_ms) == holds
        if is_last:
            self.ends(key)
        if holds:
            key.released.add(key.last())

    def acquire(self, request: LeaseRequest) -> None:
        key = self.keys[request.key]
        mine = key.request_ids.get(request.request_id)
        is_live = self.is_live(key)
        grant = self.table.acquire(request, now_ms=self.now_ms)
        if is_live:
            self.look(key)
            assert (grant.fencing_token if grant else None) == (mine if mine == key.last() else None)
            assert grant is None or grant.expires_at == key.told_until
            return
        if self.frees_at(key) is not None:
            assert grant is None, "a closed key was granted"
            return
        if mine is not None and mine == key.last() and mine in key.released:
            assert grant is None
            # It was only looked at: nothing was written down.
            return
        assert grant is not None, "a free key was refused"
        last = key.last() if key.is_known else self.floor
        assert grant.fencing_token == max(last + 1, self.now_ms)
        key.is_known, key.delay_ms, key.opens_at = True, request.delay_ms, 0
        assert grant.expires_at == self.now_ms + request.ttl_ms
        key.over.update(key.tokens)
        key.tokens.append(grant.fencing_token)
        key.request_ids[request.request_id] = grant.fencing_token
        key.told_until, key.ttl_ms = grant.expires_at, request.ttl_ms

    @rule(name=KEYS, which=st.integers(0, 3), ttl_ms=TTLS)
    def refresh(self, name: str, which: int, ttl_ms: int) -> None:
        key = self.keys[name]
        token = ([0, *key.tokens])[-1 - min(which, len(key.tokens))]
        holds = self.look(key) and token == key.last()
        expires_at = self.table.refresh(name, fencing_token=token, ttl_ms=ttl_ms, now_ms=self.now_ms)
        assert expires_at == (self.now_ms + ttl_ms if holds else None)
        if holds:
            key.told_until, key.ttl_ms = self.now_ms + ttl_ms, ttl_ms

    @rule(name=KEYS, which=st.integers(0, 3))
    def release(self, name: str, which: int) -> None:
        key = self.keys[name]
        token = ([0, *key.tokens])[-1 - min(which, len(key.tokens))]
        holds = self.look(key) and token == key.last()
        is_repetition = token in key.released
        assert self.table.release(name, fencing_token=token, now_ms=self.now_ms) == (holds or is_repetition)
        if token == key.last() and key.is_known:
            self.ends(key)
        if holds:
            key.released.add(token)

    @rule(name=KEYS)
    def delete(self, name: str) -> None:
        key = self.keys[name]
        is_free = self.frees_at(key) is None
        assert self.table.delete(name, now_ms=self.now_ms) == is_free
        if is_free and key.is_known:
            self.is_forgotten(key)

    @rule(idle_ms=st.integers(0, 2_000), limit=st.integers(1, 3))
    def clean_up(self, idle_ms: int, limit: int) -> None:
        after: str | None = ""
        removed = 0
        while after is not None:
            page = self.table.clean_up(idle_ms=idle_ms, after=after, limit=limit, now_ms=self.now_ms)
            removed, after = removed + page.removed, page.next_after
        for name, key in self.keys.items():
            if key.is_known and self.sql.get_text(f"lease_v1/{name}") is None:
                assert not self.is_live(key), "a live lease was forgotten"
                assert self.frees_at(key) is None, "a closed key was forgotten"
                self.is_forgotten(key)
                removed -= 1
        assert removed == 0

    @rule(name=KEYS)
    def ask(self, name: str) -> None:
        key = self.keys[name]
        assert self.table.frees_at(name, now_ms=self.now_ms) == self.frees_at(key)

    @rule(name=KEYS)
    def ask_for_its_end(self, name: str) -> None:
        key = self.keys[name]
        expected = key.told_until if self.look(key) else None
        # A clock set back shortens what was told, and the answer says so.
        assert self.table.expires_at(name, now_ms=self.now_ms) == (key.told_until if expected is not None else None)

    @invariant()
    def tokens_rise(self) -> None:
        for key in self.keys.values():
            assert key.tokens == sorted(set(key.tokens))


def test_any_history_keeps_the_promises() -> None:
    """LK-1, LK-2, LK-4, LK-5, LK-9, LK-19, LK-21, LK-24: No order of calls, repetitions, restarts and clock jumps breaks a guarantee."""
    steps = settings(max_examples=length(60, 2_000), stateful_step_count=length(40, 100), deadline=None)
    run_state_machine_as_test(LeaseMachine, settings=steps)
