"""The present session, for the page and for people with curl."""

import asyncio

from agents_store_cloudflare import CloudflareStore, StateNotFoundError
from conversation import plain

__all__ = ["session_view"]


async def session_view(store: CloudflareStore, session_id: str) -> dict[str, object]:
    """Return messages, latest turn, latest checkpoint, usage, and whether a turn is running.

    Raises:
        StateNotFoundError: nobody has asked anything in this session.
    """
    with store.meter() as m:
        state = await store.state_store.load_state(session_id)
        if state is None:
            raise StateNotFoundError(session_id)
        # The lock is read first. If it is free and the latest turn is open afterwards, the turn's Worker has died, or a new turn
        # has begun.
        locked = await store.locks.is_locked(session_id)
        turns, checkpoint, usage = await asyncio.gather(
            store.state_store.list_runs(session_id, limit=1),
            store.state_store.get_latest_checkpoint(session_id),
            store.usage_store.get_rollup(session_id),
        )
    return {
        "sessionId": session_id,
        "latest": {"turn": turns[0].turn, "status": turns[0].status} if turns else None,
        "locked": locked,
        "messages": [plain(message) for message in state.messages],
        "checkpoint": checkpoint
        and {
            "id": checkpoint.id,
            "turnId": checkpoint.run_id,
            "messageCount": checkpoint.message_count,
            "streamSequence": checkpoint.stream_sequence,
            "timestamp": checkpoint.timestamp,
        },
        "usage": usage.to_dict(),
        "cost": m.cost().to_dict(),
    }
