"""The contract of a state store, part six: runs of an agent within a session."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, Unset
from agents_store_cloudflare.contract.state.records import Run

__all__ = ["RunStore"]


class RunStore(Protocol):
    """The part of a `StateStore` that keeps the runs of a session."""

    async def start_run(
        self,
        session_id: str,
        run_id: str,
        *,
        expect_statuses: Collection[str] | None = None,
        expect_current_run_id: str | Unset | None = UNSET,
        status: str = "running",
        step_count: int = 0,
        start_sequence: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> Run:
        """Start a run if the session is as expected; the conditions are checked within the write.

        Args:
            session_id: the session.
            run_id: a new id within the session.
            expect_statuses: the session's status must be one of these.
            expect_current_run_id: the current run must be this one; None means that there must be none. By default any may be.
            status: the status of the run. A status that ends a run is refused.
            step_count: how many steps the run has behind it.
            start_sequence: the place in the session's stream where the run begins.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.

        Returns:
            The run. Its `turn` is one more than the `turn` of the session's last run.

        Raises:
            RunConflictError: a condition does not hold, or the session has a run of this id.
            StateNotFoundError: there is no such session.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (7 rows read, 3 written).
        """
        ...

    async def update_run(
        self,
        session_id: str,
        run_id: str,
        *,
        status: str | None = None,
        step_count: int | None = None,
        completed_at: int | None = None,
        error: str | Unset | None = UNSET,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> Run:
        """Change the given facts of a run and leave the others.

        Args:
            session_id: the session.
            run_id: the run.
            status: "completed", "failed", "aborted" and "interrupted" end the run; any other status opens it again.
            step_count: how many steps the run has behind it.
            completed_at: when the run ended (milliseconds since 1970). By default it is now when the status ends the run.
            error: what went wrong, at most 50,000 bytes; None removes it.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again changes nothing.

        Returns:
            The run after the change.

        Raises:
            RunNotFoundError: the session has no such run. It is a `StateNotFoundError`.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (10 rows read, 2 written).
        """
        ...

    async def get_current_run(self, session_id: str) -> Run | None:
        """Return the latest run that has not ended, or None when there is none.

        Args:
            session_id: the session.

        Cost: 1 D1 batch (2 rows read).
        """
        ...

    async def list_runs(self, session_id: str, *, limit: int = 50, before_turn: int | None = None) -> list[Run]:
        """Return the runs of a session, the newest first.

        Args:
            session_id: the session.
            limit: the most runs, 1 to 1,000.
            before_turn: only runs with a lower `turn`; the lowest turn of one page gives the next page.

        Cost: 1 D1 batch (11 rows read).
        """
        ...
