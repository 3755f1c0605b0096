"""The contract of a usage store, part one: entries are recorded, read and deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken
from agents_store_cloudflare.contract.usage.records import UsageEntry

__all__ = ["EntryStore"]


class EntryStore(Protocol):
    """The part of a `UsageStore` that keeps entries."""

    async def record_entry(
        self,
        entry: UsageEntry | Mapping[str, object],
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> UsageEntry:
        """Store one entry. An entry whose id is stored already changes nothing.

        Args:
            entry: the entry, as a record or a mapping.
            fencing_token: the lock of the entry's session, or its token.
            commit_id: a name for this request. The same request under it again stores nothing twice.

        Returns:
            The stored entry with its id and time.

        Raises:
            InvalidArgumentError: the entry breaks a rule, which the message names.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1-2 D1 batches (4-16 rows read, 0-7 written).
        """
        ...

    async def record_entries(
        self,
        entries: Sequence[UsageEntry | Mapping[str, object]],
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> list[UsageEntry]:
        """Store entries in one batch, all or none.

        Args:
            entries: the entries, as records or mappings.
            fencing_token: the lock of all the entries' sessions, or its token. A call whose entries are all stored already is answered
                with any token.
            commit_id: a name for this request. It gives ids to entries without one, so that the same request under it again stores
                nothing twice.

        Returns:
            The stored entries with their ids and times, in the order of `entries`.

        Raises:
            InvalidArgumentError: an entry breaks a rule, which the message names; or two entries have the same id.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (210 rows read, 492 written).
        """
        ...

    async def get_entries(
        self,
        session_id: str,
        *,
        kinds: Sequence[str] | None = None,
        step_range: tuple[int, int] | Mapping[str, int] | None = None,
        run_id: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[UsageEntry]:
        """Return the entries of a session, ordered by time, then by insertion.

        Args:
            session_id: the session.
            kinds: only entries of these kinds. An empty sequence matches nothing.
            step_range: only entries of these steps: (low, high) or {"min": low, "max": high}, both included.
            run_id: only entries of this run. A turn's run has the id of the turn. All entries of the session are read.
            limit: the most entries; None for all.
            offset: how many entries to leave out at the beginning.

        Cost: 1 D1 batch (110-200 rows read).
        """
        ...

    async def delete(
        self, session_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> int:
        """Delete the entries and the totals of a session.

        Args:
            session_id: the session.
            fencing_token: the lock of the session, or its token.
            commit_id: a name for this request. The same request under it again gives the first count, and leaves entries that were
                recorded since. With it, the store repeats the call by itself after a lost reply.

        Returns:
            How many entries were deleted.

        Raises:
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (26-491 rows read, 1-17 written).
        """
        ...

    async def delete_old_entries(
        self,
        age: float | timedelta | None = None,
        *,
        age_ms: float | None = None,
        keep_totals: bool = False,
        commit_id: str | None = None,
    ) -> int:
        """Delete the entries that are older than an age, by their timestamps and the database's clock.

        Args:
            age: seconds, or a timedelta. Entries strictly older than this are deleted.
            age_ms: the same in milliseconds.
            keep_totals: leave the totals as they are. They say in `kept_entries` how many of their entries were deleted.
            commit_id: as for `delete`.

        Returns:
            How many entries were deleted.

        Cost: 2 D1 batches (914 rows read, 102 written).
        """
        ...
