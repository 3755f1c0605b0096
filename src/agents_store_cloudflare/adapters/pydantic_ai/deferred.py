"""Tool calls that wait for a person or another service. The turn is suspended, and the next turn goes on with the answers."""

from __future__ import annotations

import json
from typing import Final, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_ai.tools import DeferredToolRequests
from pydantic_core import PydanticSerializationError

from agents_store_cloudflare.adapters.errors import ForeignValueError
from agents_store_cloudflare.adapters.model_messages import told
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue
from agents_store_cloudflare.contract.state.records import Message
from agents_store_cloudflare.turns import Turn

__all__ = ["deferred_requests", "suspend_for"]

KEY: Final = "deferredToolRequests"

_requests: TypeAdapter[DeferredToolRequests] = TypeAdapter(DeferredToolRequests)


async def suspend_for(turn: Turn, requests: DeferredToolRequests, *messages: Message) -> None:
    """Store the messages of a run that waits for tool calls, and suspend the turn until somebody answers them.

    Args:
        turn: the turn that ran the agent.
        requests: the output of the run.
        messages: the messages for the session, from `messages_to_state`.

    Example:
        >>> if isinstance(result.output, DeferredToolRequests):
        ...     await suspend_for(turn, result.output, *messages_to_state(result.new_messages()))

    Raises:
        ForeignValueError: JSON cannot hold the requests; nothing was stored.
    """
    try:
        asked = cast("JsonObject", _requests.dump_python(requests, mode="json"))
    except PydanticSerializationError as error:
        raise ForeignValueError(f"the deferred tool requests cannot be stored as JSON: {error}") from error
    if messages:
        turn.add(*messages)
    await turn.suspend({KEY: asked})


def deferred_requests(context: JsonValue) -> DeferredToolRequests | None:
    """Return the tool calls for which the suspended turn waits, or None.

    Args:
        context: `turn.resumed_from`.

    Example:
        >>> if (requests := deferred_requests(turn.resumed_from)) is not None:
        ...     answers = requests.build_results(approvals={call.tool_call_id: True for call in requests.approvals})
        ...     result = await agent.run(message_history=messages_from_state(turn.messages), deferred_tool_results=answers)

    Raises:
        ForeignValueError: the context holds no requests of this version of pydantic-ai.
    """
    asked = context.get(KEY) if isinstance(context, dict) else None
    if asked is None:
        return None
    try:
        return _requests.validate_json(json.dumps(asked))
    except ValidationError as error:
        raise ForeignValueError(f"the context of the suspended turn is not from pydantic-ai: {told(error)}") from error
