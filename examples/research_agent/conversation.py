"""The parts of a stored message that a reader wants to see: role, content, tool calls."""

from pydantic_ai.messages import ModelMessage, TextPart, ToolCallPart, ToolReturnPart, UserPromptPart

from agents_store_cloudflare import Message
from agents_store_cloudflare.adapters.pydantic_ai import messages_from_state

__all__ = ["plain"]


def plain(stored: Message) -> dict[str, object]:
    """Return the message without the parts that only pydantic-ai needs."""
    [message] = messages_from_state([stored])
    shown: dict[str, object] = {"role": stored.get("role"), "content": _content(message)}
    calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
    if calls:
        shown["toolCalls"] = [
            {"id": call.tool_call_id, "name": call.tool_name, "arguments": call.args_as_json_str()} for call in calls
        ]
    returns = [part for part in message.parts if isinstance(part, ToolReturnPart)]
    if returns:
        shown |= {"toolCallId": returns[0].tool_call_id, "toolName": returns[0].tool_name}
    return shown


def _content(message: ModelMessage) -> str:
    texts: list[str] = []
    for part in message.parts:
        if isinstance(part, ToolReturnPart):
            texts.append(part.model_response_str())
        elif isinstance(part, TextPart | UserPromptPart) and isinstance(part.content, str):
            texts.append(part.content)
    return "\n".join(texts)
