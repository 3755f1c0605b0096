"""The smallest Worker that remembers. Every request adds a message to a session, and the answer has all messages."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    AgentsStoreError,
    AgentState,
    CloudflareStore,
    LockServer,
    Message,
    StreamServer,
    create_cloudflare_store,
    estimate,
)

__all__ = ["Default", "LockServer", "StreamServer"]


class Default(WorkerEntrypoint):
    """GET /?session=ada&say=hello."""

    env: Any  # the bindings of wrangler.toml

    async def fetch(self, request: Request) -> Response:
        """Store the text under the session's lock, and send it to the readers of the stream."""
        query = parse_qs(urlsplit(request.url).query)
        session_id, said = query.get("session", ["ada"])[0], query.get("say", ["hello"])[0]
        store = create_cloudflare_store(db=self.env.AGENT_DB, streams=self.env.STREAMS, locks=self.env.LOCKS)
        try:
            await store.migrate()
            with store.meter() as m:
                state = await remember(store, session_id, said)
        except AgentsStoreError as error:
            return Response(json.dumps(error.to_dict()), status=error.http_status)
        # The meter shows you the costs. Without it nothing is counted.
        cost = f"{m.d1.round_trips} D1 round trips, {m.objects.calls} calls to objects: {estimate(m.cost())}"
        return Response(json.dumps({"version": state.version, "messages": state.messages, "cost": cost}))


async def remember(store: CloudflareStore, session_id: str, said: str) -> AgentState:
    """Add one message to the session in a turn, and send it to the readers of the session's stream."""
    asked: Message = {"role": "user", "content": said}
    async with store.turn(session_id, agent_type="quickstart", messages=[asked], wait=5) as turn:
        await turn.write({"type": "said", "text": said})
    return turn.state
