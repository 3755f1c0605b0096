"""The list of sessions: search, running sessions, and sessions that need attention."""

from __future__ import annotations

from typing import Final, cast

from agents_store_cloudflare.console.asking import Asked, Shown
from agents_store_cloudflare.console.html import Child, Markup, element as h, joined
from agents_store_cloudflare.console.layout import more, note, table
from agents_store_cloudflare.console.listing import SessionFilter, SessionList, SessionSummary, View, list_sessions
from agents_store_cloudflare.console.text import age, clock, dollars, one_line

__all__ = ["sessions_page", "signs", "status_mark"]

LONG_MS: Final = 3_600_000
"""The time after which an open turn is marked. It is the default of a turn's `max_hold`."""

_VIEWS: Final = (
    ("all", "All"),
    ("running", "With an open turn"),
    ("open-runs", "With an open run"),
    ("expired", "Expired"),
)


async def sessions_page(asked: Asked) -> Shown:
    """Return a page of 15 sessions that match the filter."""
    query = asked.query
    wanted = SessionFilter(
        prefix=query.get("prefix"),
        status=query.get("status"),
        agent=query.get("agent"),
        parent=query.get("parent"),
        view=cast("View", query.get("view", "all")),
    )
    found = await list_sessions(asked.sources, wanted, query.get("cursor"))
    return Shown(title="Sessions", data=found.to_dict(), body=lambda: _body(asked, wanted, found))


def _body(asked: Asked, wanted: SessionFilter, found: SessionList) -> Markup:
    parameters = {name: str(value) for name, value in wanted.to_dict().items() if value not in (None, "all")}
    onward = asked.link("", **parameters, cursor=found.next_cursor) if found.next_cursor else None
    name = "Older sessions" if wanted.is_complete else "Go on looking"
    first = asked.link("", **parameters) if "cursor" in asked.query else None
    return joined(
        _form(asked, wanted),
        _table(asked, found) if found.sessions else note("plain", _nothing(found)),
        _scanned(wanted, found),
        more(("First page", first), (name, onward)),
    )


def _nothing(found: SessionList) -> str:
    if found.next_cursor:
        return f"None of the {found.scanned:,} sessions that were read matches. There are more: continue the search."
    return "No session fits."


def _scanned(wanted: SessionFilter, found: SessionList) -> Child:
    if wanted.is_complete or not found.sessions:
        return None
    return note("plain", f"{len(found.sessions):,} of the {found.scanned:,} sessions that were read are shown.")


def _form(asked: Asked, wanted: SessionFilter) -> Markup:
    fields = [
        h("label", name, h("input", name=key, value=getattr(wanted, key) or "", autocomplete="off", type="search"))
        for key, name in (
            ("prefix", "Id begins with"),
            ("status", "Status"),
            ("agent", "Agent type"),
            ("parent", "Children of"),
        )
    ]
    options = [h("option", name, value=view, selected=view == wanted.view) for view, name in _VIEWS]
    return h(
        "form",
        fields,
        h("label", "Show", h("select", options, name="view")),
        h("button", "Search", type="submit"),
        class_="filter",
        action=asked.link(""),
        role="search",
    )


def _table(asked: Asked, found: SessionList) -> Markup:
    headings = ("Session", "Status", "Agent", "Now", "Messages", "Model cost", "Updated", "Created")
    rows = [_row(asked, session) for session in found.sessions]
    return table("Sessions", headings, rows, numeric=(4, 5))


def _row(asked: Asked, session: SessionSummary) -> tuple[Child, ...]:
    parent = session.parent_session_id
    name = h("a", session.session_id, href=asked.link("session", id=session.session_id), class_="id")
    below = None if parent is None else h("small", "in ", h("a", parent, href=asked.link("session", id=parent)))
    return (
        [name, below],
        status_mark(session.status),
        session.agent_type,
        signs(session, asked.now_ms),
        f"{session.message_count:,}",
        _cost(session),
        _when(session.updated_at, asked.now_ms),
        _when(session.created_at, asked.now_ms),
    )


def status_mark(status: str) -> Markup:
    """Return a status as a mark. The usual statuses also have a colour."""
    usual = {"running", "active", "completed", "failed", "aborted", "interrupted", "suspended", "paused"}
    return h("span", one_line(status, 40), class_=f"status {status if status in usual else 'other'}")


def signs(session: SessionSummary, now_ms: int) -> Child:
    """Return marks for the present facts of a session's row. The lock is not asked here, only on the session's own page."""
    found: list[Child] = []
    if session.open_turn is not None:
        is_long = session.turn_since is not None and session.turn_since < now_ms - LONG_MS
        text = f"turn open {age(session.turn_since, now_ms)}"
        found.append(h("span", text, class_="sign warn" if is_long else "sign live"))
    elif session.turn_since is not None and session.open_run_count is None:
        found.append(h("span", f"turn open, or not swept since, {age(session.turn_since, now_ms)}", class_="sign live"))
    elif session.open_run_count:
        found.append(h("span", f"{session.open_run_count} open run(s)", class_="sign live"))
    if session.unreadable:
        found.append(h("span", f"unreadable: {', '.join(session.unreadable)}", class_="sign warn"))
    if session.expires_at is not None and session.expires_at <= now_ms:
        found.append(h("span", f"expired {age(session.expires_at, now_ms)} ago", class_="sign warn"))
    return found


def _cost(session: SessionSummary) -> Child:
    if session.cost_micros is None:
        return h("span", "on its page", class_="faint")
    unpriced = (
        h("span", f" + {session.unpriced_entries} unpriced", class_="faint") if session.unpriced_entries else None
    )
    return [dollars(session.cost_micros), unpriced]


def _when(at_ms: int, now_ms: int) -> Markup:
    return h("time", age(at_ms, now_ms), datetime=clock(at_ms).replace(" ", "T") + "Z", title=f"{clock(at_ms)} UTC")
