"""The core of the subscription index: who is woken, who holds the lease, how far each one has come. Synchronous, on SQLite.

```text
            something new          claimed, or delivered
   idle ───────────────▶ waking ───────────────────────▶ held
    ▲                      │  ▲ ▼ delivery failed: again    │
    │                      │  later, backing off            │
    └──────────────────────┴────────────────────────────────┘
              done, released, or the lease ran out
```

Each wake has a generation and an id; whatever speaks for another one is fenced.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Final, Literal, TypeVar, cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue
from agents_store_cloudflare.database import ObjectSql, SqlError
from agents_store_cloudflare.durable_streams.offsets import Offset, offset_of, parse_offset
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.subscriptions import sql as q
from agents_store_cloudflare.durable_streams.subscriptions.config import SubscriptionConfig
from agents_store_cloudflare.durable_streams.subscriptions.globs import matches
from agents_store_cloudflare.durable_streams.subscriptions.tokens import sign_wake, signs_wake

__all__ = ["DELIVERY_MS", "Link", "Subscription", "SubscriptionTable", "WakeState"]

T = TypeVar("T")

GLOB: Final = 1
EXPLICIT: Final = 2
MAX_SUBSCRIPTIONS: Final = 1_000
DELIVERY_MS: Final = 20_000
"""What a delivery may take before it counts as failed, also where the object that sent it is no more."""

FIRST_PAUSE_MS: Final = 1_000
LONGEST_PAUSE_MS: Final = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeState:
    """Where a subscription stands.

    Attributes:
        due_ms: when something happens by itself: the lease runs out, a delivery is tried again.
        holder: the worker that claimed it.
        attempts: deliveries of this wake that failed.
        root_url: the streams' root, as the subscriber reached it.
    """

    phase: Literal["idle", "waking", "held"] = "idle"
    generation: int = 0
    wake_id: str = ""
    due_ms: int | None = None
    holder: str | None = None
    attempts: int = 0
    created_ms: int = 0
    root_url: str = ""
    allow_loopback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One of them."""

    id: str
    config: SubscriptionConfig
    state: WakeState


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How far a subscription has come in a stream."""

    path: str
    kinds: int
    acked: int
    tail: int

    def to_json(self) -> JsonObject:
        """As the protocol writes it in a subscription."""
        kind = "explicit" if self.kinds & EXPLICIT else "glob"
        return {"path": self.path, "link_type": kind, "acked_offset": offset_of(self.acked)}

    def to_wake_json(self) -> JsonObject:
        """As the protocol writes it in a wake."""
        return {**self.to_json(), "tail_offset": offset_of(self.tail), "has_pending": self.tail > self.acked}


class SubscriptionTable:
    """All subscriptions of one namespace. Every call happens whole or not at all; what is due (`expire`) comes first."""

    def __init__(self, sql: ObjectSql) -> None:
        self._sql = sql
        self._loaded: dict[str, Subscription] | None = None

    def is_there(self) -> bool:
        """Whether there ever was a subscription."""
        try:
            self._sql.exec(q.SELECT_SETTING, "secret")
        except SqlError as error:
            if error.is_missing_table():
                return False
            raise
        return True

    def existing(self, subscription_id: str) -> Subscription:
        """The subscription.

        Raises:
            Refusal: 404.
        """
        found = self._all().get(subscription_id)
        if found is None:
            raise Refusal(404, "SUBSCRIPTION_NOT_FOUND", "there is no such subscription")
        return found

    def put(self, subscription_id: str, config: SubscriptionConfig, tails: dict[str, int], state: WakeState) -> bool:
        """Make it, with its streams as they stand now (`tails` of the explicit ones); False where it is there alike.

        Raises:
            Refusal: 409, it is there with another configuration, or there are too many.
        """
        present = self._all().get(subscription_id)
        if present is not None:
            if present.config.hash() == config.hash():
                return False
            raise Refusal(409, "SUBSCRIPTION_EXISTS", "there is a subscription of this id with another configuration")
        if len(self._all()) >= MAX_SUBSCRIPTIONS:
            raise Refusal(409, "TOO_MANY_SUBSCRIPTIONS", f"there are {MAX_SUBSCRIPTIONS:,} subscriptions")

        def write() -> None:
            self._store(Subscription(id=subscription_id, config=config, state=state))
            self._backfill(subscription_id, config.pattern)
            self.link(subscription_id, tails)

        self._changed(write)
        return True

    def delete(self, subscription_id: str) -> None:
        """Take it away; a second time does nothing."""

        def write() -> None:
            self._sql.exec(q.DELETE_LINKS, subscription_id)
            self._sql.exec(q.DELETE_SUBSCRIPTION, subscription_id)
            self._all().pop(subscription_id, None)

        if subscription_id in self._all():
            self._changed(write)

    def links(self, subscription_id: str) -> list[Link]:
        """Its streams, by path."""
        rows = cast("list[tuple[str, int, int, int]]", self._sql.exec(q.SELECT_LINKS, subscription_id))
        return [Link(path=path, kinds=kinds, acked=acked, tail=tail) for path, kinds, acked, tail in rows]

    def link(self, subscription_id: str, tails: dict[str, int]) -> None:
        """Add streams by name, as they stand now; those that are linked keep their place."""
        present = {link.path: link for link in self.links(subscription_id)}
        for path, tail in tails.items():
            self._sql.exec(q.UPSERT_STREAM, path, tail)
            known = present.get(path)
            kinds, acked = (EXPLICIT, tail) if known is None else (known.kinds | EXPLICIT, known.acked)
            self._sql.exec(q.UPSERT_LINK, subscription_id, path, kinds, acked)

    def unlink(self, subscription_id: str, path: str) -> None:
        """Take away a stream's explicit link; that by the pattern stays."""
        for link in self.links(subscription_id):
            if link.path == path and link.kinds == EXPLICIT:
                self._sql.exec(q.DELETE_LINK, subscription_id, path)
            elif link.path == path and link.kinds & EXPLICIT:
                self._sql.exec(q.UPSERT_LINK, subscription_id, path, GLOB, link.acked)

    def appended(self, path: str, tail: int, *, is_new: bool, now_ms: int) -> list[Subscription]:
        """A stream has grown to `tail`, or was made: those that have to be woken for it, which are waking now."""

        def write() -> list[Subscription]:
            rows = cast("list[list[int]]", self._sql.exec(q.SELECT_TAIL, path))
            before = rows[0][0] if rows else 0 if is_new else max(tail - 1, 0)
            self._sql.exec(q.UPSERT_STREAM, path, tail)
            touched = [each for each in self._all().values() if self._covers(each, path, before)]
            return [self._wake(each, now_ms) for each in touched if self._is_due(each)]

        return self._changed(write)

    def gone(self, path: str) -> None:
        """A stream was deleted."""
        self._sql.exec(q.DELETE_STREAM, path)

    def claim(self, subscription_id: str, worker: str, now_ms: int) -> tuple[Subscription, str]:
        """Hold the lease of a pull-wake subscription, and the token to act with.

        Raises:
            Refusal: 404; 400, it is woken by webhook; 409, another one holds it, or there is nothing to do.
        """
        found = self.existing(subscription_id)
        if found.config.type != "pull-wake":
            raise Refusal(400, "NOT_PULL_WAKE", "this subscription is woken by webhook")
        if found.state.phase == "held":
            holder: JsonObject = {"current_holder": found.state.holder, "generation": found.state.generation}
            raise Refusal(409, "ALREADY_CLAIMED", "another worker holds this subscription", details=holder)
        if found.state.phase == "idle":
            if not self._is_due(found):
                raise Refusal(409, "NO_PENDING_WORK", "there is nothing to do")
            found = self._wake(found, now_ms)
        held = self._hold(found, now_ms, holder=worker)
        return held, sign_wake(self._secret(), subscription_id, held.state.generation, held.state.wake_id)

    def acknowledge(
        self, subscription_id: str, token: str, wake: dict[str, JsonValue], now_ms: int, *, is_release: bool = False
    ) -> Subscription | None:
        """Move the cursors of a held wake; then it is done with, or its lease begins anew. The next wake, where one follows.

        Raises:
            Refusal: 401, no token of this subscription; 409 FENCED; 404.
            InvalidArgumentError: an ack is malformed.
        """
        found = self._held_by(subscription_id, token, wake)
        acks = [] if is_release else _acks(wake)

        def write() -> Subscription | None:
            self._move(subscription_id, acks)
            if not is_release and wake.get("done") is not True:
                self._hold(found, now_ms, holder=found.state.holder)
                return None
            return self._let_go(found, now_ms)

        return self._changed(write)

    def delivered(self, wake: Subscription, *, is_done: bool, snapshot: list[Link], now_ms: int) -> Subscription | None:
        """A webhook has answered: it is done with what it was shown, or works on it. The next wake, where one follows."""
        found = self._same_wake(wake)
        if found is None:
            return None

        def write() -> Subscription | None:
            if not is_done:
                self._hold(found, now_ms, holder=None)
                return None
            self._move(found.id, [(link.path, link.tail) for link in snapshot])
            return self._let_go(found, now_ms)

        return self._changed(write)

    def announced(self, wake: Subscription) -> None:
        """The wake stream has the event: nothing more to send."""
        found = self._same_wake(wake)
        if found is not None and found.state.phase == "waking":
            self._store(replace(found, state=replace(found.state, due_ms=None, attempts=0)))

    def failed(self, wake: Subscription, now_ms: int) -> None:
        """A delivery has failed: it is tried again, later and later."""
        found = self._same_wake(wake)
        if found is None or found.state.phase != "waking":
            return
        pause_ms = min(FIRST_PAUSE_MS * 2 ** min(found.state.attempts, 10), LONGEST_PAUSE_MS)
        jittered_ms = pause_ms * (80 + secrets.randbelow(41)) // 100
        state = replace(found.state, attempts=found.state.attempts + 1, due_ms=now_ms + jittered_ms)
        self._store(replace(found, state=state))

    def expire(self, now_ms: int) -> list[Subscription]:
        """What is due: leases end, deliveries are tried again. Those to be woken now."""
        due = [each for each in self._all().values() if each.state.due_ms is not None and each.state.due_ms <= now_ms]

        def write() -> list[Subscription]:
            woken = [
                self._let_go(each, now_ms) if each.state.phase == "held" else self._again(each, now_ms) for each in due
            ]
            return [each for each in woken if each is not None]

        return self._changed(write) if due else []

    def next_due_ms(self) -> int | None:
        """When `expire` has something to do."""
        return min((each.state.due_ms for each in self._all().values() if each.state.due_ms is not None), default=None)

    def token(self, wake: Subscription) -> str:
        """What a webhook calls back with."""
        return sign_wake(self._secret(), wake.id, wake.state.generation, wake.state.wake_id)

    def tail_of(self, path: str) -> int | None:
        """The last sequence of a stream, as far as the index knows."""
        rows = cast("list[list[int]]", self._sql.exec(q.SELECT_TAIL, path)) if self.is_there() else []
        return rows[0][0] if rows else None

    def setting(self, name: str, fresh: str | None = None) -> str | None:
        """A kept value; the fresh one where there is none yet."""
        if fresh is not None:
            self.prepare()
            self._sql.exec(q.INSERT_SETTING, name, fresh)
        rows = cast("list[list[str]]", self._sql.exec(q.SELECT_SETTING, name)) if self.is_there() else []
        return rows[0][0] if rows else None

    def prepare(self) -> None:
        """Make the tables."""
        if not self.is_there():
            self._sql.transaction(lambda: [self._sql.exec(statement) for statement in q.CREATE_TABLES])
            self._loaded = None

    def _all(self) -> dict[str, Subscription]:
        if self._loaded is None:
            rows = cast("list[list[str]]", self._sql.exec(q.SELECT_SUBSCRIPTIONS)) if self.is_there() else []
            self._loaded = {
                key: Subscription(
                    id=key,
                    config=SubscriptionConfig.from_json(json.loads(config)),
                    state=WakeState(**json.loads(state)),
                )
                for key, config, state in rows
            }
        return self._loaded

    def _changed(self, write: Callable[[], T]) -> T:
        self.prepare()
        try:
            return self._sql.transaction(write)
        except BaseException:
            self._loaded = None
            raise

    def _store(self, subscription: Subscription) -> Subscription:
        self.prepare()
        config, state = json.dumps(subscription.config.to_json()), json.dumps(asdict(subscription.state))
        self._sql.exec(q.UPSERT_SUBSCRIPTION, subscription.id, config, state)
        self._all()[subscription.id] = subscription
        return subscription

    def _backfill(self, subscription_id: str, pattern: str | None) -> None:
        if pattern is not None:
            for path, tail in cast("list[tuple[str, int]]", self._sql.exec(q.SELECT_STREAMS)):
                if matches(pattern, path):
                    self._sql.exec(q.UPSERT_LINK, subscription_id, path, GLOB, tail)

    def _covers(self, subscription: Subscription, path: str, before: int) -> bool:
        if self._sql.exec(q.SELECT_LINK, subscription.id, path):
            return True
        if subscription.config.pattern is None or not matches(subscription.config.pattern, path):
            return False
        self._sql.exec(q.UPSERT_LINK, subscription.id, path, GLOB, before)
        return True

    def _is_due(self, subscription: Subscription) -> bool:
        return subscription.state.phase == "idle" and bool(self._sql.exec(q.SELECT_PENDING, subscription.id))

    def _wake(self, subscription: Subscription, now_ms: int) -> Subscription:
        state = replace(
            subscription.state,
            phase="waking",
            generation=subscription.state.generation + 1,
            wake_id=f"w_{secrets.token_hex(8)}",
            due_ms=now_ms + DELIVERY_MS,
            holder=None,
            attempts=0,
        )
        return self._store(replace(subscription, state=state))

    def _again(self, subscription: Subscription, now_ms: int) -> Subscription:
        return self._store(replace(subscription, state=replace(subscription.state, due_ms=now_ms + DELIVERY_MS)))

    def _hold(self, subscription: Subscription, now_ms: int, *, holder: str | None) -> Subscription:
        due_ms = now_ms + subscription.config.lease_ttl_ms
        return self._store(
            replace(
                subscription, state=replace(subscription.state, phase="held", due_ms=due_ms, holder=holder, attempts=0)
            )
        )

    def _let_go(self, subscription: Subscription, now_ms: int) -> Subscription | None:
        idle = replace(
            subscription,
            state=replace(subscription.state, phase="idle", due_ms=None, holder=None, wake_id="", attempts=0),
        )
        self._store(idle)
        return self._wake(idle, now_ms) if self._is_due(idle) else None

    def _held_by(self, subscription_id: str, token: str, wake: dict[str, JsonValue]) -> Subscription:
        found = self.existing(subscription_id)
        spoken = signs_wake(self._secret(), subscription_id, token)
        if spoken is None:
            raise Refusal(401, "INVALID_TOKEN", "the token is none of this subscription")
        current = (found.state.generation, found.state.wake_id)
        if found.state.phase == "idle" or spoken != current or (wake.get("generation"), wake.get("wake_id")) != current:
            raise Refusal(409, "FENCED", "another wake has begun since")
        return found

    def _same_wake(self, wake: Subscription) -> Subscription | None:
        found = self._all().get(wake.id)
        is_same = found is not None and found.state.wake_id == wake.state.wake_id
        return found if is_same else None

    def _move(self, subscription_id: str, acks: Iterable[tuple[str, int]]) -> None:
        links = {link.path: link for link in self.links(subscription_id)}
        for path, sequence in acks:
            link = links.get(path)
            if link is None:
                raise InvalidArgumentError(f"{path!r} is not among the subscription's streams")
            if sequence > link.tail:
                raise InvalidArgumentError(f"the offset is past the end of {path!r}")
            if sequence > link.acked:
                self._sql.exec(q.UPSERT_LINK, subscription_id, path, link.kinds, sequence)

    def _secret(self) -> str:
        return self.setting("secret") or cast("str", self.setting("secret", secrets.token_hex(32)))


def _acks(wake: dict[str, JsonValue]) -> list[tuple[str, int]]:
    given = wake.get("acks", [])
    if not isinstance(given, list):
        raise InvalidArgumentError("acks must be a list")
    acks: list[tuple[str, int]] = []
    for ack in given:
        path = ack.get("stream", ack.get("path")) if isinstance(ack, dict) else None
        offset = ack.get("offset") if isinstance(ack, dict) else None
        position = parse_offset(offset, name="an ack's offset") if isinstance(offset, str) else None
        if not isinstance(path, str) or not isinstance(position, Offset):
            raise InvalidArgumentError('an ack is {"stream": path, "offset": offset}')
        acks.append((path, position.sequence))
    return acks
