"""The data of the jobs: messages, chunks, usage entries, changes, and their sessions."""

from typing import Any

from bench.jobs.job import Json, Preparation

__all__ = [
    "CUSTOM_STATE",
    "ROLES",
    "changes",
    "chunks",
    "messages",
    "session_of_turns",
    "session_read_back",
    "usage_entry",
    "usage_rollup",
]

# The messages of an agent's turn: the user, the model's tool call, the tool's answer, the model.
ROLES = ("user", "assistant", "tool", "assistant")
START_MS = 1_700_000_000_000
CUSTOM_STATE: Json = {"topic": "durable storage", "plan": ["search", "read", "answer"], "budget": {"left": 12.5}}


def messages(count: int, *, first: int = 0, size_bytes: int = 200) -> list[Json]:
    """Messages of about that size as JSON."""
    return [message(number, size_bytes) for number in range(first, first + count)]


def message(number: int, size_bytes: int) -> Json:
    """Return one message. No two messages of a session are equal."""
    text = f"Message {number} says “what was stored is read back the same”. "
    return {"role": ROLES[number % len(ROLES)], "content": text * (size_bytes // len(text))}


def session_of_turns(session: str, stored: list[Json]) -> Preparation:
    """Return a session saved once a turn, as an agent saves it."""
    turns = [stored[first : first + len(ROLES)] for first in range(0, len(stored), len(ROLES))]
    state: Json = {"messages": [], "customState": CUSTOM_STATE}
    return Preparation(kind="session", input={"session": session, "state": state, "turns": turns})


def session_read_back(stored: list[Json], *, step_count: int) -> dict[str, Any]:
    """Return the description of a session that both sides give."""
    return {"status": "active", "stepCount": step_count, "customState": CUSTOM_STATE, "messages": stored}


def chunks(count: int) -> list[Json]:
    """Return chunks like a model's tokens, each with all keys of a stored chunk."""
    return [
        {
            "type": "text-delta",
            "text": f"token {number} ",
            "agentId": "agent-1",
            "agentType": "bench",
            "timestamp": START_MS + number,
        }
        for number in range(count)
    ]


def changes(count: int) -> list[Json]:
    """Return the changes of so many tool calls of one step, as JSON Patch. The plan keeps its length."""
    return [
        {
            "toolCallId": f"call-{number}",
            "patches": [
                {"op": "add", "path": f"/call-{number}", "value": {"title": f"Result {number}", "score": number / 2}},
                {"op": "replace", "path": "/budget/left", "value": count - number},
                {"op": "add", "path": "/plan/-", "value": f"read {number}"},
                {"op": "remove", "path": "/plan/0"},
            ],
            "timestamp": START_MS + number,
        }
        for number in range(count)
    ]


def usage_entry(number: int) -> Json:
    """Return a usage entry: three model calls, then a tool call, and so on."""
    entry: dict[str, Any] = {
        "stepCount": number // 4,
        "timestamp": START_MS + number,
        "source": {"type": "agent", "name": "bench"},
    }
    if number % 4 == 3:
        return {**entry, "kind": "tool", "toolName": "search", "durationMs": 120 + number, "success": True}
    counts = {"prompt": 1_000 + number, "completion": 200, "reasoning": 50, "cached": 800, "total": 1_200 + number}
    return {**entry, "kind": "tokens", "model": "some-model", "tokens": counts}


def usage_rollup(entries: list[Json], *, times: int) -> Json:
    """Return the totals of entries that were recorded so many times."""
    tokens = [entry["tokens"] for entry in entries if "tokens" in entry]
    return {
        "entryCount": len(entries) * times,
        **{name: sum(counts[name] for counts in tokens) * times for name in ("prompt", "cached", "total")},
        "durationMs": sum(entry.get("durationMs", 0) for entry in entries) * times,
    }
