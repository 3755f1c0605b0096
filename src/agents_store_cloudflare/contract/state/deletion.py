"""The contract of a state store, part eight: sessions are deleted with everything that belongs to them."""

from __future__ import annotations

from typing import Protocol

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken
from agents_store_cloudflare.contract.state.records import SessionTree

__all__ = ["DeletionStore"]


class DeletionStore(Protocol):
    """The part of a `StateStore` that deletes sessions and resets their fences."""

    async def delete_session(
        self,
        session_id: str,
        *,
        delete_usage: bool = False,
        expected_version: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> bool:
        """Delete a session with everything that belongs to it, and its descendants by `parent_session_id`.

        One small row stays under the id. It holds the highest fencing token, so that a stale holder stays refused. It also holds the
        last commit ids, so that a late repetition does not touch a session that is made later. A sub-session to which the session
        refers as remote stays, and is logged.

        Args:
            session_id: the session.
            delete_usage: also delete the sessions' usage, from the table that the store's usage options name.
            expected_version: delete only at this version; None deletes at any.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.

        Returns:
            Whether there was such a session.

        Raises:
            StaleStateError: the session has another version than `expected_version`.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (42-659 rows read, 0-24 written).
        """
        ...

    async def get_session_tree(self, session_id: str) -> SessionTree:
        """Return the sessions and streams that `delete_session` would delete, and the remote sub-sessions that it would leave alone.

        Args:
            session_id: the session.

        Cost: 1 D1 batch (128 rows read).
        """
        ...

    async def cleanup_expired_sessions(
        self, now: int | None = None, limit: int = 100, *, delete_usage: bool = False
    ) -> list[str]:
        """Delete expired sessions with their descendants, the earliest expired first.

        Args:
            now: a session is expired when its `expires_at` is not after this time (milliseconds since 1970). The default is the
                present by the database's clock.
            limit: the most expired sessions, 1 to 1,000. Their descendants come on top.
            delete_usage: also delete the sessions' usage.

        Returns:
            The ids of all deleted sessions.

        Cost: 1 D1 batch (49-83 rows read, 0-3 written).
        """
        ...

    async def reset_fence(self, session_id: str) -> None:
        """Forget the highest fencing token of a session id, so that any token is good again.

        Operators use it when their lock service has lost its count.

        Args:
            session_id: the session.

        Cost: 1 D1 batch (1 row read, 1 written).
        """
        ...
