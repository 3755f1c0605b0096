"""Shows messages for people: speaker and text, tool calls with folded results, and thinking apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from agents_store_cloudflare.console.html import Child, Markup, element as h
from agents_store_cloudflare.console.text import cut, one_line, pretty_json

__all__ = ["messages_list"]

_CALLS: Final = ("toolCalls", "tool_calls")
_THINKING: Final = ("thinking", "reasoning", "reasoning_content")
_CALL_IDS: Final = ("toolCallId", "tool_call_id")
_NAMES: Final = ("name", "toolName", "tool_name")
_SHOWN: Final = frozenset({"role", "content", *_CALLS, *_THINKING, *_CALL_IDS, *_NAMES})


def messages_list(messages: Sequence[Mapping[str, Any]], first: int, whole: Mapping[int, str] | None) -> Markup:
    """Return a list of messages in their order.

    Args:
        first: the sequence of the first message.
        whole: sequence -> the URL of the page with the whole message. None shows whole messages here.
    """
    items = [
        _message(message, first + place, None if whole is None else whole[first + place])
        for place, message in enumerate(messages)
    ]
    return h("ol", items, class_="messages", start=first)


def _message(message: Mapping[str, Any], sequence: int, whole: str | None) -> Markup:
    role = _text(message.get("role"))
    kind = role if role in {"user", "assistant", "system", "tool", "developer"} else "other"
    named = " ".join(one_line(_text(message[key]), 80) for key in (*_NAMES, *_CALL_IDS) if message.get(key))
    is_result = kind == "tool"
    parts = _content(message.get("content"), whole)
    return h(
        "li",
        h(
            "p",
            h("span", one_line(role, 40), class_=f"role {kind}"),
            h("small", f" {named}" if named else None, f" #{sequence}"),
            class_="who",
        ),
        [_folded("Thinking", _text(message[key]), whole, "thinking") for key in _THINKING if message.get(key)],
        _folded_parts("Result", parts, _summary_of(message.get("content"))) if is_result else parts,
        [_call(call, whole) for key in _CALLS for call in _calls(message.get(key))],
        _rest(message, whole),
        value=sequence,
        class_=f"message {kind}",
        id=f"m{sequence}",
    )


def _content(content: object, whole: str | None) -> list[Child]:
    """Return the text of a message, or its blocks in the form of Anthropic's and OpenAI's messages."""
    if content is None or content == "":
        return []
    if not isinstance(content, list):
        return [_prose(content, whole) if isinstance(content, str) else _long(pretty_json(content), whole, "code")]
    return [_block(block, whole) for block in cast("list[object]", content)]


def _block(block: object, whole: str | None) -> Child:
    if not isinstance(block, dict):
        return _prose(block, whole) if isinstance(block, str) else _long(pretty_json(block), whole, "code")
    part = cast("Mapping[str, object]", block)
    match part:
        case {"type": "thinking", "thinking": str(text)}:
            return _folded("Thinking", text, whole, "thinking")
        case {"type": "tool_use", "name": name}:
            return _folded(f"Calls {one_line(_text(name), 60)}", pretty_json(part.get("input")), whole, "call")
        case {"type": "tool_result"}:
            return _folded_parts("Result", _content(part.get("content"), whole), _summary_of(part.get("content")))
        case {"text": str(text)}:
            return _prose(text, whole)
        case _:
            return _folded(one_line(_text(part.get("type", "part")), 60), pretty_json(part), whole, "part")


def _calls(calls: object) -> list[object]:
    return cast("list[object]", calls) if isinstance(calls, list) else [] if calls is None else [calls]


def _call(call: object, whole: str | None) -> Markup:
    if not isinstance(call, dict):
        return _folded("Calls a tool", _readable(call), whole, "call")
    fields = cast("Mapping[str, object]", call)
    inner = fields.get("function")
    source = cast("Mapping[str, object]", inner) if isinstance(inner, dict) else fields
    name = _text(source.get("name") or source.get("toolName") or "a tool")
    given = next((key for key in ("arguments", "args", "input") if key in source), None)
    return _folded(f"Calls {one_line(name, 60)}", _readable(fields if given is None else source[given]), whole, "call")


def _readable(arguments: object) -> str:
    """Return the arguments of a tool call. They are often JSON inside a text."""
    if isinstance(arguments, str):
        try:
            return pretty_json(json.loads(arguments))
        except (ValueError, RecursionError):
            return arguments
    return pretty_json(arguments)


def _rest(message: Mapping[str, Any], whole: str | None) -> Child:
    rest = {key: value for key, value in message.items() if key not in _SHOWN}
    return _folded("More", pretty_json(rest), whole, "rest") if rest else None


def _prose(text: str, whole: str | None) -> Markup:
    """Return text that may be markdown. It is shown unchanged, and the script of the page formats it."""
    return _long(text, whole, "prose")


def _long(text: str, whole: str | None, kind: str) -> Markup:
    shown, is_cut = cut(text) if whole is not None else (text, False)
    show_all = h("p", h("a", f"Show all {len(text):,} characters", href=whole)) if is_cut else None
    return h("div", h("pre", shown, class_=kind), show_all)


def _folded(title: str, text: str, whole: str | None, kind: str) -> Markup:
    return _folded_parts(
        title, [_long(text, whole, "code" if kind != "thinking" else "prose")], one_line(text, 80), kind
    )


def _folded_parts(title: str, parts: Sequence[Child], hint: str, kind: str = "result") -> Markup:
    return h("details", h("summary", title, " ", h("small", hint)), parts, class_=kind)


def _summary_of(content: object) -> str:
    return one_line(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), 80)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
