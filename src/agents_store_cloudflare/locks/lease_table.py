"""The core of locking: leases with fencing tokens, synchronous, durable, on the SQLite of one Durable Object.

It knows no waiting, no callers, no clock: the time comes in with each call. Every decision is one read by key and at most one
written row, so there is nothing that could be half done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, cast

from agents_store_cloudflare.database import ObjectSql, SqlError
from agents_store_cloudflare.locks import sql as q

__all__ = ["Grant", "LeaseRequest", "LeaseTable"]

OVER: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRequest:
    """Who wants a key, and for how long. Asking again with the same `request_id` is the same request."""

    key: str
    owner: str
    request_id: str
    ttl_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A lease that was given: its token, and when it ends by the object's clock."""

    fencing_token: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lease:
    """The lease granted last on a key, as stored."""

    fencing_token: int
    owner: str
    request_id: str
    ttl_ms: int
    expires_at: int
    released_token: int | None

    def end_at(self, now_ms: int) -> int:
        """When the lease ends, or `OVER`. Where the clock was set back meanwhile it lasts for its ttl from now, not for hours."""
        return OVER if self.expires_at <= now_ms else min(self.expires_at, now_ms + self.ttl_ms)

    def is_released(self) -> bool:
        return self.released_token == self.fencing_token


class LeaseTable:
    """At most one live lease a key; the tokens of a key rise with every grant, for ever.

    A token is max(last + 1, now) and is stored before it is told. Neither release, expiry, restart nor a clock that jumps lowers it.
    A lease that was told to be over stays over: that is written down, so no clock can bring it back. Many keys may share a table;
    only `acquire` creates it.
    """

    def __init__(self, sql: ObjectSql) -> None:
        self._sql = sql

    def acquire(self, request: LeaseRequest, *, now_ms: int) -> Grant | None:
        """The lease, or None while another request holds the key: one with another request id, whoever its owner.

        The request that was granted last gets the same grant again while that lasts, and None once its holder has given it back: then
        this is a late repetition, and nobody would use the lease.
        """
        stored = self._read(request.key)
        if stored is None:
            self._sql.exec(q.CREATE_LEASES)
            return self._grant(request, token=now_ms, now_ms=now_ms)
        is_repetition = stored.request_id == request.request_id
        end = self._note_clock(request.key, stored, now_ms)
        if end != OVER:
            return Grant(fencing_token=stored.fencing_token, expires_at=end) if is_repetition else None
        if is_repetition and stored.is_released():
            return None
        return self._grant(request, token=max(stored.fencing_token + 1, now_ms), now_ms=now_ms)

    def is_given_back(self, request: LeaseRequest) -> bool:
        """Whether this very request was granted last and its lease released: a late repetition, which gets nothing more."""
        stored = self._read(request.key)
        return stored is not None and stored.request_id == request.request_id and stored.is_released()

    def refresh(self, key: str, *, fencing_token: int, ttl_ms: int, now_ms: int) -> int | None:
        """The new expiry, `ttl_ms` from now; None when the token's lease is over: it stays over."""
        live = self._live(key, now_ms)
        if live is None or live.fencing_token != fencing_token:
            return None
        self._sql.exec(q.UPDATE_EXPIRY, key, ttl_ms, now_ms + ttl_ms)
        return now_ms + ttl_ms

    def release(self, key: str, *, fencing_token: int, now_ms: int) -> bool:
        """Whether the token's lease was live and is given back now, or was by this token before: a repetition gets the same answer."""
        live = self._live(key, now_ms)
        if live is not None and live.fencing_token == fencing_token:
            self._sql.exec(q.UPDATE_RELEASED, key)
            return True
        last = self._read(key)
        return last is not None and last.released_token == fencing_token

    def abandon(self, key: str, *, request_id: str, now_ms: int) -> bool:
        """Give back the lease that this request was granted, if it is live; whether it was."""
        live = self._live(key, now_ms)
        if live is None or live.request_id != request_id:
            return False
        self._sql.exec(q.UPDATE_RELEASED, key)
        return True

    def expires_at(self, key: str, *, now_ms: int) -> int | None:
        """When the live lease of a key ends; None where there is none. Writes nothing about a key that was never granted."""
        live = self._live(key, now_ms)
        return None if live is None else live.expires_at

    def _grant(self, request: LeaseRequest, *, token: int, now_ms: int) -> Grant:
        expires_at = now_ms + request.ttl_ms
        self._sql.exec(
            q.UPSERT_LEASE, request.key, token, request.owner, request.request_id, request.ttl_ms, expires_at
        )
        return Grant(fencing_token=token, expires_at=expires_at)

    def _live(self, key: str, now_ms: int) -> _Lease | None:
        """The live lease. One that has ended since it was looked at last is written down as over before anybody is told."""
        stored = self._read(key)
        if stored is None:
            return None
        end = self._note_clock(key, stored, now_ms)
        if end != OVER:
            return replace(stored, expires_at=end)
        if stored.expires_at != OVER:
            self._sql.exec(q.UPDATE_EXPIRY, key, stored.ttl_ms, OVER)
        return None

    def _note_clock(self, key: str, stored: _Lease, now_ms: int) -> int:
        """The lease's end; one that a clock set back has moved is written down, once."""
        end = stored.end_at(now_ms)
        if end not in (OVER, stored.expires_at):
            self._sql.exec(q.UPDATE_EXPIRY, key, stored.ttl_ms, end)
        return end

    def _read(self, key: str) -> _Lease | None:
        try:
            rows = self._sql.exec(q.SELECT_LEASE, key)
        except SqlError as error:
            if error.is_missing_table():
                return None
            raise
        if not rows:
            return None
        token, owner, request_id, ttl_ms, expires_at, released_token = rows[0]
        return _Lease(
            fencing_token=cast("int", token),
            owner=cast("str", owner),
            request_id=cast("str", request_id),
            ttl_ms=cast("int", ttl_ms),
            expires_at=cast("int", expires_at),
            released_token=cast("int | None", released_token),
        )
