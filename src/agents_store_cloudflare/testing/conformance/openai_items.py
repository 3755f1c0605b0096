"""Items of a conversation of the OpenAI Agents SDK, for the tests of sessions."""

from __future__ import annotations

from typing import Any

__all__ = ["ANSWER", "CALL", "ITEMS", "OUTPUT", "REASONING", "texts", "users"]

CALL: dict[str, Any] = {"type": "function_call", "call_id": "call-1", "name": "look_up", "arguments": '{"word": "fen"}'}
OUTPUT: dict[str, Any] = {"type": "function_call_output", "call_id": "call-1", "output": "a low wet land"}
REASONING: dict[str, Any] = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "look it up"}],
}
ANSWER: dict[str, Any] = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "A fen is low wet land.", "annotations": []}],
}

ITEMS: dict[str, dict[str, Any]] = {
    "a user's text": {"role": "user", "content": "what is a fen?"},
    "an assistant's text": {"role": "assistant", "content": "low wet land"},
    "a system text": {"role": "system", "content": "be short"},
    "a developer's text": {"role": "developer", "content": "be kind"},
    "an answer": ANSWER,
    "reasoning without a role": REASONING,
    "an encrypted reasoning": {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAAB" * 200},
    "a refusal": {**ANSWER, "content": [{"type": "refusal", "refusal": "no"}]},
    "an image": {
        "role": "user",
        "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"}],
    },
    "a file": {"role": "user", "content": [{"type": "input_file", "filename": "fen.pdf", "file_data": "AAAA"}]},
    "a call": CALL,
    "a web search": {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "fen"},
    },
    "a compaction": {"type": "compaction", "id": "cmp_1", "encrypted_content": "x"},
    "a reference": {"type": "item_reference", "id": "msg_9"},
    "an approval request": {
        "type": "mcp_approval_request",
        "id": "apr_1",
        "name": "t",
        "arguments": "{}",
        "server_label": "s",
    },
    "an empty text": {"role": "user", "content": ""},
    "an empty object": {},
    "null": {"role": "user", "content": None},
    "nested": {"role": "user", "content": "x", "extra": {"a": [1, 2.5, True, None, {"b": []}]}},
    "other scripts": {"role": "user", "content": "fen 🌾 湿地 \u0627 e\u0301"},
    "lines and quotes": {"role": "user", "content": "a\nb\t\"c\" 'd' \\ e"},
    "the database's words": {"role": "user", "content": "'); DROP TABLE agent_messages; --"},
    "a large text": {"role": "user", "content": "fen " * 50_000},
    "numbers": {"role": "user", "content": "x", "n": [0, -1, 2**53, 0.1, 1e-9]},
    "keys of the store": {"role": "user", "content": "x", "sequence": 3, "session_id": "y", "thinking": "z"},
}


def texts(items: list[Any]) -> list[str]:
    """Return the texts of user items."""
    return [item["content"] for item in items]


def users(*contents: str) -> list[Any]:
    """Return user items with these texts."""
    return [{"role": "user", "content": content} for content in contents]
