"""A Worker with the two endpoints that the AI SDK's `useChat` asks: POST /api/chat, and GET /api/chat/{id}/stream to resume.

A question with FAIL fails after a word; one with HOLD ends when somebody has asked for /go/{id}.
"""

import asyncio
import json
from contextlib import suppress
from typing import Any

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
BEGINNING = ({"type": "start"}, {"type": "start-step"}, {"type": "text-start", "id": "t"})
END = ({"type": "text-end", "id": "t"}, {"type": "finish-step"}, {"type": "finish"})


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
        pages = MessageStreams(store.stream_namespace)
        path = request.url.split("/")[3:]
        if path[0] == "go":
            async with store.stream_manager.create_writer(f"go-{path[1]}", "test", "test") as writer:
                await writer.write({"type": "go"})
            return Response("")
        if request.method == "GET":
            return await pages.resume(path[2])
        asked = json.loads(await request.text())
        begun: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self.ctx.waitUntil(asyncio.create_task(_answer(store, asked["id"], asked["messages"], begun)))
        turn = await begun
        return await pages.follow(turn.stream_id, turn.from_sequence)


async def _answer(store: CloudflareStore, chat: str, messages: list[Any], begun: asyncio.Future[Turn]) -> None:
    asked = json.dumps(messages[-1])
    with suppress(_AsAskedError):
        async with store.turn(chat, agent_type="chat", messages=messages) as turn:
            begun.set_result(turn)
            await _write(turn, *BEGINNING)
            for number in range(WORDS):
                await asyncio.sleep(PACE_S)
                await _write(turn, {"type": "text-delta", "id": "t", "delta": f"wörd-{turn.number}-{number} "})
                _check(asked)
            if "HOLD" in asked:
                await _told_to_go_on(store, f"go-{chat}")
            await _write(turn, *END)


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
