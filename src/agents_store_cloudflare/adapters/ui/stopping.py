"""How a page stops an answer: it names the turn, and the turn asks whether somebody has."""

from __future__ import annotations

from typing import Final, Protocol

from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.state import AgentState, StateStore

__all__ = ["StoppableTurn", "request_stop", "stop_requested"]

_MARK: Final = "stop "


class StoppableTurn(Protocol):
    """What `stop_requested` needs of a turn."""

    id: str
    state: AgentState

    async def commit(self) -> None:
        """Store what the turn has so far, and load what others have changed."""
        ...


async def request_stop(states: StateStore, session_id: str, turn_id: str) -> None:
    """Ask a turn to stop, from any Worker. Costs two batches.

    Only that turn stops: a request that comes after its end stops no later one. A client that stops listening stops nothing.

    Args:
        states: `store.state_store`.
        session_id: the session of the turn.
        turn_id: the turn's id.

    Raises:
        StateNotFoundError: there is no such session.
        StaleStateError: somebody else saved at the same time, at each of 30 attempts.
        InvalidArgumentError: an id is no id.
    """
    mark = f"{_MARK}{check_id(turn_id, 'turn_id')}"

    def change(state: AgentState) -> None:
        state.abort_reason = mark

    await states.update_state(session_id, change)


async def stop_requested(turn: StoppableTurn) -> bool:
    """Commit the turn, and return whether somebody has asked it to stop. Costs one batch, or two when others have changed the session.

    Ask it now and then, not for each chunk: once a second is soon enough for a person.

    Raises:
        StaleStateError, StaleFencingTokenError, LockLostError, TurnError: as `turn.commit`.
    """
    await turn.commit()
    return turn.state.abort_reason == f"{_MARK}{turn.id}"
