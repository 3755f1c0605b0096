"""Turns pydantic-ai's messages into messages of a session, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, cast

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    UserPromptPart,
)

from agents_store_cloudflare.adapters.errors import ForeignValueError
from agents_store_cloudflare.adapters.model_messages import message_json, told
from agents_store_cloudflare.contract.state.records import Message

__all__ = ["messages_from_state", "messages_to_state"]


def messages_to_state(messages: Iterable[ModelMessage]) -> list[Message]:
    """Return the messages for a session: each in pydantic-ai's own JSON, with a `role` for other readers.

    Example:
        >>> turn.add(*messages_to_state(result.new_messages()))

    Raises:
        ForeignValueError: JSON cannot hold a message.
    """
    return [
        cast("Message", {"role": _role(message), **message_json(message, f"message {number}")})
        for number, message in enumerate(messages)
    ]


def messages_from_state(messages: Sequence[Message]) -> list[ModelMessage]:
    """Return the original messages from the result of `messages_to_state`.

    Example:
        >>> result = await agent.run(question, message_history=messages_from_state(turn.messages))

    Raises:
        ForeignValueError: another program or a newer pydantic-ai made a message. The error names its number.
    """
    return [_restored(message, number) for number, message in enumerate(messages)]


def _restored(message: Message, number: int) -> ModelMessage:
    own: dict[str, Any] = {key: value for key, value in message.items() if key != "role"}
    try:
        [restored] = ModelMessagesTypeAdapter.validate_json(json.dumps([own]))
    except ValueError as error:
        raise ForeignValueError(f"message {number} of the session is not from pydantic-ai: {told(error)}") from error
    return restored


def _role(message: ModelMessage) -> str:
    if not isinstance(message, ModelRequest):
        return "assistant"
    return "user" if any(isinstance(part, UserPromptPart) for part in message.parts) else "tool"
