"""Turns of a pydantic-ai agent on request, and what they leave behind, so that a test outside can compare it."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from import_cost import import_cost
from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    AgentsStoreError,
    D1UsageStore,
    DurableObjectLockManager,
    LockServer,
    UsageOptions,
    run_migration,
)

__all__ = ["Default", "LockServer"]

PAUSE_S = 0.02


class Default(WorkerEntrypoint):
    """GET /?op=…: migrate, turn, report."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Do one thing, with a store of its own."""
        asked = dict(parse_qsl(urlsplit(request.url).query))
        try:
            answer = await getattr(self, f"_{asked['op']}")(asked)
        except AgentsStoreError as error:
            return Response(json.dumps(error.to_dict()), status=error.http_status)
        return answer if isinstance(answer, Response) else Response(json.dumps(answer))

    async def _migrate(self, _: dict[str, str]) -> object:
        await run_migration(self.env.AGENT_DB)
        return import_cost("agents_store_cloudflare.adapters.pydantic_ai", "pydantic_ai")

    async def _turn(self, asked: dict[str, str]) -> object:
        """Answer, and reply when everything is stored."""
        from pydantic_ai.conversation import Conversation
        from pydantic_ai.conversation_store import ConversationConflict

        from agents_store_cloudflare.adapters.pydantic_ai import D1ConversationStore

        session, question = asked["session"], f"question {asked['turn']}"
        locks = DurableObjectLockManager(self.env.LOCKS, default_ttl=2)
        async with locks.lock(session, wait=8, auto_refresh=True) as lock:
            store = D1ConversationStore(self.env.AGENT_DB, fencing_token=lock, usage=UsageOptions())
            conversation = await store.load(session) or Conversation(conversation_id=session)
            if question not in _texts(conversation.messages):
                result = await _agent().run(question, conversation=conversation)
                try:
                    await store.save(result)
                except ConversationConflict:
                    # The former holder lost its lock and wrote after this one had loaded. The caller asks again.
                    return Response(json.dumps({"status": "conflict"}), status=409)
        return {"status": "completed"}

    async def _report(self, asked: dict[str, str]) -> object:
        from agents_store_cloudflare.adapters.pydantic_ai import D1ConversationStore

        conversation = await D1ConversationStore(self.env.AGENT_DB).load(asked["session"])
        messages: list[Any] = [] if conversation is None else conversation.messages
        usage = await D1UsageStore(self.env.AGENT_DB).get_rollup(asked["session"])
        spent = sum(message.usage.total_tokens for message in messages if message.kind == "response")
        return {"messages": _texts(messages), "spent": spent, "recorded": usage.tokens.total}


def _agent() -> Any:
    """An agent that thinks with a tool, and answers."""
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import FunctionModel

    async def reply(messages: list[Any], _: Any) -> ModelResponse:
        await asyncio.sleep(PAUSE_S)
        texts = _texts(messages)
        name = next(text for text in reversed(texts) if text.startswith("question ")).removeprefix("question ")
        if texts[-1].startswith("question "):
            return ModelResponse(parts=[ToolCallPart("think", {"name": name})])
        return ModelResponse(parts=[TextPart(f"answer {name}")])

    agent = Agent(FunctionModel(reply))

    @agent.tool_plain
    async def think(name: str) -> str:
        await asyncio.sleep(PAUSE_S)
        return f"step {name}"

    return agent


def _texts(messages: list[Any]) -> list[str]:
    """Questions, results of tools and answers."""
    parts = [part for message in messages for part in message.parts]
    return [part.content for part in parts if part.part_kind in {"user-prompt", "tool-return", "text"}]
