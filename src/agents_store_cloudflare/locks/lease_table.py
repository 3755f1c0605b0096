"""The core of locking: leases with fencing tokens, synchronous, durable, on the storage of one Durable Object.

The table has no waiting, no callers and no clock: each call passes the time. Every decision reads one row by key and writes at most
one row, so no change can be half done.

A lease is a text under its key and not a row of a table. The reason: by default an object holds one key, and the runtime counts two
written rows for a new table. A later format must use another prefix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agents_store_cloudflare.database import ObjectSql
from agents_store_cloudflare.locks.floor import Floor
from agents_store_cloudflare.locks.lease import Grant, LeaseRequest, LostTokens, StoredLease

__all__ = ["CleanedPage", "LeaseTable"]

LEASE: Final = "lease_v1/"


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanedPage:
    """The number of keys that were forgotten, and the last key of the page; None at the end."""

    removed: int
    next_after: str | None


class LeaseTable:
    """Leases of keys: at most one live lease for each key, and tokens that rise with every grant of the key, for ever.

    A token is max(last + 1, now). It is stored before anybody gets it. No release, expiry, restart or jump of the clock lowers the
    next token. When a key is forgotten, its highest token stays stored, and every new key begins above it. When a caller was told
    that a lease is over, the end is stored, so no clock can bring the lease back. Many keys may share a table.
    """

    def __init__(self, sql: ObjectSql) -> None:
        self._sql = sql
        self._floor = Floor(sql)

    def acquire(self, request: LeaseRequest, *, now_ms: int) -> Grant | None:
        """Return a grant, or None while another request holds the key or the delay after an expiry lasts.

        The owner's name does not matter.

        A repetition of the newest granted request gets the same grant while the lease lasts. After the lease was given back, the
        repetition gets None: it is late, and nobody would use the lease.
        """
        stored = self._read(request.key)
        if stored is None:
            floor = self._floor.read()
            token = max(floor.token + 1, now_ms)
            return self._grant(request, floor.lost_of(request.key, first=token), token=token, now_ms=now_ms)
        is_repetition = stored.request_id == request.request_id
        lease = stored.at(now_ms)
        if lease.frees_at() is not None:
            self._write(request.key, stored, lease)
            if lease.is_live() and is_repetition:
                return Grant(fencing_token=lease.fencing_token, expires_at=lease.expires_at)
            return None
        if is_repetition and stored.is_released:
            return None
        token = max(stored.fencing_token + 1, now_ms)
        return self._grant(request, stored.all_lost(), token=token, now_ms=now_ms)

    def is_given_back(self, request: LeaseRequest) -> bool:
        """Return whether this request has the newest lease and that lease was given back.

        Then the request is a late repetition, and gets nothing.
        """
        stored = self._read(request.key)
        return stored is not None and stored.request_id == request.request_id and stored.is_released

    def refresh(self, key: str, *, fencing_token: int, ttl_ms: int, now_ms: int) -> int | None:
        """Move the end of the lease to `ttl_ms` from now, and return it. Return None if the token's lease is over."""
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
        """Give back the token's lease. Return whether it was live, now or at an earlier release with the same token.

        A repetition gets the first answer, even if others have held the key since or the key was forgotten. A release after the
        expiry ends the delay of the key, because the holder has stopped.
        """
        stored = self._read(key)
        if stored is None:
            return self._floor.read().was_released(key, fencing_token)
        if fencing_token != stored.fencing_token:
            self._end(key, stored, now_ms, is_holder=False)
            return fencing_token < stored.fencing_token and stored.lost.was_released(fencing_token)
        return self._end(key, stored, now_ms, is_holder=True) or stored.is_released

    def abandon(self, key: str, *, request_id: str, now_ms: int) -> bool:
        """Give back the lease that this request got. Return whether it was live."""
        stored = self._read(key)
        return stored is not None and self._end(key, stored, now_ms, is_holder=stored.request_id == request_id)

    def expires_at(self, key: str, *, now_ms: int) -> int | None:
        """Return the end of a key's live lease, or None if it has none. The call writes nothing for a key that was never granted."""
        lease = self.live_lease(key, now_ms=now_ms)
        return None if lease is None else lease.expires_at

    def live_lease(self, key: str, *, now_ms: int) -> StoredLease | None:
        """Return the live lease of a key, or None if it has none."""
        lease = self._look(key, now_ms)
        return lease if lease is not None and lease.is_live() else None

    def frees_at(self, key: str, *, now_ms: int) -> int | None:
        """Return the time at which the key becomes free: the end of its lease and of the delay after it. None if the key is free."""
        lease = self._look(key, now_ms)
        return None if lease is None else lease.frees_at()

    def delete(self, key: str, *, now_ms: int) -> bool:
        """Forget a free key, and keep its token in the floor. If the key is not free, return False and change nothing."""
        lease = self._look(key, now_ms)
        if lease is None:
            return True
        if lease.frees_at() is not None:
            return False
        self._floor.raise_to({key: lease})
        self._sql.delete_text(LEASE + key)
        return True

    def clean_up(self, *, idle_ms: int, after: str, limit: int, now_ms: int) -> CleanedPage:
        """Look at the next `limit` keys after `after`, and forget each one that has been free for `idle_ms`."""
        page = self._sql.list_texts(LEASE, after=LEASE + after, limit=limit)
        stored = {name.removeprefix(LEASE): StoredLease.from_text(text) for name, text in page}
        idle = {key: lease for key, lease in stored.items() if _is_idle(lease, idle_ms, now_ms)}
        self._floor.raise_to(idle)
        for key in idle:
            self._sql.delete_text(LEASE + key)
        next_after = page[-1][0].removeprefix(LEASE) if len(page) == limit else None
        return CleanedPage(removed=len(idle), next_after=next_after)

    def _grant(self, request: LeaseRequest, lost: LostTokens, *, token: int, now_ms: int) -> Grant:
        lease = StoredLease(
            fencing_token=token,
            owner=request.owner,
            request_id=request.request_id,
            ttl_ms=request.ttl_ms,
            delay_ms=request.delay_ms,
            expires_at=now_ms + request.ttl_ms,
            lost=lost,
        )
        self._write(request.key, None, lease)
        return Grant(fencing_token=token, expires_at=lease.expires_at)

    def _end(self, key: str, stored: StoredLease, now_ms: int, *, is_holder: bool) -> bool:
        lease = stored.at(now_ms)
        if is_holder:
            self._write(key, stored, lease.given_back() if lease.is_live() else lease.opened())
        else:
            self._write(key, stored, lease)
        return is_holder and lease.is_live()

    def _look(self, key: str, now_ms: int) -> StoredLease | None:
        """Return the lease at this time. An expiry is stored before the call returns."""
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
        if lease is not stored and lease != stored:
            self._sql.put_text(LEASE + key, lease.to_text())


def _is_idle(lease: StoredLease, idle_ms: int, now_ms: int) -> bool:
    # A token is the time of its grant, or later.
    last_ms = max(lease.fencing_token, lease.expires_at + lease.delay_ms, lease.opens_at)
    return last_ms <= now_ms - idle_ms
