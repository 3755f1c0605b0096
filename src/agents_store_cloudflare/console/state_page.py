"""The state of a session now or at a checkpoint: its custom state as a tree, the other fields as facts, and the staged changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from agents_store_cloudflare.console.asking import Asked, Shown
from agents_store_cloudflare.console.checkpoint_states import NOW, state_at
from agents_store_cloudflare.console.html import Child, Markup, element as h, joined
from agents_store_cloudflare.console.layout import facts, note, panel, table, tabs
from agents_store_cloudflare.console.session_sql import LIST_STAGED
from agents_store_cloudflare.console.text import clock, pretty_json
from agents_store_cloudflare.console.values import Difference, differences, shown_value, value_at, value_tree
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.state.damage import DAMAGE, decode_row, shown_row

__all__ = ["compare_page", "state_page", "value_page"]

MOST_STAGED: Final = 100
_STAGED_KINDS: Final = (str, str, int, str)
_JSON_FIELDS: Final = (
    ("Output", "output"),
    ("Suspension context", "suspension_context"),
    ("Pending client tool calls", "pending_client_tool_calls"),
    ("Waits for children", "suspended_awaiting_children"),
    ("Tracing context", "tracing_context"),
    ("Other fields", "extra"),
)


async def state_page(asked: Asked) -> Shown:
    """Return the page of the state now, or at the checkpoint `at`."""
    session_id, at = asked.session_id(), asked.query.get("at", NOW)
    state = await state_at(asked.sources, session_id, at)
    staged = await _staged(asked, session_id) if at == NOW else []
    body = state.to_dict()
    body.pop("storedHistory", None)
    body.pop("messages", None)
    title = f"{session_id}: state" if at == NOW else f"{session_id}: state at {at}"
    return Shown(
        title=title,
        data={"at": at, "state": body, "stagedChanges": cast("JsonValue", staged)},
        body=lambda: _body(asked, state, at, staged),
    )


async def _staged(asked: Asked, session_id: str) -> list[JsonObject]:
    [rows] = await asked.sources.session_rows(session_id, Statement(LIST_STAGED, (session_id, MOST_STAGED)))
    return [_staged_change(row) for row in rows]


def _staged_change(row: Row) -> JsonObject:
    """Return a staged change; `unreadable` stands in the place of a change that another program has damaged."""
    step_id, tool_call_id, timestamp, text = cast("list[Any]", shown_row(row, _STAGED_KINDS))
    try:
        change = decode_row(text)
    except DAMAGE as error:
        change = {"unreadable": type(error).__name__}
    return {"stepId": step_id, "toolCallId": tool_call_id, "timestamp": timestamp, "change": change}


def _body(asked: Asked, state: AgentState, at: str, staged: Sequence[JsonObject]) -> Markup:
    session_id = state.session_id

    def whole(path: str) -> str:
        return asked.link("value", id=session_id, at=at, path=path)

    others = [
        panel(name, h("pre", pretty_json(value), class_="code"))
        for name, field in _JSON_FIELDS
        if (value := getattr(state, field)) not in (None, {})
    ]
    then = (
        None
        if at == NOW
        else h("p", h("a", "What has changed since", href=asked.link("compare", id=session_id, from_=at, to=NOW)))
    )
    return joined(
        tabs(asked, session_id),
        then,
        facts(
            [
                ("Status", state.status),
                ("Steps", f"{state.step_count:,}"),
                ("Version", f"{state.version:,}"),
                ("Resumed", f"{state.resume_count:,} times"),
                ("Error", state.error),
                ("Abort reason", state.abort_reason),
                ("Suspended step", state.suspended_step_id),
                ("As of", f"{clock(state.updated_at)} UTC"),
            ]
        ),
        panel("Custom state", value_tree(state.custom_state, whole) if state.custom_state else h("p", "Empty.")),
        others,
        _staged_panel(staged),
    )


def _staged_panel(staged: Sequence[JsonObject]) -> Child:
    if not staged:
        return None
    rows: list[Sequence[Child]] = [
        [
            str(each["stepId"]),
            str(each["toolCallId"]),
            f"{clock(cast('int', each['timestamp']))} UTC",
            h("pre", pretty_json(each["change"]), class_="code"),
        ]
        for each in staged
    ]
    return panel("Staged changes", table("Not promoted yet", ("Step", "Tool call", "Staged", "Change"), rows))


async def value_page(asked: Asked) -> Shown:
    """Return the page of one part of a custom state."""
    session_id, at, path = asked.session_id(), asked.query.get("at", NOW), asked.query.get("path", "")
    state = await state_at(asked.sources, session_id, at)
    try:
        value = value_at(state.custom_state, path)
    except KeyError:
        raise InvalidArgumentError(f"the custom state has nothing at {path!r}") from None
    shown = value if isinstance(value, str) else pretty_json(value)
    return Shown(
        title=f"{session_id}: {path or 'custom state'}",
        data={"at": at, "path": path, "value": value},
        body=lambda: joined(tabs(asked, session_id), h("pre", shown, class_="code whole")),
    )


async def compare_page(asked: Asked) -> Shown:
    """Return the page of the differences between two checkpoints of a session, or between a checkpoint and now."""
    session_id = asked.session_id()
    first, second = asked.needed("from"), asked.query.get("to", NOW)
    before, after = await state_at(asked.sources, session_id, first), await state_at(asked.sources, session_id, second)
    found = differences(_compared(before), _compared(after))
    counts = (_message_count(before), _message_count(after))
    data: JsonObject = {
        "from": first,
        "to": second,
        "differences": [each.to_dict() for each in found],
        "messageCounts": [*counts],
    }
    return Shown(
        title=f"{session_id}: compare",
        data=data,
        body=lambda: _comparison(asked, session_id, (first, second), found, counts),
    )


def _compared(state: AgentState) -> JsonValue:
    body: dict[str, Any] = {
        "status": state.status,
        "stepCount": state.step_count,
        "customState": state.custom_state,
        "output": state.output,
        "error": state.error,
        "suspensionContext": state.suspension_context,
    }
    return body


def _message_count(state: AgentState) -> int:
    return state.stored_history.count if state.stored_history else 0


def _comparison(
    asked: Asked, session_id: str, ends: tuple[str, str], found: Sequence[Difference], counts: tuple[int, int]
) -> Markup:
    rows: list[Sequence[Child]] = [
        [
            h("code", each.path),
            h("span", each.kind, class_=f"kind {each.kind}"),
            None if each.kind == "added" else h("code", shown_value(each.before)),
            None if each.kind == "removed" else h("code", shown_value(each.after)),
        ]
        for each in found
    ]
    low, high = min(counts), max(counts)
    messages = (
        f"{high - low:,} messages {'were added' if counts[1] >= counts[0] else 'are gone'}: " if high > low else None
    )
    return joined(
        tabs(asked, session_id),
        h("p", "From ", h("code", ends[0]), " to ", h("code", ends[1]), "."),
        h("p", messages, h("a", f"{low:,} to {high - 1:,}", href=asked.link("messages", id=session_id, from_=low)))
        if messages
        else h("p", "No messages lie between them."),
        table("Differences", ("Where", "What", "Before", "After"), rows) if rows else note("good", "Nothing differs."),
    )
