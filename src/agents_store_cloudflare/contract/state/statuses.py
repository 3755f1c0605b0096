"""The contract of a state store, part two: a session's status and its counters change without a load of the session."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken
from agents_store_cloudflare.contract.state.records import CasResult

__all__ = ["StatusStore"]


class StatusStore(Protocol):
    """The part of a `StateStore` that changes a status or a counter in place."""

    async def update_status(
        self, session_id: str, status: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> int:
        """Set the status of a session, whatever it is now.

        Args:
            session_id: the session.
            status: any text that is not empty, at most 2,000 bytes. `AgentStatus` has the usual ones.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.

        Returns:
            The new version.

        Raises:
            StateNotFoundError: there is no such session.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (3 rows read, 1 written).
        """
        ...

    async def compare_and_set_status(
        self,
        session_id: str,
        expected: Collection[str],
        new: str,
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> CasResult:
        """Set the status if it is one of the expected ones. Of several callers at once, one succeeds.

        Args:
            session_id: the session.
            expected: the statuses that may be replaced, compared exactly. An empty collection never matches.
            new: the new status, at most 2,000 bytes.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.

        Returns:
            A result that is true when the status was set. Otherwise it holds the present status, and nothing was written.

        Raises:
            TypeError: `expected` is a single text.
            StateNotFoundError: there is no such session.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (5 rows read, 0-1 written).
        """
        ...

    async def increment_resume_count(
        self, session_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> int:
        """Add one to `resume_count`. Every call counts, also when several run at once.

        Args:
            session_id: the session.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again counts once.

        Returns:
            The new count.

        Raises:
            InvalidArgumentError: the count is 2^53-1.
            StateNotFoundError: there is no such session.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (3 rows read, 1 written).
        """
        ...

    async def increment_step_count(
        self, session_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> int:
        """Add one to `step_count`. Every call counts, also when several run at once.

        Args:
            session_id: the session.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again counts once.

        Returns:
            The new count.

        Raises:
            InvalidArgumentError: the count is 2^53-1.
            StateNotFoundError: there is no such session.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (3 rows read, 1 written).
        """
        ...
