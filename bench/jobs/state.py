"""The jobs on sessions."""

from typing import Any

from bench.jobs.job import Floor, Job, Target
from bench.jobs.material import CUSTOM_STATE, ROLES, changes, messages, session_of_turns, session_read_back

__all__ = ["checkpoint_job", "load_job", "page_job", "promote_job", "save_job"]

ONE_BATCH = Floor(batches=1)


def save_job(*, added: int, repetitions: int, stored: int = 20, target: Target | None = None) -> Job:
    """Save a session with this number of stored messages and `added` more, again and again."""
    history = messages(stored)
    new = messages(added, first=stored)
    return Job(
        name=f"save, {added} new message{'s' if added > 1 else ''}",
        kind="save",
        repetitions=repetitions,
        input={"state": {"messages": history, "customState": CUSTOM_STATE}, "added": new},
        expected=session_read_back([*history, *new * repetitions], step_count=repetitions),
        floor=ONE_BATCH,
        target=target,
    )


def load_job(*, count: int, repetitions: int, target: Target | None = None) -> Job:
    """Load a session with all its messages."""
    stored = messages(count, size_bytes=1_000)
    session = f"to-load-{count}"
    return Job(
        name=f"load {count:,} messages of 1 KB",
        kind="load",
        repetitions=repetitions,
        input={"session": session},
        expected=session_read_back(stored, step_count=count // len(ROLES)),
        floor=ONE_BATCH,
        target=target,
        preparations=(session_of_turns(session, stored),),
    )


def page_job(
    name: str, *, count: int, offset: int, limit: int = 50, repetitions: int, target: Target | None = None
) -> Job:
    """Read one page of a long session."""
    stored = messages(count)
    session = f"to-page-{count}"
    page = stored[offset : offset + limit]
    return Job(
        name=name,
        kind="page",
        repetitions=repetitions,
        input={"session": session, "offset": offset, "limit": limit},
        expected={"messages": page, "total": count, "hasMore": offset + len(page) < count},
        floor=ONE_BATCH,
        target=target,
        preparations=(session_of_turns(session, stored),),
    )


def checkpoint_job(*, stored: int, repetitions: int) -> Job:
    """Keep a checkpoint of a session, then take the session back to it."""
    history = messages(stored)
    return Job(
        name="checkpoint + restore",
        kind="checkpoint_restore",
        repetitions=repetitions,
        input={"state": {"messages": history, "customState": CUSTOM_STATE}},
        expected={**session_read_back(history, step_count=0), "checkpoints": repetitions},
        floor=Floor(batches=2),
    )


def promote_job(*, calls: int, repetitions: int) -> Job:
    """Apply the staged changes of a step's tool calls. The staging is not timed."""
    staged = changes(calls)
    return Job(
        name=f"promote {calls} tool calls",
        kind="promote",
        repetitions=repetitions,
        input={"state": {"messages": [], "customState": CUSTOM_STATE}, "changes": staged},
        expected={
            "applied": [change["toolCallId"] for change in staged],
            "customState": promoted_state(calls, times=repetitions),
        },
        floor=Floor(batches=2),
    )


def promoted_state(calls: int, *, times: int) -> dict[str, Any]:
    """Return the custom state after `changes(calls)`, computed without a patch library."""
    plan = [*CUSTOM_STATE["plan"], *[f"read {number}" for number in range(calls)] * times]
    results = {f"call-{number}": {"title": f"Result {number}", "score": number / 2} for number in range(calls)}
    return {**CUSTOM_STATE, "plan": plan[-len(CUSTOM_STATE["plan"]) :], "budget": {"left": 1}, **results}
