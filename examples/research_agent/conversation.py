"""Pydantic-ai's messages as stored messages and back, without loss.

A stored message reads plainly (role, content, toolCalls …) for people and other programs; under `original` it carries
the message exactly as pydantic-ai had it, and that alone is read back.
"""

import json
from collections.abc import Sequence
from typing import Any, cast

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from agents_store_cloudflare import Message

__all__ = ["asked", "from_stored", "plain", "to_stored"]

ORIGINAL = "original"


def asked(question: str) -> Message:
    """Return the stored message for a question that nobody has answered yet."""
    return to_stored(ModelRequest(parts=[UserPromptPart(content=question)]))


def to_stored(message: ModelMessage) -> Message:
    """Return the message as the store keeps it."""
    original = json.loads(ModelMessagesTypeAdapter.dump_json([message]))[0]
    stored: dict[str, Any] = {"role": _role(message), "content": _content(message)}
    calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
    if calls:
        stored["toolCalls"] = [
            {"id": call.tool_call_id, "name": call.tool_name, "arguments": call.args_as_json_str()} for call in calls
        ]
    returns = [part for part in message.parts if isinstance(part, ToolReturnPart)]
    if returns:
        stored |= {"toolCallId": returns[0].tool_call_id, "toolName": returns[0].tool_name}
    return cast("Message", {**stored, ORIGINAL: original})


def from_stored(messages: Sequence[Message]) -> list[ModelMessage]:
    """Return the history that `to_stored` kept, equal to what it was."""
    originals = [cast("dict[str, Any]", message)[ORIGINAL] for message in messages]
    return ModelMessagesTypeAdapter.validate_json(json.dumps(originals))


def plain(message: Message) -> dict[str, object]:
    """Return what a reader wants to see of a stored message."""
    return {key: value for key, value in message.items() if key != ORIGINAL}


def _role(message: ModelMessage) -> str:
    if not isinstance(message, ModelRequest):
        return "assistant"
    return "user" if any(isinstance(part, UserPromptPart) for part in message.parts) else "tool"


def _content(message: ModelMessage) -> str:
    texts: list[str] = []
    for part in message.parts:
        if isinstance(part, ToolReturnPart):
            texts.append(part.model_response_str())
        elif isinstance(part, TextPart | UserPromptPart) and isinstance(part.content, str):
            texts.append(part.content)
    return "\n".join(texts)
