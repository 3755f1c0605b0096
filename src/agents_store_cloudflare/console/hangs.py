"""Finds out why a session hangs, from its row, its lock and its stream, and says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agents_store_cloudflare.console.listing import SessionSummary
from agents_store_cloudflare.console.text import age
from agents_store_cloudflare.contract.record import Record
from agents_store_cloudflare.contract.state.records import Run
from agents_store_cloudflare.contract.streams.records import StreamInfo

__all__ = ["Finding", "LockFacts", "StreamFacts", "findings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFacts(Record):
    """The lock of a session, from the lock's object.

    Attributes:
        held: True when somebody holds it now.
    """

    held: bool
    owner: str | None = None
    fencing_token: int | None = None
    expires_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts(Record):
    """The stream of a session, from the stream's object.

    Attributes:
        info: the facts of the stream. None if there is no stream, or it could not be reached.
        closed_turns: the turns whose closing chunk is among the stream's last chunks.
    """

    info: StreamInfo | None = None
    closed_turns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Record):
    """A fact that an operator should know.

    Attributes:
        code: a stable name, for programs.
        level: "hang": the session does not go on by itself; "warn": look at it; "ok": there is no fault.
        text: the fact and its reason.
        remedy: the act of the console that repairs it, or None.
    """

    code: str
    level: Literal["hang", "warn", "ok"]
    text: str
    remedy: Literal["sweep", "delete"] | None = None


def findings(
    session: SessionSummary, lock: LockFacts | None, stream: StreamFacts, runs: list[Run], now_ms: int
) -> list[Finding]:
    """Return the findings about a session, the worst first.

    Args:
        lock: the facts of the lock. None if there is no lock to ask: on the host, or in a store without locks.
        runs: the newest runs of the session.
    """
    found = [
        _turn(session, lock, now_ms),
        _owed(session, stream),
        *_open_runs(session, lock, runs, now_ms),
        _expired(session, now_ms),
        _paused(session, stream.info),
        _suspended(session),
        _only_locked(session, lock),
    ]
    order = {"hang": 0, "warn": 1, "ok": 2}
    return sorted((each for each in found if each is not None), key=lambda each: order[each.level])


def _turn(session: SessionSummary, lock: LockFacts | None, now_ms: int) -> Finding | None:
    turn = session.open_turn
    if turn is None:
        return None
    named = f"Turn {turn.get('turn')} ({turn.get('turnId')})"
    since = age(session.turn_since, now_ms)
    if lock is None:
        return Finding(
            code="turn-open",
            level="warn",
            text=f"{named} has been open for {since}. Whether it runs or is dead, only the session's lock tells, and no lock can be "
            "asked from here.",
        )
    if not lock.held:
        return Finding(
            code="turn-dead",
            level="hang",
            text=f"{named} has been open for {since}, but nobody holds the session's lock: the Worker that ran it died or was cut off, "
            "and its lease has ended. It stays open until the session's next turn or a sweep marks it interrupted; until then its "
            "readers wait.",
            remedy="sweep",
        )
    if lock.fencing_token is not None and lock.fencing_token != turn.get("token"):
        return Finding(
            code="turn-superseded",
            level="warn",
            text=f"{named} has been open for {since} with token {turn.get('token')}, but the lock is held with token "
            f"{lock.fencing_token}: another holder has taken over. The open turn can change nothing more. If the holder is a turn "
            "that is just entering, it closes the open one.",
        )
    return Finding(code="turn-running", level="ok", text=f"{named} is running: open for {since}, and its lock is held.")


def _owed(session: SessionSummary, stream: StreamFacts) -> Finding | None:
    missing = [turn_id for turn_id in session.owed_closings if turn_id not in stream.closed_turns]
    if not missing or stream.info is None or stream.info.status != "active":
        return None
    return Finding(
        code="chunk-owed",
        level="hang",
        text=f"The chunk that closes turn {missing[-1]} is stored with the session, but is not in the stream {session.stream_id}: its "
        "readers wait for the end of a turn that is over. The session's next turn or a sweep sends it.",
        remedy="sweep",
    )


def _open_runs(session: SessionSummary, lock: LockFacts | None, runs: list[Run], now_ms: int) -> list[Finding]:
    turn_id = (session.open_turn or {}).get("turnId")
    open_runs = [run for run in runs if run.completed_at is None and run.run_id != turn_id]
    found: list[Finding] = []
    for run in open_runs:
        named = f"Run {run.turn} ({run.run_id}, status {run.status}) has been open for {age(run.started_at, now_ms)}"
        if lock is not None and not lock.held:
            text = (
                f"{named}, but nobody holds the session's lock. If the agent uses the lock, whoever ran it is gone: end the run with "
                "update_run. A run without locks may still be going on."
            )
            found.append(Finding(code="run-without-lock", level="hang", text=text))
        elif lock is None:
            found.append(Finding(code="run-open", level="warn", text=f"{named}."))
        else:
            found.append(Finding(code="run-running", level="ok", text=f"{named}, and the lock is held."))
    return found


def _expired(session: SessionSummary, now_ms: int) -> Finding | None:
    if session.expires_at is None or session.expires_at > now_ms:
        return None
    return Finding(
        code="expired",
        level="warn",
        text=f"The session expired {age(session.expires_at, now_ms)} ago and is still here: nothing runs cleanup_expired_sessions, or "
        "has not yet. A cron trigger does that.",
        remedy="delete",
    )


def _paused(session: SessionSummary, stream: StreamInfo | None) -> Finding | None:
    if stream is None or stream.status != "paused" or session.status == "suspended":
        return None
    return Finding(
        code="stream-paused",
        level="warn",
        text="The stream is paused and takes no chunks, but the session is not suspended. resume_stream opens it again.",
    )


def _suspended(session: SessionSummary) -> Finding | None:
    if session.status != "suspended":
        return None
    return Finding(
        code="suspended",
        level="ok",
        text="The session is suspended: it waits for somebody to begin its next turn, with what it asked for. See its state.",
    )


def _only_locked(session: SessionSummary, lock: LockFacts | None) -> Finding | None:
    if lock is None or not lock.held or session.open_turn is not None or session.open_run_count:
        return None
    return Finding(
        code="locked-idle",
        level="warn",
        text="Somebody holds the session's lock, but no turn or run is open: a turn is just beginning or ending, or the holder uses the "
        "lock for something else. Its lease ends by itself.",
    )
