"""`D1SpendStore`: what the windows of a budget have used, counted over all Workers."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal, DecimalException, localcontext
from typing import Any, Final, Generic, TypeVar, cast

from agents_store_cloudflare.adapters.errors import ForeignValueError
from agents_store_cloudflare.adapters.pydantic_ai_harness.kept import Change, KeptSession
from agents_store_cloudflare.adapters.pydantic_ai_harness.shapes import Entry
from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, check_text, system_now_ms
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.state.agent_state import AgentState

__all__ = ["D1SpendStore"]

S = TypeVar("S")

MONEY_DIGITS: Final = 40
"""The digits of sums of money, as in the harness's own stores."""


@dataclass(frozen=True, kw_only=True)
class _Counter:
    """What a window has used, and until when it counts, in milliseconds since 1970."""

    usd: Decimal = Decimal(0)
    tokens: int = 0
    requests: int = 0
    unpriced: int = 0
    until: int | None = None


class D1SpendStore(Generic[S]):
    """A `BatchSpendStore` of pydantic-ai's harness in D1, or in sqlite in tests.

    All windows of a store are counted in one session, so a response counts in all of its windows or in none. A response that is
    counted again under its token changes nothing. Any number of Workers may count at once.

    Args:
        session_id: the session of the counters. Give each tenant its own if many responses come at once.
        database: a D1 binding (`env.AGENT_DB`), a `Database` (`testing.SqliteDatabase`), or `store.session_homes`.
        spent: the harness's class `Spent`.
        agent_type: the agent type of the session that the first response makes.
        fencing_token: a lock of the session, or its token, if only its holder may count.
        remember: how long the token of a response is remembered. None counts every response.
        now_ms: the clock, in milliseconds since 1970.

    Example:
        >>> from pydantic_ai_harness.spend import Spent
        >>> limits = SpendLimits(budgets, store=D1SpendStore("spend", env.AGENT_DB, spent=Spent))
    """

    def __init__(
        self,
        session_id: str,
        database: object,
        *,
        spent: Callable[..., S],
        agent_type: str = "pydantic-ai-spend",
        fencing_token: FencingToken = UNSET,
        remember: timedelta | None = timedelta(hours=1),
        now_ms: Callable[[], int] = system_now_ms,
    ) -> None:
        self._session = KeptSession(session_id, database, agent_type=agent_type, fencing_token=fencing_token)
        self._spent = spent
        self._remember_ms = None if remember is None else _ms(remember)
        self._now_ms = now_ms

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, S]:
        """Return what each window has used. A window that was never counted, or no longer counts, has used nothing.

        Raises:
            ForeignValueError: another program or a newer version wrote the counters.
        """
        wanted = [check_text(key, "key") for key in keys]
        state = await self._session.read()
        counters = {} if state is None else _counters(state, self._now_ms())
        return {key: self._told(counters.get(key)) for key in wanted}

    async def add_many(self, entries: Sequence[Entry]) -> Mapping[str, S]:
        """Count a response in all of its windows, in one transaction. Return what each of them has used now.

        Args:
            entries: one for each window. An entry whose token was counted in its window before changes nothing.

        Raises:
            StaleFencingTokenError: a newer holder of the lock has written.
            StateSizeExceededError: there are too many windows and remembered tokens for one session.
            ForeignValueError: an amount is not finite, or another program or a newer version wrote the counters.
        """
        added = [_checked(entry) for entry in entries]
        if not added:
            return {}
        return await self._session.change(lambda state: self._count(state, added))

    def _count(self, state: AgentState, entries: Sequence[Entry]) -> Change[dict[str, S]]:
        now = self._now_ms()
        counters, applied = _counters(state, now), _applied(state, now)
        is_changed = False
        for entry in entries:
            marker = None if entry.token is None or self._remember_ms is None else _marker(entry.key, entry.token)
            if marker is not None and marker in applied:
                continue
            is_changed = True
            counters[entry.key] = _plus(counters.get(entry.key, _Counter()), entry, now)
            if marker is not None:
                kept_ms = cast("int", self._remember_ms)
                applied[marker] = now + (kept_ms if entry.ttl is None else min(kept_ms, _ms(entry.ttl)))
        totals = {entry.key: self._told(counters.get(entry.key)) for entry in entries}
        if not is_changed:
            return totals, None
        state.custom_state["windows"] = {key: _stored(counter) for key, counter in counters.items()}
        state.custom_state["applied"] = dict(applied)
        return totals, ()

    def _told(self, counter: _Counter | None) -> S:
        known = counter or _Counter()
        return self._spent(
            usd=known.usd, tokens=known.tokens, requests=known.requests, unpriced_requests=known.unpriced
        )


def _plus(counter: _Counter, entry: Entry, now: int) -> _Counter:
    with localcontext() as context:
        context.prec = MONEY_DIGITS
        usd = counter.usd + entry.usd
    return replace(
        counter,
        usd=usd,
        tokens=counter.tokens + entry.tokens,
        requests=counter.requests + entry.requests,
        unpriced=counter.unpriced + entry.unpriced,
        until=None if entry.ttl is None else now + _ms(entry.ttl),
    )


def _checked(entry: Entry) -> Entry:
    check_text(entry.key, "key")
    if not isinstance(cast("object", entry.usd), Decimal) or not entry.usd.is_finite():
        raise ForeignValueError(f"the amount of window {entry.key!r} is {entry.usd!r}, which is no finite Decimal")
    for name in ("tokens", "requests", "unpriced"):
        amount: object = getattr(entry, name)
        if isinstance(amount, bool) or not isinstance(amount, int):
            raise InvalidArgumentError(f"{name} must be an int, got {type(amount).__name__}")
    return copy.copy(entry)


def _marker(key: str, token: str) -> str:
    return hashlib.sha256(json.dumps([key, token]).encode()).hexdigest()[:24]


def _ms(time: timedelta) -> int:
    return time // timedelta(milliseconds=1)


def _stored(counter: _Counter) -> list[Any]:
    return [str(counter.usd), counter.tokens, counter.requests, counter.unpriced, counter.until]


def _counters(state: AgentState, now: int) -> dict[str, _Counter]:
    """Return the counters that still count."""
    try:
        found = {
            key: _Counter(usd=Decimal(usd), tokens=tokens, requests=requests, unpriced=unpriced, until=until)
            for key, (usd, tokens, requests, unpriced, until) in _kept(state, "windows").items()
        }
        return {key: counter for key, counter in found.items() if counter.until is None or now < counter.until}
    except (DecimalException, TypeError, ValueError, AttributeError) as error:
        raise _foreign(state, error) from error


def _applied(state: AgentState, now: int) -> dict[str, int]:
    """Return the tokens that are still remembered."""
    try:
        return {marker: until for marker, until in _kept(state, "applied").items() if now < until}
    except (TypeError, AttributeError) as error:
        raise _foreign(state, error) from error


def _kept(state: AgentState, name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", state.custom_state.get(name, {}))


def _foreign(state: AgentState, error: Exception) -> ForeignValueError:
    return ForeignValueError(
        f"the counters of session {state.session_id!r} were written by another program or a newer version: {type(error).__name__}"
    )
