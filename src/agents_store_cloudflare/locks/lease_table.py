"""The core of locking: leases with fencing tokens, synchronous, durable, on the storage of one Durable Object.

It knows no waiting, no callers, no clock: the time comes in with each call. Every decision is one read by key and at most one
written row, so there is nothing that could be half done.

A lease is a text under its key rather than a row of a table: by the runtime's own count a table costs two written rows before
its first one, and by default an object holds one key. A later layout takes another prefix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agents_store_cloudflare.database import ObjectSql
from agents_store_cloudflare.locks.lease import Grant, LeaseRequest, StoredLease

__all__ = ["CleanedPage", "LeaseTable"]

LEASE: Final = "lease_v1/"
FLOOR: Final = "floor_v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanedPage:
    """How many keys were forgotten, and the key to go on after; None at the end."""

    removed: int
    next_after: str | None


class LeaseTable:
    """At most one live lease a key; the tokens of a key rise with every grant, for ever.

    A token is max(last + 1, now) and is stored before it is told. Neither release, expiry, restart nor a clock that jumps lowers it,
    nor does forgetting a key: then the highest token forgotten stays behind, as the floor of every key that comes new.
    A lease that was told to be over stays over: that is written down, so no clock can bring it back. Many keys may share a table.
    """

    def __init__(self, sql: ObjectSql) -> None:
        self._sql = sql

    def acquire(self, request: LeaseRequest, *, now_ms: int) -> Grant | None:
        """The lease, or None while another request holds the key (one with another request id, whoever its owner) or it is closed.

        The request that was granted last gets the same grant again while that lasts, and None once its holder has given it back: then
        this is a late repetition, and nobody would use the lease.
        """
        stored = self._read(request.key)
        if stored is None:
            return self._grant(request, None, token=max(self._floor() + 1, now_ms), now_ms=now_ms)
        is_repetition = stored.request_id == request.request_id
        lease = stored.at(now_ms)
        if lease.frees_at() is not None:
            self._write(request.key, stored, lease)
            if lease.is_live() and is_repetition:
                return Grant(fencing_token=lease.fencing_token, expires_at=lease.expires_at)
            return None
        if is_repetition and stored.is_released():
            return None
        return self._grant(request, stored, token=max(stored.fencing_token + 1, now_ms), now_ms=now_ms)

    def is_given_back(self, request: LeaseRequest) -> bool:
        """Whether this very request was granted last and its lease released: a late repetition, which gets nothing more."""
        stored = self._read(request.key)
        return stored is not None and stored.request_id == request.request_id and stored.is_released()

    def refresh(self, key: str, *, fencing_token: int, ttl_ms: int, now_ms: int) -> int | None:
        """The new expiry, `ttl_ms` from now; None when the token's lease is over: it stays over."""
        stored = self._read(key)
        if stored is None:
            return None
        lease = stored.at(now_ms)
        is_holder = lease.is_live() and lease.fencing_token == fencing_token
        if is_holder:
            lease = replace(lease, ttl_ms=ttl_ms, expires_at=now_ms + ttl_ms)
        self._write(key, stored, lease)
        return lease.expires_at if is_holder else None

    def release(self, key: str, *, fencing_token: int, now_ms: int) -> bool:
        """Whether the token's lease was live and is given back now, or was by this token before: a repetition gets the same answer.

        One that has expired opens its key, closed or not: its holder has stopped.
        """
        stored = self._read(key)
        if stored is None:
            return False
        is_last = stored.fencing_token == fencing_token
        return self._end(key, stored, now_ms, is_holder=is_last) or stored.released_token == fencing_token

    def abandon(self, key: str, *, request_id: str, now_ms: int) -> bool:
        """Give back the lease that this request was granted, if it is live; whether it was."""
        stored = self._read(key)
        return stored is not None and self._end(key, stored, now_ms, is_holder=stored.request_id == request_id)

    def expires_at(self, key: str, *, now_ms: int) -> int | None:
        """When the live lease of a key ends; None where there is none. Writes nothing about a key that was never granted."""
        lease = self._look(key, now_ms)
        return lease.expires_at if lease is not None and lease.is_live() else None

    def frees_at(self, key: str, *, now_ms: int) -> int | None:
        """When a key that nobody can get now may be granted: its lease has ended, and the delay after it; None: it is free."""
        lease = self._look(key, now_ms)
        return None if lease is None else lease.frees_at()

    def delete(self, key: str, *, now_ms: int) -> bool:
        """Forget a key; False where it is not free, and nothing changes. The floor keeps its token."""
        lease = self._look(key, now_ms)
        if lease is None:
            return True
        if lease.frees_at() is not None:
            return False
        self._raise_floor(lease.fencing_token)
        self._sql.delete_text(LEASE + key)
        return True

    def clean_up(self, *, idle_ms: int, after: str, limit: int, now_ms: int) -> CleanedPage:
        """Forget, of the next `limit` keys after one, those that are free and were for `idle_ms`; the floor keeps their tokens."""
        page = self._sql.list_texts(LEASE, after=LEASE + after, limit=limit)
        idle = {name: lease for name, text in page if _is_idle(lease := StoredLease.from_text(text), idle_ms, now_ms)}
        if idle:
            self._raise_floor(max(lease.fencing_token for lease in idle.values()))
        for name in idle:
            self._sql.delete_text(name)
        next_after = page[-1][0].removeprefix(LEASE) if len(page) == limit else None
        return CleanedPage(removed=len(idle), next_after=next_after)

    def _grant(self, request: LeaseRequest, stored: StoredLease | None, *, token: int, now_ms: int) -> Grant:
        lease = StoredLease(
            fencing_token=token,
            owner=request.owner,
            request_id=request.request_id,
            ttl_ms=request.ttl_ms,
            delay_ms=request.delay_ms,
            expires_at=now_ms + request.ttl_ms,
            released_token=None if stored is None else stored.released_token,
        )
        self._write(request.key, stored, lease)
        return Grant(fencing_token=token, expires_at=lease.expires_at)

    def _end(self, key: str, stored: StoredLease, now_ms: int, *, is_holder: bool) -> bool:
        lease = stored.at(now_ms)
        if is_holder:
            self._write(key, stored, lease.given_back() if lease.is_live() else lease.opened())
        else:
            self._write(key, stored, lease)
        return is_holder and lease.is_live()

    def _look(self, key: str, now_ms: int) -> StoredLease | None:
        """The lease by this clock. One that has ended since it was looked at last is written down as over before anybody is told."""
        stored = self._read(key)
        if stored is None:
            return None
        lease = stored.at(now_ms)
        self._write(key, stored, lease)
        return lease

    def _read(self, key: str) -> StoredLease | None:
        text = self._sql.get_text(LEASE + key)
        return None if text is None else StoredLease.from_text(text)

    def _write(self, key: str, stored: StoredLease | None, lease: StoredLease) -> None:
        if lease != stored:
            self._sql.put_text(LEASE + key, lease.to_text())

    def _floor(self) -> int:
        return int(self._sql.get_text(FLOOR) or 0)

    def _raise_floor(self, token: int) -> None:
        if token > self._floor():
            self._sql.put_text(FLOOR, str(token))


def _is_idle(lease: StoredLease, idle_ms: int, now_ms: int) -> bool:
    # A token is the time of its grant, or later.
    last_ms = max(lease.fencing_token, lease.expires_at + lease.delay_ms, lease.opens_at)
    return last_ms <= now_ms - idle_ms
