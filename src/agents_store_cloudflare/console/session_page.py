"""The overview of one session: its work, its holder, its cost, and the reason if it hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from agents_store_cloudflare.console.asking import Asked, Shown
from agents_store_cloudflare.console.budgets_page import budgets_of, budgets_table
from agents_store_cloudflare.console.hangs import Finding, LockFacts, findings
from agents_store_cloudflare.console.html import Child, Markup, element as h, joined
from agents_store_cloudflare.console.layout import facts, more, note, panel, table, tabs
from agents_store_cloudflare.console.listing import SessionSummary, list_tree, read_summary
from agents_store_cloudflare.console.messages import messages_list
from agents_store_cloudflare.console.session_usage import UsageLine, session_usage, usage_panel
from agents_store_cloudflare.console.sessions_page import signs, status_mark
from agents_store_cloudflare.console.streams import stream_facts
from agents_store_cloudflare.console.text import age, clock, one_line
from agents_store_cloudflare.console.values import shown_value
from agents_store_cloudflare.contract.errors import D1StateError, LockError, StateNotFoundError
from agents_store_cloudflare.contract.record import Record
from agents_store_cloudflare.contract.state.records import Run, SubSessionRef
from agents_store_cloudflare.contract.streams.records import StreamInfo
from agents_store_cloudflare.contract.usage.budgets import Budget

__all__ = ["runs_table", "session_page", "summary_of"]

RUNS = 10
MESSAGES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView(Record):
    """The facts on the page of a session, without messages.

    Attributes:
        lock: None if there is no lock to ask.
        stream: None if there is no stream, or it could not be reached.
    """

    session: SessionSummary
    findings: tuple[Finding, ...]
    lock: LockFacts | None
    stream: StreamInfo | None
    runs: tuple[Run, ...]
    sub_sessions: tuple[SubSessionRef, ...]
    descendants: tuple[SessionSummary, ...]
    usage: tuple[UsageLine, ...]
    budgets: tuple[Budget, ...]


async def summary_of(asked: Asked) -> SessionSummary:
    """Return the facts of the page's session.

    Raises:
        StateNotFoundError: there is no such session.
    """
    session_id = asked.session_id()
    found = await read_summary(asked.sources, session_id)
    if found is None:
        raise StateNotFoundError(session_id)
    return found


async def session_page(asked: Asked) -> Shown:
    """Return the overview of a session."""
    session = await summary_of(asked)
    states, session_id = asked.sources.states, session.session_id
    first = max(0, session.message_count - MESSAGES)
    asking = asyncio.gather(_lock(asked, session_id), stream_facts(asked.sources, session.stream_id))
    runs, refs, below, usage, latest = await asyncio.gather(
        states.list_runs(session_id, limit=RUNS),
        states.get_sub_session_refs(session_id),
        list_tree(asked.sources, session_id),
        session_usage(asked.sources, session_id),
        _latest(asked, session_id, first),
    )
    lock, stream = await asking
    budgets = await budgets_of(asked.sources, _scopes(session))
    view = SessionView(
        session=session,
        findings=tuple(findings(session, lock, stream, runs, asked.now_ms)),
        lock=lock,
        stream=stream.info,
        runs=tuple(runs),
        sub_sessions=tuple(refs),
        descendants=below,
        usage=usage,
        budgets=budgets.found,
    )

    def body() -> Markup:
        return joined(
            tabs(asked, session_id),
            _findings(asked, view),
            _facts(asked, view),
            panel("Latest messages", latest, _all_messages(asked, session)),
            _runs(asked, view),
            _tree(asked, view),
            usage_panel(usage),
            panel("Budgets", budgets_table(asked, budgets)) if budgets.found or budgets.unreadable else None,
            _acts(asked, session_id),
        )

    return Shown(title=session_id, data=view.to_dict(), body=body)


async def _latest(asked: Asked, session_id: str, first: int) -> Markup:
    """Return the messages from `first` on, or a note that names the damaged row among them."""
    try:
        page = await asked.sources.states.get_messages(session_id, offset=first, limit=MESSAGES)
    except D1StateError as error:
        return note("bad", error.message)
    whole = {first + place: _whole(asked, session_id, first + place) for place in range(len(page.messages))}
    return messages_list(page.messages, first, whole)


def _scopes(session: SessionSummary) -> list[str]:
    """Return the scopes that may concern a session: the scope of its open turn, and the scope with its name."""
    reservation = (session.open_turn or {}).get("reservation")
    return [*([str(reservation[0])] if reservation else []), session.session_id]


def _whole(asked: Asked, session_id: str, sequence: int) -> str:
    return asked.link("message", id=session_id, n=sequence)


async def _lock(asked: Asked, session_id: str) -> LockFacts | None:
    objects = asked.sources.objects
    if objects is None or objects.locks is None:
        return None
    try:
        holder = await objects.locks.get_holder(session_id)
    except LockError:
        return None
    if holder is None:
        return LockFacts(held=False)
    return LockFacts(held=True, owner=holder.owner, fencing_token=holder.fencing_token, expires_at=holder.expires_at)


def _findings(asked: Asked, view: SessionView) -> Child:
    if not view.findings:
        return note("good", "Nothing hangs here: no turn or run is open, and no closing chunk is missing.")
    kinds = {"hang": ("bad", "Hangs: "), "warn": ("warn", "Look: "), "ok": ("good", "")}
    return [
        note(
            kinds[each.level][0],
            h("strong", kinds[each.level][1]),
            each.text,
            _remedy(asked, view, each),
            id_=each.code,
        )
        for each in view.findings
    ]


def _remedy(asked: Asked, view: SessionView, finding: Finding) -> Child:
    if finding.remedy is None or asked.sources.objects is None:
        return None
    name = {"sweep": "Mark the turn interrupted", "delete": "Delete the session"}[finding.remedy]
    return [" ", h("a", name, href=asked.link(f"act/{finding.remedy}", id=view.session.session_id)), "."]


def _facts(asked: Asked, view: SessionView) -> Markup:
    session, now_ms = view.session, asked.now_ms
    parent, root = session.parent_session_id, session.root_session_id

    def to_session(session_id: str | None) -> Child:
        return (
            None if session_id is None else h("a", session_id, href=asked.link("session", id=session_id), class_="id")
        )

    return facts(
        [
            ("Status", status_mark(session.status)),
            ("Now", signs(session, now_ms)),
            ("Agent type", session.agent_type),
            ("Parent", to_session(parent)),
            ("Root", to_session(root) if root != parent else None),
            ("Version", f"{session.version:,}"),
            ("Steps", f"{session.step_count:,}"),
            ("Messages", f"{session.message_count:,}"),
            ("Checkpoints", f"{session.checkpoint_count or 0:,}"),
            ("Staged changes", f"{session.staged_count or 0:,}"),
            ("Created", f"{clock(session.created_at)} UTC, {age(session.created_at, now_ms)} ago"),
            ("Updated", f"{clock(session.updated_at)} UTC, {age(session.updated_at, now_ms)} ago"),
            ("Expires", None if session.expires_at is None else f"{clock(session.expires_at)} UTC"),
            ("Aborted", "yes" if session.aborted else None),
            ("Error", session.error),
            ("Lock", _lock_text(view.lock, now_ms)),
            ("Stream", _stream_text(view, now_ms)),
        ]
    )


def _lock_text(lock: LockFacts | None, now_ms: int) -> str:
    if lock is None:
        return "cannot be asked from here"
    if not lock.held:
        return "free"
    held = "held" if lock.owner is None else f"held by {lock.owner} with token {lock.fencing_token}"
    return held if lock.expires_at is None else f"{held}, lease ends {age(lock.expires_at, now_ms)}"


def _stream_text(view: SessionView, now_ms: int) -> str:
    stream, name = view.stream, view.session.stream_id
    own = "" if name == view.session.session_id else f"{name}: "
    if stream is None:
        return f"{own}not there, or cannot be asked from here"
    ended = f" ({stream.end_status or stream.error})" if stream.status in ("ended", "failed") else ""
    return f"{own}{stream.status}{ended}, {stream.count:,} chunks, written {age(stream.updated_at, now_ms)} ago"


def _all_messages(asked: Asked, session: SessionSummary) -> Child:
    if session.message_count <= MESSAGES:
        return None
    href = asked.link("messages", id=session.session_id)
    return h("p", h("a", f"All {session.message_count:,} messages", href=href))


def runs_table(asked: Asked, runs: Sequence[Run]) -> Markup:
    """Return runs as a table."""
    rows: list[Sequence[Child]] = [
        [
            str(run.turn),
            run.run_id,
            status_mark(run.status),
            f"{clock(run.started_at)} UTC",
            _took(run, asked.now_ms),
            one_line(run.error or "", 80),
            None if run.output is None else h("code", shown_value(run.output, 80)),
        ]
        for run in runs
    ]
    return table("Runs", ("Turn", "Id", "Status", "Started", "Took", "Error", "Output"), rows, numeric=(0,))


def _took(run: Run, now_ms: int) -> str:
    if run.completed_at is None:
        return f"open for {age(run.started_at, now_ms)}"
    span = run.completed_at - run.started_at
    return f"{span:,} ms" if span < 10_000 else age(run.started_at, run.completed_at)


def _acts(asked: Asked, session_id: str) -> Markup:
    acts = [("Export", "export")]
    if asked.sources.objects is not None:
        acts += [("Sweep a dead turn", "sweep"), ("Delete", "delete")]
    return panel("Act", more(*((name, asked.link(f"act/{act}", id=session_id)) for name, act in acts)))


def _runs(asked: Asked, view: SessionView) -> Child:
    return panel("Latest runs", runs_table(asked, view.runs)) if view.runs else None


def _tree(asked: Asked, view: SessionView) -> Child:
    if not view.descendants and not view.sub_sessions:
        return None
    rows: list[Sequence[Child]] = [
        [
            h(
                "span",
                h("a", each.session_id, href=asked.link("session", id=each.session_id), class_="id"),
                class_=f"depth d{min(each.depth, 6)}",
            ),
            status_mark(each.status),
            each.agent_type,
            signs(each, asked.now_ms),
        ]
        for each in view.descendants
    ]
    known = {each.session_id for each in view.descendants}
    rows += [
        [ref.sub_session_id, status_mark(ref.status), ref.agent_type, f"named as {ref.location} sub-session"]
        for ref in view.sub_sessions
        if ref.sub_session_id not in known
    ]
    return panel("Below this session", table("Descendants", ("Session", "Status", "Agent", "Now"), rows))
