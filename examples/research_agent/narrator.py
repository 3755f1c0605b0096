"""Writes what an agent does into a stream: each piece of text, each tool call and its result, as one chunk."""

import time
from collections.abc import AsyncIterable

from pydantic_ai import RunContext
from pydantic_ai.messages import (
    AgentStreamEvent,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)

from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.turns import Turn

__all__ = ["Narrator"]


class Narrator:
    """One turn's chunks. Pydantic-ai calls `follow` with the events of each model request and its tools."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._started: dict[str, float] = {}

    async def say(self, kind: str, **facts: JsonValue) -> None:
        """Write one chunk of this turn."""
        await self._turn.write({"type": kind, "turn": self._turn.number, **facts})

    async def follow(self, _context: RunContext[None], events: AsyncIterable[AgentStreamEvent]) -> None:
        """Write the chunks for these events as they come."""
        async for event in events:
            if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                await self._text(event.part.content)
            elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                await self._text(event.delta.content_delta)
            elif isinstance(event, FunctionToolCallEvent):
                await self._tool_call(event)
            elif isinstance(event, FunctionToolResultEvent):
                await self._tool_result(event)

    async def _text(self, text: str) -> None:
        if text:
            await self.say("text", text=text)

    async def _tool_call(self, event: FunctionToolCallEvent) -> None:
        call = event.part
        self._started[call.tool_call_id] = time.monotonic()
        await self.say(
            "tool-call", toolCallId=call.tool_call_id, toolName=call.tool_name, arguments=call.args_as_json_str()
        )

    async def _tool_result(self, event: FunctionToolResultEvent) -> None:
        part = event.part
        ok, content = part.outcome == "success", part.model_response_str()
        await self.say("tool-result", toolCallId=part.tool_call_id, toolName=part.tool_name, ok=ok, content=content)
        duration_s = time.monotonic() - self._started[part.tool_call_id]
        self._turn.record_tool(tool_name=part.tool_name, duration_ms=round(duration_s * 1000), success=ok)
