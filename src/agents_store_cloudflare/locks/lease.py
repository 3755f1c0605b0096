"""One lease as it is stored, and what time makes of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Final, Self

__all__ = ["OVER", "Grant", "LeaseRequest", "StoredLease"]

OVER: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRequest:
    """Who wants a key, and for how long. Asking again with the same `request_id` is the same request.

    `delay_ms` is how long the key stays closed after this lease has expired; after a release it is free at once.
    """

    key: str
    owner: str
    request_id: str
    ttl_ms: int
    delay_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A lease that was given: its token, and when it ends by the object's clock."""

    fencing_token: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLease:
    """The lease granted last on a key.

    Attributes:
        fencing_token: the last one granted.
        request_id: the acquire that was granted: asked again, it gets the same answer.
        expires_at: its end; `OVER` once somebody has seen that it has ended.
        opens_at: before then nobody gets the key; only where it expired with a delay.
        released_token: the last token given back by its holder.
    """

    fencing_token: int
    owner: str
    request_id: str
    ttl_ms: int
    delay_ms: int
    expires_at: int
    opens_at: int = 0
    released_token: int | None = None

    def at(self, now_ms: int) -> Self:
        """The same lease by this clock. One that was set back lengthens nothing: a lease lasts for at most its ttl from now."""
        if self.expires_at > now_ms:
            return replace(self, expires_at=min(self.expires_at, now_ms + self.ttl_ms))
        opens_at = self.opens_at if self.expires_at == OVER else self.expires_at + self.delay_ms
        opens_at = min(opens_at, now_ms + self.delay_ms)
        return replace(self, expires_at=OVER, opens_at=opens_at if opens_at > now_ms else 0)

    def is_live(self) -> bool:
        """Of a lease `at` some time."""
        return self.expires_at != OVER

    def is_released(self) -> bool:
        """Whether its holder has given it back."""
        return self.released_token == self.fencing_token

    def frees_at(self) -> int | None:
        """Of a lease `at` some time: when the key can be granted next unless something happens; None: at once."""
        return self.expires_at + self.delay_ms if self.is_live() else self.opens_at or None

    def given_back(self) -> Self:
        """Over, because its holder says so: no delay."""
        return replace(self, expires_at=OVER, opens_at=0, released_token=self.fencing_token)

    def opened(self) -> Self:
        """Over, and its holder has stopped: nothing to wait for any more."""
        return replace(self, opens_at=0)

    def to_text(self) -> str:
        """As it is kept."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """What `to_text` wrote."""
        return cls(**json.loads(text))
