"""`LeaseTable` against a model: any order of calls, repetitions and restarts, under a clock that jumps both ways."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from agents_store_cloudflare.locks.lease_table import LeaseRequest, LeaseTable
from agents_store_cloudflare.testing import SqliteObjectSql
from tests.lengths import length

KEYS = st.sampled_from(["k", "l"])
TTLS = st.integers(1, 1_000)


@dataclass
class Key:
    """What the world was told about one key."""

    tokens: list[int] = field(default_factory=list[int])
    request_ids: dict[str, int] = field(default_factory=dict[str, int])
    over: set[int] = field(default_factory=set[int])
    released: set[int] = field(default_factory=set[int])
    told_until: int = 0
    ttl_ms: int = 0

    def last(self) -> int:
        return self.tokens[-1] if self.tokens else 0


class LeaseMachine(RuleBasedStateMachine):
    """The promises, each checked when it is spoken."""

    requests: Bundle[LeaseRequest] = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.sql = SqliteObjectSql()
        self.table = LeaseTable(self.sql)
        self.now_ms = 1_700_000_000_000
        self.keys = {"k": Key(), "l": Key()}
        self.count = 0

    def teardown(self) -> None:
        self.sql.close()

    def is_live(self, key: Key) -> bool:
        """By what was told: granted or refreshed, not yet at its end, not told to be over."""
        return bool(key.tokens) and key.last() not in key.over and self.now_ms < key.told_until

    def look(self, key: Key) -> bool:
        """What a call that looks at the key must find, and from then on stands."""
        if self.is_live(key):
            key.told_until = min(key.told_until, self.now_ms + key.ttl_ms)
            return True
        if key.tokens:
            key.over.add(key.last())
        return False

    @rule(milliseconds=st.integers(0, 1_500))
    def time_passes(self, milliseconds: int) -> None:
        self.now_ms += milliseconds

    @rule(milliseconds=st.integers(-5_000, 5_000))
    def clock_jumps(self, milliseconds: int) -> None:
        self.now_ms += milliseconds

    @rule()
    def object_restarts(self) -> None:
        self.table = LeaseTable(self.sql)

    @rule(target=requests, key=KEYS, ttl_ms=TTLS)
    def somebody_asks(self, key: str, ttl_ms: int) -> LeaseRequest:
        self.count += 1
        request = LeaseRequest(key=key, owner="o", request_id=f"r{self.count}", ttl_ms=ttl_ms)
        self.acquire(request)
        return request

    @rule(request=requests)
    def the_same_asks_again(self, request: LeaseRequest) -> None:
        self.acquire(request)

    @rule(request=consumes(requests))
    def a_caller_goes_away(self, request: LeaseRequest) -> None:
        key = self.keys[request.key]
        holds = self.look(key) and key.request_ids.get(request.request_id) == key.last()
        assert self.table.abandon(request.key, request_id=request.request_id, now_ms=self.now_ms) == holds
        if holds:
            key.over.add(key.last())
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
        if mine is not None and mine == key.last() and mine in key.released:
            assert grant is None
            return
        assert grant is not None, "a free key was refused"
        assert grant.fencing_token == max(key.last() + 1, self.now_ms)
        assert grant.expires_at == self.now_ms + request.ttl_ms
        key.over.update(key.tokens)
        key.tokens.append(grant.fencing_token)
        key.request_ids[request.request_id] = grant.fencing_token
        key.told_until, key.ttl_ms = grant.expires_at, request.ttl_ms

    @rule(name=KEYS, which=st.integers(0, 3), ttl_ms=TTLS)
    def refresh(self, name: str, which: int, ttl_ms: int) -> None:
        key = self.keys[name]
        token = ([1, *key.tokens])[-1 - min(which, len(key.tokens))]
        holds = self.look(key) and token == key.last()
        expires_at = self.table.refresh(name, fencing_token=token, ttl_ms=ttl_ms, now_ms=self.now_ms)
        assert expires_at == (self.now_ms + ttl_ms if holds else None)
        if holds:
            key.told_until, key.ttl_ms = self.now_ms + ttl_ms, ttl_ms

    @rule(name=KEYS, which=st.integers(0, 3))
    def release(self, name: str, which: int) -> None:
        key = self.keys[name]
        token = ([1, *key.tokens])[-1 - min(which, len(key.tokens))]
        holds = self.look(key) and token == key.last()
        is_repetition = bool(key.released) and token == max(key.released)
        assert self.table.release(name, fencing_token=token, now_ms=self.now_ms) == (holds or is_repetition)
        if holds:
            key.over.add(token)
            key.released.add(token)

    @rule(name=KEYS)
    def ask(self, name: str) -> None:
        key = self.keys[name]
        expected = key.told_until if self.look(key) else None
        # A clock set back shortens what was told, and the answer says so.
        assert self.table.expires_at(name, now_ms=self.now_ms) == (key.told_until if expected is not None else None)

    @invariant()
    def tokens_rise(self) -> None:
        for key in self.keys.values():
            assert key.tokens == sorted(set(key.tokens))


def test_any_history_keeps_the_promises() -> None:
    """LK-1, LK-2, LK-4, LK-5, LK-9, LK-19: no order of calls, repetitions, restarts and clock jumps breaks one."""
    steps = settings(max_examples=length(60, 2_000), stateful_step_count=length(40, 100), deadline=None)
    run_state_machine_as_test(LeaseMachine, settings=steps)
