"""Writes what an agent does into a stream: each piece of text, each tool call and its result, as one chunk."""

import time
from collections.abc import AsyncIterable
from dataclasses import dataclass

from pydantic_ai import RunContext
from pydantic_ai.messages import (
    AgentStreamEvent,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolReturnPart,
)

from agents_store_cloudflare import StreamWriter
from agents_store_cloudflare.contract.json_values import JsonValue

__all__ = ["Narrator", "ToolUse"]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One tool call that has returned."""

    tool_name: str
    duration_ms: int
    success: bool


class Narrator:
    """One turn's chunks. Its `follow` is what pydantic-ai calls with the events of each model request and its tools."""

    def __init__(self, writer: StreamWriter, turn: int) -> None:
        self._writer = writer
        self._turn = turn
        self._started: dict[str, float] = {}
        self.tools_used: list[ToolUse] = []

    async def say(self, kind: str, **facts: JsonValue) -> None:
        """Write one chunk of this turn."""
        await self._writer.write({"type": kind, "turn": self._turn, **facts})

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
        ok = isinstance(part, ToolReturnPart)
        content = part.model_response_str() if isinstance(part, ToolReturnPart) else part.model_response()
        await self.say("tool-result", toolCallId=part.tool_call_id, toolName=part.tool_name, ok=ok, content=content)
        duration_s = time.monotonic() - self._started[part.tool_call_id]
        self.tools_used.append(ToolUse(part.tool_name or "unknown", round(duration_s * 1000), ok))
