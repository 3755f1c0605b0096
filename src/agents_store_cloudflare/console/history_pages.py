"""The checkpoints of a session on a line of time, and its runs."""

from __future__ import annotations

from collections.abc import Sequence

from agents_store_cloudflare.console.asking import Asked, Shown
from agents_store_cloudflare.console.chart import time_line
from agents_store_cloudflare.console.checkpoint_states import NOW
from agents_store_cloudflare.console.html import Child, Markup, element as h, joined
from agents_store_cloudflare.console.layout import more, note, table, tabs
from agents_store_cloudflare.console.session_page import runs_table, summary_of
from agents_store_cloudflare.console.sessions_page import status_mark
from agents_store_cloudflare.console.text import age, clock
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.state.records import Checkpoint, CheckpointPage

__all__ = ["checkpoints_page", "runs_page"]

PAGE = 25


async def checkpoints_page(asked: Asked) -> Shown:
    """Return a page of 25 checkpoints, the newest first."""
    session = await summary_of(asked)
    page = await asked.sources.states.list_checkpoints(
        session.session_id, limit=PAGE, cursor=asked.query.get("cursor"), include_state=False
    )
    items: list[JsonObject] = [
        {key: value for key, value in each.to_dict().items() if key != "state"} for each in page.items
    ]
    return Shown(
        title=f"{session.session_id}: checkpoints",
        data={"checkpoints": [*items], "nextCursor": page.next_cursor},
        body=lambda: _checkpoints(asked, session.session_id, page),
    )


def _checkpoints(asked: Asked, session_id: str, page: CheckpointPage) -> Markup:
    if not page.items:
        return joined(tabs(asked, session_id), note("plain", "No checkpoints."))
    rows = [_checkpoint(asked, each, page.items, place) for place, each in enumerate(page.items)]
    headings = ("From", "To", "Kept", "Step", "Status", "Messages", "Go")
    onward = asked.link("checkpoints", id=session_id, cursor=page.next_cursor) if page.next_cursor else None
    form = h(
        "form",
        h("input", type="hidden", name="id", value=session_id),
        table("Checkpoints, the newest first", headings, rows, numeric=(3, 5)),
        h("button", "Compare the two", type="submit"),
        action=asked.link("compare"),
    )
    points = [
        (
            each.timestamp,
            f"{clock(each.timestamp)} UTC, step {each.step_count}",
            asked.link("state", id=session_id, at=each.id),
        )
        for each in page.items
    ]
    return joined(tabs(asked, session_id), time_line("Line of time", points), form, more(("Older checkpoints", onward)))


def _checkpoint(asked: Asked, each: Checkpoint, items: Sequence[Checkpoint], place: int) -> Sequence[Child]:
    session_id = each.session_id
    older = items[place + 1].id if place + 1 < len(items) else None

    def act(name: str) -> str:
        return asked.link(f"act/{name}", id=session_id, checkpoint=each.id)

    links = [
        h("a", "State", href=asked.link("state", id=session_id, at=each.id)),
        None
        if older is None
        else h("a", "Its changes", href=asked.link("compare", id=session_id, from_=older, to=each.id)),
        h("a", "Since then", href=asked.link("compare", id=session_id, from_=each.id, to=NOW)),
        h("a", "Fork", href=act("fork")),
        h("a", "Restore", href=act("restore")),
    ]
    return [
        _radio("from", each, checked=place == min(1, len(items) - 1)),
        _radio("to", each, checked=place == 0),
        [f"{age(each.timestamp, asked.now_ms)} ago", h("small", f"{clock(each.timestamp)} UTC"), h("small", each.id)],
        f"{each.step_count:,}",
        status_mark(each.status),
        f"{each.message_count:,}",
        h("span", [[link, " "] for link in links if link is not None], class_="links"),
    ]


def _radio(name: str, each: Checkpoint, *, checked: bool) -> Markup:
    return h("input", type="radio", name=name, value=each.id, checked=checked, aria_label=f"{name} {each.id}")


async def runs_page(asked: Asked) -> Shown:
    """Return a page of 25 runs, the newest first."""
    session = await summary_of(asked)
    runs = await asked.sources.states.list_runs(session.session_id, limit=PAGE, before_turn=asked.number("before"))
    last = runs[-1].turn if len(runs) == PAGE and runs[-1].turn > 1 else None
    onward = None if last is None else asked.link("runs", id=session.session_id, before=last)
    return Shown(
        title=f"{session.session_id}: runs",
        data={"runs": [run.to_dict() for run in runs], "nextBefore": last},
        body=lambda: joined(
            tabs(asked, session.session_id),
            runs_table(asked, runs) if runs else note("plain", "No runs."),
            more(("Older runs", onward)),
        ),
    )
