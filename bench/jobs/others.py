"""The jobs on locks and usage, and the whole step of an agent."""

from bench.jobs.job import Floor, Job, Preparation, Target
from bench.jobs.material import CUSTOM_STATE, chunks, messages, session_read_back, usage_entry, usage_rollup

__all__ = ["lock_job", "rollup_job", "step_job", "usage_job", "waiters_job"]

MOST_ENTRIES_AT_ONCE = 1_000


def lock_job(*, repetitions: int, target: Target | None = None) -> Job:
    """Acquire a lock and release it. One more round goes before the timed ones, so the object is awake."""
    return Job(
        name="lock: acquire + release",
        kind="acquire_release",
        repetitions=repetitions,
        input={},
        expected={"grants": 1 + repetitions, "rising": True, "locked": False},
        floor=Floor(calls=2),
        target=target,
    )


def waiters_job(*, waiters: int, repetitions: int) -> Job:
    """All callers ask for one lock at once. The job is done when the last of them has had it."""
    return Job(
        name=f"lock: {waiters:,} waiters served",
        kind="waiters",
        repetitions=repetitions,
        input={"waiters": waiters},
        expected={"served": waiters * repetitions, "locked": False},
        floor=Floor(calls=2, lanes=waiters),
    )


def usage_job(*, count: int, repetitions: int, target: Target | None = None) -> Job:
    """Record entries with new ids in one call, and add them to the totals."""
    entries = [usage_entry(number) for number in range(count)]
    # The entries are read back by time, then insertion, so each entry appears once for every repetition.
    stored = [entry for entry in entries for _ in range(repetitions)]
    return Job(
        name=f"{count:,} usage entries with totals",
        kind="record_usage",
        repetitions=repetitions,
        input={"entries": entries},
        expected={"ids": len(stored), "entries": stored, "rollup": usage_rollup(entries, times=repetitions)},
        floor=Floor(batches=1),
        target=target,
    )


def rollup_job(*, count: int, repetitions: int) -> Job:
    """Read the totals of a session with so many entries."""
    entries = [usage_entry(number) for number in range(min(count, MOST_ENTRIES_AT_ONCE))]
    times = count // len(entries)
    session = f"to-sum-{count}"
    return Job(
        name=f"rollup of {count:,} usage entries",
        kind="rollup",
        repetitions=repetitions,
        input={"session": session},
        expected={"rollup": usage_rollup(entries, times=times)},
        floor=Floor(batches=1),
        preparations=(Preparation(kind="usage", input={"session": session, "entries": entries, "times": times}),),
    )


def step_job(*, chunk_count: int, repetitions: int, target: Target | None = None) -> Job:
    """Under a lock: load, stream, save with a checkpoint, one usage entry."""
    history, added, stream = messages(20), messages(4, first=20), chunks(chunk_count)
    entry = usage_entry(0)
    return Job(
        name=f"a whole agent step, {chunk_count:,} chunks",
        kind="step",
        repetitions=repetitions,
        input={
            "state": {"messages": history, "customState": CUSTOM_STATE},
            "added": added,
            "chunks": stream,
            "entry": entry,
        },
        expected={
            **session_read_back([*history, *added * repetitions], step_count=repetitions),
            "chunks": stream * repetitions,
            "checkpoints": repetitions,
            "rollup": usage_rollup([entry], times=repetitions),
            "locked": False,
        },
        # Lock, load, the flushes, save with checkpoint, usage, release.
        floor=Floor(batches=3, calls=2 + -(-chunk_count // 50)),
        target=target,
    )
