"""A session as it stands, for the page and for people with curl."""

import asyncio

from agents_store_cloudflare import StateNotFoundError
from conversation import plain
from stores import Stores

__all__ = ["session_view"]


async def session_view(stores: Stores, session_id: str) -> dict[str, object]:
    """Return messages, latest checkpoint, usage, and whether a turn is running.

    Raises:
        StateNotFoundError: nobody has asked anything in this session.
    """
    with stores.meter() as m:
        state = await stores.states.load_state(session_id)
        if state is None:
            raise StateNotFoundError(session_id)
        checkpoint, usage, locked = await asyncio.gather(
            stores.states.get_latest_checkpoint(session_id),
            stores.usage.get_rollup(session_id),
            stores.locks.is_locked(session_id),
        )
    return {
        "sessionId": session_id,
        "status": state.status,
        "turns": state.step_count,
        "locked": locked,
        "messages": [plain(message) for message in state.messages],
        "checkpoint": checkpoint
        and {
            "id": checkpoint.id,
            "turn": checkpoint.step_count,
            "messageCount": checkpoint.message_count,
            "streamSequence": checkpoint.stream_sequence,
            "timestamp": checkpoint.timestamp,
        },
        "usage": usage.to_dict(),
        "cost": m.cost().to_dict(),
    }
