"""The contract of a state store, part seven: a session refers to the sessions of its sub-agents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, Unset
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.contract.state.records import SubSessionRef

__all__ = ["ReferenceStore"]


class ReferenceStore(Protocol):
    """The part of a `StateStore` that keeps references to sub-sessions."""

    async def add_sub_session_refs(
        self,
        session_id: str,
        refs: Iterable[SubSessionRef | Mapping[str, object]],
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> None:
        """Add references to sub-sessions. A sub-session that has a reference already keeps it unchanged.

        Args:
            session_id: the session that refers.
            refs: at least one reference.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again changes nothing.

        Raises:
            StateNotFoundError: there is no such session.
            StateSizeExceededError: an output is larger than the store's limit.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (23 rows read, 6 written).
        """
        ...

    async def update_sub_session_ref(
        self,
        session_id: str,
        sub_session_id: str,
        *,
        status: str | None = None,
        completed_at: int | None = None,
        output: JsonValue | Unset = UNSET,
        error: str | Unset | None = UNSET,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> None:
        """Change the given facts of a reference and leave the others.

        Args:
            session_id: the session that refers.
            sub_session_id: the sub-session.
            status: its new status.
            completed_at: when it ended (milliseconds since 1970).
            output: its result, any JSON; None removes it.
            error: what went wrong, at most 50,000 bytes; None removes it.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again changes nothing.

        Raises:
            SubSessionRefNotFoundError: the session has no such reference.
            StateSizeExceededError: the output is larger than the store's limit.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (7 rows read, 2 written).
        """
        ...

    async def get_sub_session_refs(self, session_id: str) -> list[SubSessionRef]:
        """Return the session's references in the order in which they were added.

        Args:
            session_id: the session that refers.

        Cost: 1 D1 batch (11 rows read).
        """
        ...
