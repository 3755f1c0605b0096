"""One agent in five places: a request whose client goes away, a queue, a cron trigger, a Durable Object, a workflow step."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from workers import DurableObject, Request, Response, WorkerEntrypoint, WorkflowEntrypoint

from agents_store_cloudflare import (
    CloudflareStore,
    LockServer,
    StreamServer,
    TurnEndedError,
    create_cloudflare_store,
)

__all__ = ["Answers", "Default", "LockServer", "Room", "StreamServer"]


def store_of(env: Any) -> CloudflareStore:
    """The stores on these bindings."""
    return create_cloudflare_store(db=env.AGENT_DB, streams=env.STREAMS, locks=env.LOCKS)


async def agent(store: CloudflareStore, session_id: str, turn_id: str, *, fails: bool = False) -> str:
    """One turn, which a retry with the same id does not run again once it has succeeded."""
    question = {"role": "user", "content": f"question {turn_id}"}
    try:
        async with store.turn(session_id, agent_type="x", turn_id=turn_id, messages=[question], wait=20) as turn:
            for number in range(5):
                await turn.write({"type": "text", "text": f"{turn_id} {number}"})
                await asyncio.sleep(0.05)
            if fails and turn.number == 1:
                raise ValueError("the first attempt fails")
            turn.add({"role": "assistant", "content": f"answer {turn_id}"})
    except TurnEndedError:
        return "before"
    return "now"


class Default(WorkerEntrypoint):
    """The request, the queue and the cron trigger."""

    env: Any
    ctx: Any

    async def fetch(self, request: Request) -> Response:
        """GET /?op=…&session=…: ask in one of the places, or report."""
        asked = dict(parse_qsl(urlsplit(request.url).query))
        session, store = asked.get("session", ""), store_of(self.env)
        match asked.get("op"):
            case "migrate":
                await store.migrate()
            case "fetch":
                work = asyncio.ensure_future(agent(store, session, "t"))
                self.ctx.waitUntil(work)
                return Response(await asyncio.shield(work))
            case "queue":
                for _ in range(2):  # a queue may deliver a message twice
                    await self.env.QUESTIONS.send(session)
            case "room":
                return Response(await self.env.ROOMS.getByName(session).ask(session))
            case "workflow":
                await self.env.ANSWERS.create(id=session)
            case _:
                return Response(json.dumps(await report(store, session)))
        return Response("done")

    async def queue(self, batch: Any, *_: Any) -> None:
        """The first delivery of a message fails; the next ones run the turn once."""
        for message in batch.messages:
            await agent(store_of(self.env), message.body, "t", fails=True)
            message.ack()

    async def scheduled(self, *_: Any) -> None:
        """A cron trigger has a turn of its own."""
        store = store_of(self.env)
        await agent(store, "scheduled", "t")
        await store.sweep_turns()


class Room(DurableObject):
    """A user's own Durable Object."""

    env: Any

    async def ask(self, session: str) -> str:
        """Have a turn."""
        return await agent(store_of(self.env), session, "t")


class Answers(WorkflowEntrypoint):
    """A step that fails once, and is retried with the same turn id."""

    env: Any

    async def run(self, event: Any, step: Any) -> None:
        session = event["instanceId"]

        async def answer() -> str:
            return await agent(store_of(self.env), session, "t", fails=True)

        retries = {"limit": 3, "delay": "1 second", "backoff": "constant"}
        await step.do("answer", config={"retries": retries})(answer)()


async def report(store: CloudflareStore, session: str) -> dict[str, Any] | None:
    """What a session has."""
    state = await store.state_store.load_state(session)
    if state is None:
        return None
    async with store.stream_manager.create_reader(session, follow=False) as reader:
        ends = [chunk["type"] async for chunk in reader if chunk["type"].startswith("turn-")]
    runs = [run.status for run in (await store.state_store.list_runs(session))[::-1]]
    return {"messages": [each.get("content") for each in state.messages], "runs": runs, "ends": ends}
