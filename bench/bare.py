"""The floor of a home's calls: bare Durable Objects, one in plain JavaScript and one in Python, neither with the package.

Each answers as many bytes, and stores what a home stores: the tables of a new home, the rows of a save, an alarm.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from agents_store_cloudflare.homes.schema import BASE
from bench.findings import Published
from bench.jobs import Floor, Job
from bench.jobs.material import CUSTOM_STATE, messages
from bench.verdicts import milliseconds
from bench.workers import ServedWorker, served

__all__ = ["BARE", "Bare", "bare_section", "run_bare"]

UNUSED = Floor()
REPETITIONS = 20
HEAD = "| a bare object | JavaScript | Python | the home | Python over D1 |\n|---|--:|--:|--:|--:|"
TEXT = (
    "The floor, in the same run: bare Durable Objects of the same runtime, without this package, called from a Worker of their own "
    "language. The home and D1 do the whole work of the table above."
)

_STATE = """
    INSERT INTO __agents_states (session_id, session_no, agent_type, created_at, updated_at, custom_state)
    VALUES (?1, 1, 'bench', ?2, ?2, ?3)
"""
_BLOCK = """
    INSERT INTO __agents_message_blocks (id, count, body)
    SELECT 1 + coalesce(max(id), 0), ?1, ?2
    FROM __agents_message_blocks
"""
_UPDATE = """
    UPDATE __agents_states
    SET version = version + 1,
      updated_at = ?1
    WHERE session_id = 'bench'
"""
NOW_MS = 1_700_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """One line of the table.

    Attributes:
        work: the line of the table above that it is the floor of.
        is_new: each call goes to a new object. Otherwise one object has the tables before.
        statements: what the object runs in one transaction, as (SQL, parameters).
        reads: the reads of D1 before the calls.
        calls: how many calls one after the other.
        sent, replied: the characters of a request and of its reply.
    """

    name: str
    work: str
    is_new: bool = False
    statements: Sequence[tuple[str, Sequence[str | int]]] = ()
    reads: int = 0
    calls: int = 1
    sent: int
    replied: int

    def job(self) -> Job:
        """Return the job of both Workers."""
        order = {"statements": self.statements, "alarmMs": 60_000 if self.is_new and self.statements else 0}
        text = json.dumps({**order, "reply": self.replied}, separators=(",", ":"))
        padded = text[:-1] + f',"pad":"{"x" * max(0, self.sent - len(text) - 9)}"' + "}"
        given = {
            "text": padded,
            "first": json.dumps({"statements": _NEW, "alarmMs": 0, "reply": 0}),
            "fresh": self.is_new,
            "reads": self.reads,
            "calls": self.calls,
        }
        expected = {"characters": self.replied * self.calls * REPETITIONS}
        return Job(name=self.name, kind="bare", repetitions=REPETITIONS, input=given, expected=expected, floor=UNUSED)


def _text(count: int) -> str:
    return json.dumps(messages(count))


_NEW: Sequence[tuple[str, Sequence[str | int]]] = [
    *((sql, ()) for sql in BASE),
    (_STATE, ("bench", NOW_MS, json.dumps(CUSTOM_STATE))),
    (_BLOCK, (4, _text(4))),
]
_SAVE: Sequence[tuple[str, Sequence[str | int]]] = [(_UPDATE, (NOW_MS,)), (_BLOCK, (1, _text(1)))]

SAVE, PAGE, NEW = "save, 1 new message", "page of 50 at message 10,000", "first save of a new session"
TURN = "turn without a stream"

BARE = (
    Bare(name="an object that has two rows to store", work=SAVE, statements=_SAVE, sent=4_200, replied=140),
    Bare(name="an object that only replies", work=PAGE, sent=800, replied=len(_text(50))),
    Bare(name="a new object that only replies", work=NEW, is_new=True, sent=4_700, replied=140),
    Bare(
        name="a read of D1, then a new object that makes the tables of a home, stores two rows and sets an alarm",
        work=NEW,
        is_new=True,
        statements=_NEW,
        reads=1,
        sent=4_700,
        replied=140,
    ),
    Bare(name="two calls, and each stores two rows", work=TURN, statements=_SAVE, calls=2, sent=9_000, replied=6_000),
)


def run_bare(python: ServedWorker, pairs: int, work: Sequence[Published]) -> list[Published]:
    """Return every line's entry.

    Args:
        python: the Worker that has measured the works.
        work: their entries.
    """
    by_name = {entry["name"]: entry for entry in work}
    with served("JavaScript", "javascript_worker") as javascript:
        return [_measured(bare, javascript, python, pairs, by_name[bare.work]) for bare in BARE if bare.work in by_name]


def _measured(
    bare: Bare, javascript: ServedWorker, python: ServedWorker, pairs: int, work: Mapping[str, Any]
) -> Published:
    print(f"bench: {bare.name}, without the package", flush=True)
    job, times_ms = bare.job(), dict[str, list[float]](javascript=[], python=[])
    place = BARE.index(bare)
    for pair in range(-1, pairs):  # the first pair warms up
        sides = [("javascript", javascript), ("python", python)]
        for name, side in sides if pair % 2 == 0 else reversed(sides):
            elapsed_ms = side.measure(job, key=f"bare-{place}-{pair}").elapsed_ms
            if pair >= 0:
                times_ms[name].append(elapsed_ms)
    return {
        "name": bare.name,
        "work": bare.work,
        "javascriptMs": median(times_ms["javascript"]),
        "pythonMs": median(times_ms["python"]),
        "homesMs": work["homesMs"],
        "d1Ms": work["d1Ms"],
        "timesMs": times_ms,
    }


def bare_section(entries: Sequence[Published]) -> str:
    """One table."""
    return "\n".join([TEXT, "", HEAD, *map(_row, entries)])


def _row(entry: Published) -> str:
    times = [f"{milliseconds(entry[side])} ms" for side in ("javascriptMs", "pythonMs", "homesMs")]
    name = f"{entry['work']}: {entry['name']}"
    over_d1 = f"{entry['pythonMs'] / entry['d1Ms']:.2f}"
    return f"| {' | '.join([name, *times, over_d1])} |"
