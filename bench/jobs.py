"""The jobs: what both Workers are given, and what both must read back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = Mapping[str, Any]

# An agent's turn: the user, the model's tool call, the tool's answer, the model.
ROLES = ("user", "assistant", "tool", "assistant")
START_MS = 1_700_000_000_000
CUSTOM_STATE: Json = {"topic": "durable storage", "plan": ["search", "read", "answer"], "budget": {"left": 12.5}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What both Workers make before anything is timed: the "tables", a "session", a "stream"."""

    kind: str
    input: Json


TABLES = Preparation(kind="tables", input={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One line of the table.

    Attributes:
        kind: the name under which both Workers know it.
        repetitions: within one measurement; their sum must be long beside the Workers' clock, which ticks every millisecond.
        expected: what a Worker must read back after one measurement.
    """

    name: str
    kind: str
    repetitions: int
    input: Json
    expected: Json
    preparations: tuple[Preparation, ...] = field(default=())


def all_jobs() -> list[Job]:
    """Every job, in the order of the table."""
    return [
        save_job("save, 1 new message", added=1, repetitions=40),
        save_job("save, 20 new messages", added=20, repetitions=20),
        load_job("load 200 messages of 1 KB", count=200, repetitions=20),
        page_job("page of 50 at message 10,000", count=12_000, offset=10_000, limit=50, repetitions=40),
        write_job("stream: write 1,000 chunks in 50s", count=1_000, repetitions=3),
        replay_job("stream: replay 1,000 chunks", count=1_000, repetitions=20),
        lock_job("lock: acquire + release", repetitions=40),
        usage_job("100 usage entries with totals", count=100, repetitions=10),
    ]


def save_job(name: str, *, added: int, repetitions: int) -> Job:
    """Save a session of 20 messages with `added` more, again and again."""
    history = messages(20)
    new = messages(added, first=20)
    return Job(
        name=name,
        kind="save",
        repetitions=repetitions,
        input={"state": {"messages": history, "customState": CUSTOM_STATE}, "added": new},
        expected=session_read_back([*history, *new * repetitions], step_count=repetitions),
    )


def load_job(name: str, *, count: int, repetitions: int) -> Job:
    """Load a session with all its messages."""
    stored = messages(count, size_bytes=1_000)
    return Job(
        name=name,
        kind="load",
        repetitions=repetitions,
        input={"session": "to-load"},
        expected=session_read_back(stored, step_count=count // len(ROLES)),
        preparations=(session_of_turns("to-load", stored),),
    )


def page_job(name: str, *, count: int, offset: int, limit: int, repetitions: int) -> Job:
    """Read one page from far inside a long session."""
    stored = messages(count)
    return Job(
        name=name,
        kind="page",
        repetitions=repetitions,
        input={"session": "to-page", "offset": offset, "limit": limit},
        expected={"messages": stored[offset : offset + limit], "total": count, "hasMore": True},
        preparations=(session_of_turns("to-page", stored),),
    )


def write_job(name: str, *, count: int, repetitions: int) -> Job:
    """Write a new stream."""
    stream = chunks(count)
    return Job(
        name=name,
        kind="stream_write",
        repetitions=repetitions,
        input={"chunks": stream},
        expected={"chunks": stream},
    )


def replay_job(name: str, *, count: int, repetitions: int) -> Job:
    """Read a stored stream from its beginning."""
    stream = chunks(count)
    return Job(
        name=name,
        kind="stream_replay",
        repetitions=repetitions,
        input={"stream": "to-replay", "count": count},
        expected={"chunks": stream},
        preparations=(Preparation(kind="stream", input={"stream": "to-replay", "chunks": stream}),),
    )


def lock_job(name: str, *, repetitions: int) -> Job:
    """Take a lock and give it back. The object is awake: one more round goes before the timed ones."""
    return Job(
        name=name,
        kind="acquire_release",
        repetitions=repetitions,
        input={},
        expected={"grants": 1 + repetitions, "rising": True, "locked": False},
    )


def usage_job(name: str, *, count: int, repetitions: int) -> Job:
    """Record entries under ids that are made on the spot, in one call, and add them to the totals."""
    entries = [usage_entry(number) for number in range(count)]
    # Read back by time, then insertion: each entry stands once for every repetition.
    stored = [entry for entry in entries for _ in range(repetitions)]
    tokens = [entry["tokens"] for entry in stored if "tokens" in entry]
    rollup = {
        "entryCount": len(stored),
        **{name: sum(counts[name] for counts in tokens) for name in ("prompt", "cached", "total")},
        "durationMs": sum(entry.get("durationMs", 0) for entry in stored),
    }
    return Job(
        name=name,
        kind="record_usage",
        repetitions=repetitions,
        input={"entries": entries},
        expected={"ids": count * repetitions, "entries": stored, "rollup": rollup},
    )


def session_of_turns(session: str, stored: list[Json]) -> Preparation:
    """A session saved once a turn, as an agent saves it."""
    turns = [stored[first : first + len(ROLES)] for first in range(0, len(stored), len(ROLES))]
    state: Json = {"messages": [], "customState": CUSTOM_STATE}
    return Preparation(kind="session", input={"session": session, "state": state, "turns": turns})


def session_read_back(stored: list[Json], *, step_count: int) -> Json:
    """What both sides say of a session."""
    return {"status": "active", "stepCount": step_count, "customState": CUSTOM_STATE, "messages": stored}


def messages(count: int, *, first: int = 0, size_bytes: int = 200) -> list[Json]:
    """Messages of about that size as JSON."""
    return [message(number, size_bytes) for number in range(first, first + count)]


def message(number: int, size_bytes: int) -> Json:
    """One message; no two of a session are equal."""
    text = f"Message {number} says “what was stored is read back the same”. "
    return {"role": ROLES[number % len(ROLES)], "content": text * (size_bytes // len(text))}


def chunks(count: int) -> list[Json]:
    """Chunks as a model's tokens arrive, each with all that a stored chunk has."""
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


def usage_entry(number: int) -> Json:
    """Three model calls, then a tool call, and so on."""
    entry: dict[str, Any] = {
        "stepCount": number // 4,
        "timestamp": START_MS + number,
        "source": {"type": "agent", "name": "bench"},
    }
    if number % 4 == 3:
        return {**entry, "kind": "tool", "toolName": "search", "durationMs": 120 + number, "success": True}
    counts = {"prompt": 1_000 + number, "completion": 200, "reasoning": 50, "cached": 800, "total": 1_200 + number}
    return {**entry, "kind": "tokens", "model": "some-model", "tokens": counts}
