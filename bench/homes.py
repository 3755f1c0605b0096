"""The same work on sessions in D1 and on sessions in homes, by one Worker, in alternating pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from math import comb
from typing import Any, Literal, TypeAlias

from bench.bare import bare_section, run_bare
from bench.findings import Published
from bench.jobs import Floor, Job, Preparation
from bench.jobs.material import CUSTOM_STATE, chunks, messages, session_of_turns, session_read_back
from bench.ratios import compared
from bench.verdicts import milliseconds
from bench.workers import BenchError, ServedWorker, served

__all__ = ["WORK", "Work", "homes_entry", "homes_section", "interval", "run_homes"]

Place: TypeAlias = Literal["d1", "homes"]

UNUSED = Floor()
"""These jobs are set beside each other, and beside no empty calls."""

STORED = 20
CHUNKS = 400
USAGE = {"model": "some-model", "prompt": 1_000, "completion": CHUNKS}
QUESTION = {"role": "user", "content": "What was stored?"}
HEAD = "| work | D1 | home | home over D1 | 95% of the median | limit | |\n|---|--:|--:|--:|--:|--:|---|"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One line of the table.

    Attributes:
        job: the work; the place of the session is added to its input and its preparations.
        most: the limit of the home's time over D1's.
    """

    job: Job
    most: float

    def at(self, place: Place) -> Job:
        """Return the job for sessions of one place."""
        return replace(
            self.job,
            input={**self.job.input, "place": place},
            preparations=tuple(_placed(each, place) for each in self.job.preparations),
        )


def _placed(preparation: Preparation, place: Place) -> Preparation:
    return Preparation(kind="placed session", input={**preparation.input, "place": place})


def _save(added: int, repetitions: int) -> Job:
    history, new = messages(STORED), messages(added, first=STORED)
    return Job(
        name=f"save, {added} new message{'s' if added > 1 else ''}",
        kind="placed_save",
        repetitions=repetitions,
        input={"state": {"messages": history, "customState": CUSTOM_STATE}, "added": new},
        expected=session_read_back([*history, *new * repetitions], step_count=repetitions),
        floor=UNUSED,
    )


def _load() -> Job:
    stored, session = messages(200, size_bytes=1_000), "placed-to-load"
    return Job(
        name="load 200 messages of 1 KB",
        kind="placed_load",
        repetitions=20,
        input={"session": session},
        expected=session_read_back(stored, step_count=50),
        floor=UNUSED,
        preparations=(session_of_turns(session, stored),),
    )


def _page() -> Job:
    stored, session, offset = messages(12_000), "placed-to-page", 10_000
    return Job(
        name="page of 50 at message 10,000",
        kind="placed_page",
        repetitions=40,
        input={"session": session, "offset": offset, "limit": 50},
        expected={"messages": stored[offset : offset + 50], "total": 12_000, "hasMore": True},
        floor=UNUSED,
        preparations=(session_of_turns(session, stored),),
    )


def _new() -> Job:
    history = messages(4)
    return Job(
        name="first save of a new session",
        kind="placed_new",
        repetitions=10,
        input={"state": {"messages": history, "customState": CUSTOM_STATE}},
        expected=session_read_back(history, step_count=0),
        floor=UNUSED,
    )


def _turn(chunk_count: int, repetitions: int) -> Job:
    history = messages(STORED)
    said = chunks(chunk_count)
    answer = {"role": "assistant", "content": "".join(chunk["text"] for chunk in said) or "As it was given."}
    return Job(
        name=f"turn with {chunk_count} chunks" if chunk_count else "turn without a stream",
        kind="placed_turn",
        repetitions=repetitions,
        input={"history": history, "question": QUESTION, "answer": answer, "chunks": said, "usage": USAGE},
        expected={
            "messages": [*history, *[QUESTION, answer] * repetitions],
            "chunks": [chunk["text"] for chunk in said] * repetitions,
            "tokens": (1_000 + CHUNKS) * repetitions,
        },
        floor=UNUSED,
    )


WORK = (
    Work(job=_save(1, 40), most=1.2),
    Work(job=_save(20, 20), most=1.2),
    Work(job=_load(), most=1.2),
    Work(job=_page(), most=1.2),
    Work(job=_new(), most=5.4),  # 12 ms where D1 took 2.2
    Work(job=_turn(CHUNKS, 3), most=0.75),
    Work(job=_turn(0, 10), most=0.7),
)


def run_homes(pairs: int, work: Sequence[Work] = WORK) -> tuple[list[Published], list[Published], list[str]]:
    """Return every work's entry, the entries of bare objects (`bench/bare.py`), and the failures. With a failure there are no entries.

    Args:
        pairs: how often both places do each work. They take turns in going first.
    """
    try:
        with served("Python", "python_worker") as worker:
            entries = [_measured(each, worker, pairs) for each in work]
            return entries, run_bare(worker, pairs, entries), []
    except BenchError as error:
        return [], [], [str(error)]


def _measured(work: Work, worker: ServedWorker, pairs: int) -> Published:
    print(f"bench: {work.job.name}, D1 and home", flush=True)
    times_ms: list[dict[Place, float]] = []
    for pair in range(-1, pairs):  # the first pair warms up
        places: tuple[Place, Place] = ("d1", "homes") if pair % 2 == 0 else ("homes", "d1")
        times_ms.append({place: _once(work.at(place), worker, f"{place}-{pair}") for place in places})
    return homes_entry(work, [(each["d1"], each["homes"]) for each in times_ms[1:]])


def _once(job: Job, worker: ServedWorker, key: str) -> float:
    for preparation in job.preparations:
        worker.prepare(preparation)
    slug = "".join(letter if letter.isalnum() else "-" for letter in job.name)
    return worker.measure(job, key=f"{slug}-{key}").elapsed_ms


def homes_entry(work: Work, pairs_ms: Sequence[tuple[float, float]]) -> Published:
    """Return one work as a published run has it.

    Args:
        pairs_ms: the milliseconds of (D1, home) in each pair.
    """
    comparison = compared(pairs_ms)
    ratios = [own / reference for reference, own in pairs_ms]
    low, high = interval(ratios)
    return {
        "name": work.job.name,
        "d1Ms": comparison.reference_median_ms,
        "homesMs": comparison.own_median_ms,
        "ratio": asdict(comparison.ratio),
        "interval": [low, high],
        "most": work.most,
        "timesMs": {"d1": list(comparison.reference_ms), "homes": list(comparison.own_ms)},
    }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the values between which the true median lies with 95%, by the order of the values alone.

    With fewer than six values it is the lowest and the highest of them.
    """
    ordered, count = sorted(values), len(values)
    rank, below = 0, 0.5**count
    while below <= 0.025 and rank < count // 2:
        rank += 1
        below += comb(count, rank) * 0.5**count
    return ordered[max(rank - 1, 0)], ordered[count - 1 - max(rank - 1, 0)]


def homes_section(run: Published) -> str:
    """One table, and one of bare objects beside it."""
    machine = run["machine"]
    head = (
        f"Measured on {datetime.fromisoformat(run['when']):%Y-%m-%d} in {run['rounds']} pairs, on {machine['cores']} cores of an "
        f"{machine['cpu']}, load {machine['loadBefore']} before it began."
    )
    lines = [head, "", HEAD, *map(_row, run["work"])]
    if "bare" in run:
        lines += ["", bare_section(run["bare"])]
    return "\n".join(lines)


def _row(entry: Mapping[str, Any]) -> str:
    low, high = entry["interval"]
    spread = f"{milliseconds(low)}–{milliseconds(high)}"
    cells = [
        entry["name"],
        f"{milliseconds(entry['d1Ms'])} ms",
        f"{milliseconds(entry['homesMs'])} ms",
        f"**{entry['ratio']['median']:.2f}**",
        spread,
        f"≤ {entry['most']:g}",
        _verdict(entry),
    ]
    return f"| {' | '.join(cells)} |"


def _verdict(entry: Mapping[str, Any]) -> str:
    """A limit is missed if even the lower end of the interval is above it."""
    if round(entry["ratio"]["median"], 2) <= entry["most"]:
        return "met"
    return "missed" if round(entry["interval"][0], 2) > entry["most"] else "open: the interval has the limit in it"
