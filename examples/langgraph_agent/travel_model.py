"""Stands for a model, without a network: it looks a city up, asks to book, and says what came of it. It always answers alike."""

from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage

__all__ = ["reply"]


def reply(messages: list[AnyMessage]) -> AIMessage:
    """The next message of the assistant."""
    last = messages[-1]
    if not isinstance(last, ToolMessage):
        return _calling("look_up", {"city": last.text.strip()}, len(messages))
    if last.name == "look_up" and "costs" in last.text:
        city, price = last.text.split(" costs ")
        return _calling("book", {"city": city, "price": int(price)}, len(messages))
    return AIMessage(f"{last.text}.")


def _calling(name: str, arguments: dict[str, Any], number: int) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{number}"}])
