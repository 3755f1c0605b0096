"""`KeptSession`: a session that is read, changed in Python and saved, by compare and save, until nobody came in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from agents_store_cloudflare.contract.arguments import FencingToken, check_fencing_token, check_id
from agents_store_cloudflare.contract.errors import StaleStateError, StateNotFoundError
from agents_store_cloudflare.contract.state.agent_state import AgentState
from agents_store_cloudflare.contract.usage.records import UsageEntry
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.state.contention import MOST_ATTEMPTS, pause_after_conflict

__all__ = ["Change", "KeptSession"]

T = TypeVar("T")

Change = tuple[T, Sequence[UsageEntry] | None]
"""The result of a change, and the usage that is stored with it. None instead of the usage: nothing is to be stored."""


class KeptSession:
    """One session of a store. A change costs one batch while nobody else writes, because the last state is kept for the next change."""

    def __init__(self, session_id: str, database: object, *, agent_type: str, fencing_token: FencingToken) -> None:
        self.session_id: str = check_id(session_id, "session_id")
        self._store = D1StateStore(database)
        self._agent_type = check_id(agent_type, "agent_type")
        check_fencing_token(fencing_token)
        self._token: FencingToken = fencing_token
        self._kept: AgentState | None = None

    async def read(self) -> AgentState | None:
        """Return what is stored now, or None."""
        return await self._store.load_state(self.session_id)

    async def change(self, change: Callable[[AgentState], Change[T]]) -> T:
        """Change the session. The first change makes it.

        Args:
            change: changes the state. It is called again, with a newly read state, if somebody else has written in between.

        Raises:
            StaleFencingTokenError: a newer holder of the lock has written.
            StaleStateError: others have written in between thirty times.
        """
        state, self._kept = self._kept, None  # a call that comes meanwhile reads for itself
        attempt = 0
        while True:
            is_new = state is None
            if state is None:
                state = await self.read() or await self._create()
            result, usage = change(state)
            if usage is None:
                if not is_new:  # nothing to store, judged by an old state: read again
                    state = None
                    continue
                return result
            try:
                await self._store.save(state, fencing_token=self._token, usage=usage)
            except (StaleStateError, StateNotFoundError) as error:
                attempt += 1
                if attempt == MOST_ATTEMPTS or (isinstance(error, StaleStateError) and error.reason == "edited"):
                    raise
                state = None
                await pause_after_conflict(attempt)
            else:
                self._kept = state
                return result

    async def _create(self) -> AgentState:
        return await self._store.create_session(
            self.session_id, agent_type=self._agent_type, exist_ok=True, fencing_token=self._token
        )
