"""Lets a page stop an answer. The page requests it by the turn's id, and the turn asks for such a request now and then."""

from __future__ import annotations

from typing import Final, Protocol

from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.state import AgentState, StateStore

__all__ = ["StoppableTurn", "request_stop", "stop_requested"]

_MARK: Final = "stop "

_MOST_MARKS: Final = 16
"""The requests that a session keeps, the newest. Only one turn runs at a time, so older ones are for turns that have ended."""


class StoppableTurn(Protocol):
    """The part of a turn that `stop_requested` uses."""

    id: str
    state: AgentState

    async def commit(self) -> None:
        """Store the changes of the turn so far, and load the changes of others."""
        ...


async def request_stop(states: StateStore, session_id: str, turn_id: str) -> None:
    """Ask a turn to stop, from any Worker. It costs two batches.

    Only the turn with this id stops. A request after its end stops no later turn. A client that stops listening stops no turn.

    Args:
        states: `store.state_store`.
        session_id: the session of the turn.
        turn_id: the turn's id.

    Raises:
        StateNotFoundError: there is no such session.
        StaleStateError: somebody else saved at the same time, at each of 30 attempts.
        InvalidArgumentError: an id is not valid.
    """
    mark = f"{_MARK}{check_id(turn_id, 'turn_id')}"

    def change(state: AgentState) -> None:
        earlier = [each for each in _marks(state) if each != mark]
        state.abort_reason = "\n".join([*earlier, mark][-_MOST_MARKS:])

    await states.update_state(session_id, change)


async def stop_requested(turn: StoppableTurn) -> bool:
    """Commit the turn, and return whether somebody has asked it to stop.

    It costs one batch, or two if others have changed the session.

    Call it about once a second, not for each chunk. That is soon enough for a person.

    Raises:
        StaleStateError, StaleFencingTokenError, LockLostError, TurnError: as `turn.commit`.
    """
    await turn.commit()
    return f"{_MARK}{turn.id}" in _marks(turn.state)


def _marks(state: AgentState) -> list[str]:
    """Return the requests to stop, one a line, the oldest first: a request for one turn hides none for another."""
    reason = state.abort_reason or ""
    return reason.split("\n") if reason.startswith(_MARK) else []
