"""One stored lease, and its state at a given time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

__all__ = ["LOST_REMEMBERED", "OVER", "Grant", "LeaseRequest", "LostTokens", "StoredLease"]

OVER: Final = 0
LOST_REMEMBERED: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRequest:
    """A request for a key. A repetition has the same `request_id`.

    `delay_ms` is the time for which the key stays closed after this lease has expired. After a release the key is free at once.
    """

    key: str
    owner: str
    request_id: str
    ttl_ms: int
    delay_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The token of a granted lease, and its end by the object's clock."""

    fencing_token: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LostTokens:
    """The newest tokens of a key whose leases expired. Every other token below the current one was released by its holder.

    Few leases expire, and an expiry takes a whole ttl. So this list is short. A list of released tokens would be long.

    Attributes:
        tokens: the newest `LOST_REMEMBERED` lost tokens, the lowest first.
        forgotten: the highest token that has left the list. This token and lower ones count as expired, which is the careful
            answer.
        first: the first token of the key. Lower tokens were never granted.
    """

    tokens: tuple[int, ...] = ()
    forgotten: int = 0
    first: int = 1

    def with_token(self, token: int) -> Self:
        """Return these tokens and one more, which is higher than all of them."""
        tokens = (*self.tokens, token)
        if len(tokens) <= LOST_REMEMBERED:
            return replace(self, tokens=tokens)
        return replace(self, tokens=tokens[1:], forgotten=tokens[0])

    def with_tokens(self, tokens: Iterable[int]) -> Self:
        """Return these tokens and more, which rise and are higher than all of them."""
        lost = self
        for token in tokens:
            lost = lost.with_token(token)
        return lost

    def was_released(self, token: int) -> bool:
        """Return whether a token below the current one was given back while its lease was live."""
        return token >= self.first and token > self.forgotten and token not in self.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLease:
    """The newest lease of a key.

    Attributes:
        fencing_token: the token of this lease.
        request_id: the request that was granted. Its repetition gets the same answer.
        expires_at: the end of the lease, or `OVER` when a call has seen that it has ended.
        opens_at: the end of the delay after an expiry: before it nobody gets the key. 0 unless the lease expired with a delay.
        is_released: whether its holder gave it back while it was live.
        lost: the tokens before this one whose leases expired.
    """

    fencing_token: int
    owner: str
    request_id: str
    ttl_ms: int
    delay_ms: int
    expires_at: int
    opens_at: int = 0
    is_released: bool = False
    lost: LostTokens = field(default_factory=LostTokens)

    def at(self, now_ms: int) -> Self:
        """Return the lease at this time. It ends at most a ttl from now, so a clock that was set back makes no lease longer."""
        if self.expires_at > now_ms:
            latest = now_ms + self.ttl_ms
            return self if self.expires_at <= latest else replace(self, expires_at=latest)
        opens_at = self.opens_at if self.expires_at == OVER else self.expires_at + self.delay_ms
        opens_at = min(opens_at, now_ms + self.delay_ms)
        return replace(self, expires_at=OVER, opens_at=opens_at if opens_at > now_ms else 0)

    def is_live(self) -> bool:
        """Return whether the holder still has the key. Call it on the result of `at`."""
        return self.expires_at != OVER

    def frees_at(self) -> int | None:
        """Return the time at which the key becomes free if nobody refreshes or releases it; None if it is free.

        Call it on the result of `at`.
        """
        return self.expires_at + self.delay_ms if self.is_live() else self.opens_at or None

    def given_back(self) -> Self:
        """Return the lease after its holder gave it back: it is over, without a delay."""
        return replace(self, expires_at=OVER, opens_at=0, is_released=True)

    def opened(self) -> Self:
        """Return the expired lease after its holder said that it has stopped: the delay is over."""
        return replace(self, opens_at=0)

    def all_lost(self) -> LostTokens:
        """Return the lost tokens, this lease's own included, for the next lease."""
        return self.lost if self.is_released else self.lost.with_token(self.fencing_token)

    def to_text(self) -> str:
        """Return the lease as the text that is stored."""
        # `asdict` would copy every value.
        return json.dumps(self, default=_fields, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the lease that `to_text` wrote."""
        fields: dict[str, Any] = json.loads(text)
        lost: dict[str, Any] = fields["lost"]
        lost["tokens"] = tuple(lost["tokens"])
        fields["lost"] = LostTokens(**lost)
        return cls(**fields)


def _fields(part: StoredLease | LostTokens) -> dict[str, object]:
    return {name: getattr(part, name) for name in part.__slots__}
