"""A Worker with the two endpoints that the AI SDK's `useChat` asks: POST /api/chat, and GET /api/chat/{id}/stream to resume.

POST /ag-ui and GET /ag-ui/{id}/run do the same for AG-UI's client. A question with FAIL fails after a word; one with HOLD ends when
somebody has asked for /go/{id}.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    CloudflareStore,
    LockServer,
    StreamOptions,
    StreamServer,
    create_cloudflare_store,
    run_migration,
)
from agents_store_cloudflare.adapters.ui import MessageStreams
from agents_store_cloudflare.turns import Turn

__all__ = ["Default", "LockServer", "StreamServer"]

WORDS = 12
PACE_S = 0.02


@dataclass(frozen=True)
class Script:
    """The chunks of an answer in one protocol: `beginning`, a delta for each word, `end`."""

    protocol: Literal["vercel", "ag-ui"]
    beginning: tuple[dict[str, Any], ...]
    delta: dict[str, Any]
    end: tuple[dict[str, Any], ...]


VERCEL = Script(
    protocol="vercel",
    beginning=({"type": "start"}, {"type": "start-step"}, {"type": "text-start", "id": "t"}),
    delta={"type": "text-delta", "id": "t"},
    end=({"type": "text-end", "id": "t"}, {"type": "finish-step"}, {"type": "finish"}),
)


def ag_ui(thread: str, run: str) -> Script:
    """Return a run with state, a tool call and its result, and a text."""
    ids, call, text = {"threadId": thread, "runId": run}, {"toolCallId": f"c-{run}"}, {"messageId": f"t-{run}"}
    return Script(
        protocol="ag-ui",
        beginning=(
            {"type": "RUN_STARTED", **ids},
            {"type": "STATE_SNAPSHOT", "snapshot": {"looked": 0}},
            {"type": "TOOL_CALL_START", **call, "toolCallName": "look_up"},
            {"type": "TOOL_CALL_ARGS", **call, "delta": '{"city": "Zürich"}'},
            {"type": "TOOL_CALL_END", **call},
            {"type": "TOOL_CALL_RESULT", **call, "messageId": f"r-{run}", "content": "dry", "role": "tool"},
            {"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/looked", "value": 1}]},
            {"type": "TEXT_MESSAGE_START", **text, "role": "assistant"},
        ),
        delta={"type": "TEXT_MESSAGE_CONTENT", **text},
        end=({"type": "TEXT_MESSAGE_END", **text}, {"type": "RUN_FINISHED", **ids}),
    )


class Default(WorkerEntrypoint):
    """The door for the test."""

    env: Any
    ctx: Any

    async def fetch(self, request: Request) -> Any:
        """Answer the AI SDK's transport."""
        await run_migration(self.env.AGENT_DB)
        store = create_cloudflare_store(
            db=self.env.AGENT_DB,
            streams=self.env.STREAMS,
            locks=self.env.LOCKS,
            stream_options=StreamOptions(flush_interval=0.02, wait_until=self.ctx.waitUntil),
        )
        path = request.url.split("/")[3:]
        pages = MessageStreams(store.stream_namespace, protocol="ag-ui" if path[0] == "ag-ui" else "vercel")
        if path[0] == "go":
            async with store.stream_manager.create_writer(f"go-{path[1]}", "test", "test") as writer:
                await writer.write({"type": "go"})
            return Response("")
        if request.method == "GET":
            return await pages.resume(path[-2])
        asked = json.loads(await request.text())
        begun: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        script = VERCEL if path[0] == "api" else ag_ui(asked["threadId"], asked["runId"])
        chat = asked["id"] if path[0] == "api" else asked["threadId"]
        self.ctx.waitUntil(asyncio.create_task(_answer(store, chat, asked["messages"], script, begun)))
        turn = await begun
        return await pages.follow(turn.stream_id, turn.from_sequence)


async def _answer(
    store: CloudflareStore, chat: str, messages: list[Any], script: Script, begun: asyncio.Future[Turn]
) -> None:
    asked = json.dumps(messages[-1])
    with suppress(_AsAskedError):
        async with store.turn(chat, agent_type="chat", messages=messages) as turn:
            begun.set_result(turn)
            await _write(turn, *script.beginning)
            for number in range(WORDS):
                await asyncio.sleep(PACE_S)
                await _write(turn, {**script.delta, "delta": f"wörd-{turn.number}-{number} "})
                _check(asked)
            if "HOLD" in asked:
                await _told_to_go_on(store, f"go-{chat}")
            await _write(turn, *script.end)


async def _told_to_go_on(store: CloudflareStore, flag: str) -> None:
    for _ in range(500):  # another request makes the flag, and no event of this one tells of it
        if await store.stream_manager.get_info(flag) is not None:
            return
        await asyncio.sleep(PACE_S)


async def _write(turn: Turn, *chunks: dict[str, Any]) -> None:
    for chunk in chunks:
        await turn.write(chunk)


def _check(asked: str) -> None:
    if "FAIL" in asked:
        raise _AsAskedError


class _AsAskedError(Exception):
    """The question was to fail."""
