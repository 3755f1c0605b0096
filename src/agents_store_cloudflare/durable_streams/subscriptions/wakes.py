"""The rules of wakes: the wake of a subscription, the lease of its worker, and the next wake. They are synchronous, on SQLite.

```text
            something new          claimed, or delivered
   idle ───────────────▶ waking ───────────────────────▶ held
    ▲                      │  ▲ ▼ delivery failed: again    │
    │                      │  later, backing off            │
    └──────────────────────┴────────────────────────────────┘
              done, released, or the lease ran out
```

Each wake has a generation and an id. A request that names another wake is refused (`FENCED`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue
from agents_store_cloudflare.database import ObjectSql
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.subscriptions.acks import parse_acks
from agents_store_cloudflare.durable_streams.subscriptions.config import SubscriptionConfig
from agents_store_cloudflare.durable_streams.subscriptions.links import SeenStream, StreamLinks
from agents_store_cloudflare.durable_streams.subscriptions.records import Link, Subscription, WakeState
from agents_store_cloudflare.durable_streams.subscriptions.requests_done import RequestsDone
from agents_store_cloudflare.durable_streams.subscriptions.table import SubscriptionTable
from agents_store_cloudflare.durable_streams.subscriptions.tokens import sign_wake, signs_wake

__all__ = ["DELIVERY_MS", "Wakes"]

DELIVERY_MS: Final = 20_000
"""A delivery that takes longer counts as failed, because the object that sent it may have been restarted."""

COMMITS: Final = 16
"""The number of requests of each subscription that are remembered, so that repetitions are recognised."""

FIRST_PAUSE_MS: Final = 1_000
LONGEST_PAUSE_MS: Final = 60_000


class Wakes:
    """The wakes of all subscriptions of one namespace. Every call has its whole effect or none. Call `expire` first.

    Attributes:
        table: the subscriptions.
        links: their streams.
        done: the latest requests that changed a subscription.
    """

    def __init__(self, sql: ObjectSql) -> None:
        self.table: SubscriptionTable = SubscriptionTable(sql)
        self.links: StreamLinks = StreamLinks(sql)
        self.done: RequestsDone = RequestsDone(self.table)

    def put(
        self, request: Mapping[str, Any], config: SubscriptionConfig, streams: list[SeenStream], state: WakeState
    ) -> tuple[bool, list[Subscription]]:
        """Make a subscription that begins at the present end of its streams.

        Args:
            request: the arguments of the request. The request is remembered if it makes the subscription.

        Returns:
            Whether the subscription is new, and the subscriptions to wake. A stream may have grown after it was asked.

        Raises:
            Refusal: 409, it exists with another configuration, or there are too many subscriptions.
        """
        subscription_id: str = request["id"]
        if self.table.is_alike(subscription_id, config):
            return False, []

        def write() -> list[Subscription]:
            self.done.note(request, state.created_ms)
            made = self.table.store(Subscription(id=subscription_id, config=config, state=state))
            self.links.link_pattern(subscription_id, config.pattern)
            self.links.link(subscription_id, streams, state.created_ms)
            return self._woken(made, state.created_ms)

        return True, self.table.changed(write)

    def link(self, request: Mapping[str, Any], streams: list[SeenStream], now_ms: int) -> list[Subscription]:
        """Add streams by name. Return the subscriptions to wake.

        Raises:
            Refusal: 404.
        """
        found = self.table.existing(request["id"])

        def write() -> list[Subscription]:
            self.done.note(request, None)
            self.links.link(found.id, streams, now_ms)
            return self._woken(found, now_ms)

        return self.table.changed(write)

    def unlink(self, request: Mapping[str, Any]) -> None:
        """Remove a stream that was added by name.

        Raises:
            Refusal: 404.
        """
        found = self.table.existing(request["id"])

        def write() -> None:
            self.done.note(request, None)
            self.links.unlink(found.id, request["path"])

        self.table.changed(write)

    def delete(self, request: Mapping[str, Any]) -> None:
        """Remove a subscription.

        If there is none, nothing changes. Its claims, acks and releases are remembered as requests of a deleted subscription.
        """
        found = self.table.all().get(request["id"])

        def write() -> None:
            if found is not None:
                self.done.note_ended(commit_id for commit_id, _, _, _ in found.state.commits)
                self.done.note(request, None)
                self.links.unlink_all(found.id)
                self.table.remove(found.id)

        if found is not None:
            self.table.changed(write)

    def appended(
        self, stream: SeenStream, *, before: int, now_ms: int, is_stream: bool = False
    ) -> tuple[bool, list[Subscription]]:
        """Note that a stream has grown, or was made. News of a stream that is gone since changes nothing.

        Args:
            before: the position of a new link, when the index did not know that the subscription covers this stream.
            is_stream: True when the stream's object itself reports the change.

        Returns:
            Whether a subscription covers the stream, and the subscriptions to wake.
        """

        def write() -> tuple[bool, list[Subscription]]:
            known = self.links.known(stream.path)
            if known is not None and stream.is_older_than(known):
                return self._names(stream.path), []
            start = before if known is None or known.is_gone else known.tail
            self.links.note(stream, now_ms)
            touched = [each for each in self.table.all().values() if self.links.covers(each, stream.path, start)]
            if is_stream:
                self.links.note_telling(stream.path, is_telling=bool(touched))
            return bool(touched), [woken for each in touched for woken in self._woken(each, now_ms)]

        return self.table.changed(write)

    def gone(self, stream: SeenStream, now_ms: int) -> bool:
        """Forget a stream that was deleted or has expired, unless the next one of this path is known already.

        Returns:
            Whether a subscription names the path.
        """

        def write() -> bool:
            known = self.links.known(stream.path)
            if known is not None and stream.is_older_than(known):
                return self._names(stream.path)
            self.links.gone(stream, self.table.all().values(), now_ms)
            is_named = self._names(stream.path)
            if not is_named:
                self.links.note_telling(stream.path, is_telling=False)
            return is_named

        return self.table.changed(write)

    def claim(self, subscription_id: str, worker: str, commit_id: str, now_ms: int) -> tuple[Subscription, str]:
        """Take the lease of a pull-wake subscription. Return the wake and its token.

        Raises:
            Refusal: 404; 400, the subscription is woken by webhook; 409, another worker holds it, or there is nothing to do.
        """
        found = self.table.existing(subscription_id)
        if found.config.type != "pull-wake":
            raise Refusal(400, "NOT_PULL_WAKE", "this subscription is woken by webhook")
        repeated = _repeated(found, commit_id)
        if repeated is not None:
            return repeated, self.token(repeated)
        if found.state.phase == "held":
            holder: JsonObject = {"current_holder": found.state.holder, "generation": found.state.generation}
            raise Refusal(409, "ALREADY_CLAIMED", "another worker holds this subscription", details=holder)
        if found.state.phase == "idle":
            if not self._is_due(found):
                raise Refusal(409, "NO_PENDING_WORK", "there is nothing to do")
            found = self._wake(found, now_ms)
        held = self._hold(_noted(found, commit_id), now_ms, holder=worker)
        return held, self.token(held)

    def acknowledge(
        self,
        subscription_id: str,
        token: str,
        wake: dict[str, JsonValue],
        commit_id: str,
        now_ms: int,
        *,
        is_release: bool = False,
    ) -> tuple[bool, Subscription | None]:
        """Take the acknowledgements of a held wake. Then the wake is done, or its lease begins anew.

        Returns:
            Whether another wake follows, and this wake if it still has to be sent.

        Raises:
            Refusal: 401, the token does not belong to this subscription; 409 FENCED; 404.
            InvalidArgumentError: an ack is malformed.
        """
        for known_id, _, _, follows in self.table.existing(subscription_id).state.commits:
            if known_id == commit_id:
                return follows, None
        held = self._held_by(subscription_id, token, wake)
        acks = [] if is_release else parse_acks(wake)
        is_over = is_release or wake.get("done") is True

        def write() -> tuple[bool, Subscription | None]:
            self.links.move(held, acks)
            follows = is_over and self.links.has_pending(subscription_id)
            found = _noted(held, commit_id, follows=follows)
            if is_over:
                return follows, self._let_go(found, now_ms)
            self._hold(found, now_ms, holder=found.state.holder)
            return False, None

        return self.table.changed(write)

    def delivered(self, wake: Subscription, *, is_done: bool, snapshot: list[Link], now_ms: int) -> Subscription | None:
        """Note that a webhook has answered that its work is done or goes on. Return the next wake if one follows."""
        found = self._same_wake(wake)
        if found is None:
            return None

        def write() -> Subscription | None:
            if not is_done:
                self._hold(found, now_ms, holder=None)
                return None
            self.links.move(found, [(link.path, link.tail) for link in snapshot])
            return self._let_go(found, now_ms)

        return self.table.changed(write)

    def announced(self, wake: Subscription) -> None:
        """Note that the wake stream has the event, so that nothing has to be sent any more."""
        found = self._same_wake(wake)
        if found is not None and found.state.phase == "waking":
            self.table.store(replace(found, state=replace(found.state, due_ms=None, attempts=0)))

    def failed(self, wake: Subscription, now_ms: int) -> None:
        """Note that a delivery has failed. It is tried again after growing pauses."""
        found = self._same_wake(wake)
        if found is None or found.state.phase != "waking":
            return
        pause_ms = min(FIRST_PAUSE_MS * 2 ** min(found.state.attempts, 10), LONGEST_PAUSE_MS)
        jittered_ms = pause_ms * (80 + secrets.randbelow(41)) // 100
        state = replace(found.state, attempts=found.state.attempts + 1, due_ms=now_ms + jittered_ms)
        self.table.store(replace(found, state=state))

    def expire(self, now_ms: int) -> list[Subscription]:
        """End the leases that ran out, and begin the deliveries that are due. Return the subscriptions to wake."""
        due = [
            each for each in self.table.all().values() if each.state.due_ms is not None and each.state.due_ms <= now_ms
        ]

        def write() -> list[Subscription]:
            woken = [
                self._let_go(each, now_ms) if each.state.phase == "held" else self._again(each, now_ms) for each in due
            ]
            return [each for each in woken if each is not None]

        return self.table.changed(write) if due else []

    def next_due_ms(self) -> int | None:
        """Return the next time at which `expire` has work; None for never."""
        return min(
            (each.state.due_ms for each in self.table.all().values() if each.state.due_ms is not None), default=None
        )

    def token(self, wake: Subscription) -> str:
        """Return the token of the webhook's callback."""
        return sign_wake(self.table.secret(), wake.id, wake.state.generation, wake.state.wake_id)

    def _names(self, path: str) -> bool:
        return any(self.links.names(each, path) for each in self.table.all().values())

    def _woken(self, subscription: Subscription, now_ms: int) -> list[Subscription]:
        """Wake the subscription if it has work and no worker. Return a list with it, or an empty list if it was not woken."""
        return [self._wake(subscription, now_ms)] if self._is_due(subscription) else []

    def _is_due(self, subscription: Subscription) -> bool:
        return subscription.state.phase == "idle" and self.links.has_pending(subscription.id)

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
        return self.table.store(replace(subscription, state=state))

    def _again(self, subscription: Subscription, now_ms: int) -> Subscription:
        return self.table.store(replace(subscription, state=replace(subscription.state, due_ms=now_ms + DELIVERY_MS)))

    def _hold(self, subscription: Subscription, now_ms: int, *, holder: str | None) -> Subscription:
        due_ms = now_ms + subscription.config.lease_ttl_ms
        return self.table.store(
            replace(
                subscription, state=replace(subscription.state, phase="held", due_ms=due_ms, holder=holder, attempts=0)
            )
        )

    def _let_go(self, subscription: Subscription, now_ms: int) -> Subscription | None:
        idle = replace(
            subscription,
            state=replace(subscription.state, phase="idle", due_ms=None, holder=None, wake_id="", attempts=0),
        )
        self.table.store(idle)
        return self._wake(idle, now_ms) if self._is_due(idle) else None

    def _held_by(self, subscription_id: str, token: str, wake: dict[str, JsonValue]) -> Subscription:
        found = self.table.existing(subscription_id)
        spoken = signs_wake(self.table.secret(), subscription_id, token)
        if spoken is None:
            raise Refusal(401, "INVALID_TOKEN", "the token does not belong to this subscription")
        current = (found.state.generation, found.state.wake_id)
        if found.state.phase == "idle" or spoken != current or (wake.get("generation"), wake.get("wake_id")) != current:
            raise Refusal(409, "FENCED", "another wake has begun since")
        return found

    def _same_wake(self, wake: Subscription) -> Subscription | None:
        found = self.table.all().get(wake.id)
        is_same = found is not None and found.state.wake_id == wake.state.wake_id
        return found if is_same else None


def _noted(subscription: Subscription, commit_id: str, *, follows: bool = False) -> Subscription:
    """Return the subscription after this request was noted in its wake."""
    state = subscription.state
    commits = (*state.commits, (commit_id, state.generation, state.wake_id, follows))[-COMMITS:]
    return replace(subscription, state=replace(state, commits=commits))


def _repeated(subscription: Subscription, commit_id: str) -> Subscription | None:
    """Return the wake of an earlier copy of this request; None for a new request."""
    for known_id, generation, wake_id, _ in subscription.state.commits:
        if known_id == commit_id:
            return replace(subscription, state=replace(subscription.state, generation=generation, wake_id=wake_id))
    return None
