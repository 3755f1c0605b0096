"""Turns states and checkpoints into columns of the database, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from agents_store_cloudflare.contract.arguments import MAX_LABEL_BYTES, check_id, check_text, check_whole_number
from agents_store_cloudflare.contract.errors import D1StateError, InvalidArgumentError, StateSizeExceededError
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue, decode_json, encode_json
from agents_store_cloudflare.contract.record import check_extra
from agents_store_cloudflare.contract.state.records import AgentState, Checkpoint, StoredHistory
from agents_store_cloudflare.database import Row, SqlValue
from agents_store_cloudflare.state.damage import DAMAGE, check_kinds, damaged, shown_row
from agents_store_cloudflare.state.guard import Commit
from agents_store_cloudflare.state.history import fill_messages, history_of
from agents_store_cloudflare.state.numbering import MAX_MESSAGES
from agents_store_cloudflare.state.stored_text import stored_text, text_of

__all__ = [
    "bare_checkpoint_of",
    "check_size",
    "check_state",
    "checkpoint_id",
    "checkpoint_of",
    "columns_of",
    "listed_checkpoint_of",
    "listed_state_of",
    "remembered_checkpoint",
    "state_of",
]

_DETAILS = (
    "suspension_context",
    "pending_client_tool_calls",
    "suspended_awaiting_children",
    "suspended_step_id",
    "tracing_context",
)


def columns_of(state: AgentState, limit_bytes: int, operation: str) -> tuple[SqlValue, ...]:
    """Return a state's columns in the order of `UPSERT_STATE`, from ?9 on.

    Raises:
        StateSizeExceededError: together they have more than `limit_bytes`.
    """
    columns: tuple[SqlValue, ...] = (
        stored_text(state.agent_type),
        stored_text(state.status),
        state.step_count,
        encode_json(state.custom_state, name="custom_state"),
        None if state.output is None else encode_json(state.output, name="output"),
        stored_text(state.error),
        state.stream_id,
        state.parent_session_id,
        int(state.aborted),
        stored_text(state.abort_reason),
        state.root_session_id,
        state.resume_count,
        state.expires_at,
        encode_json(_details_of(state), name="the rarer fields of the state"),
    )
    check_size(columns, limit_bytes, state.session_id, operation)
    return columns


def check_size(columns: Sequence[SqlValue], limit_bytes: int, session_id: str, operation: str) -> None:
    """Refuse the columns of a state that are too large together.

    Raises:
        StateSizeExceededError: they have more than `limit_bytes`.
    """
    texts = "".join([column for column in columns if isinstance(column, str)])
    try:
        size_bytes = len(texts.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(
            "a text of the state holds a lone surrogate, which no UTF-8 text can carry"
        ) from error
    if size_bytes > limit_bytes:
        raise StateSizeExceededError(operation, session_id, limit_bytes, size_bytes)


def _details_of(state: AgentState) -> JsonObject:
    details: JsonObject = {name: value for name in _DETAILS if (value := getattr(state, name)) is not None}
    if state.extra:
        details["extra"] = state.extra
    return details


_STATE_KINDS: Final = (
    *(str, str, str, str, str, int, int, int, int, int, str, int),
    *(str, str, str, int, str, int, int, str),
)
"""The types of a state's columns."""

_CHECKPOINT_KINDS: Final = (int, int, str, int, str, int, int)
"""The types of a checkpoint's columns, without its state."""


def state_of(row: Row) -> AgentState:
    """Return the state of a row of `SELECT_STATE`, as a state that was loaded without messages.

    Raises:
        D1StateError: another program has damaged the row.
    """
    try:
        return _state_of(row)
    except DAMAGE as error:
        raise damaged(f"session {row[0]!r}", error) from error


def _state_of(row: Row) -> AgentState:
    check_kinds(row, _STATE_KINDS)
    (
        session_id, agent_type, stream_id, parent, root, created_at, updated_at,
        version, message_count, epoch, status, step_count,
        custom_state, output, error, aborted, abort_reason, resume_count, expires_at, details,
    ) = cast("list[Any]", row)  # fmt: skip
    values: JsonValue = decode_json(custom_state)
    if not isinstance(values, dict):
        raise TypeError(f"the custom state is {type(values).__name__}")
    state = AgentState(
        session_id=session_id,
        agent_type=cast("str", text_of(agent_type)),
        status=cast("str", text_of(status)),
        step_count=step_count,
        custom_state=values,
        output=None if output is None else decode_json(output),
        error=text_of(error),
        stream_id=stream_id or "",
        parent_session_id=parent,
        root_session_id=root,
        aborted=bool(aborted),
        abort_reason=text_of(abort_reason),
        resume_count=resume_count,
        version=version,
        expires_at=expires_at,
        created_at=created_at,
        updated_at=updated_at,
        **cast("Mapping[str, Any]", decode_json(details)),
    )
    state.stored_history = StoredHistory(first=message_count, count=message_count, epoch=epoch)
    return state


def listed_state_of(row: Row) -> AgentState:
    """Return the state of a row for a list. A row that another program has damaged does not stop the list.

    Such a row has version 0 in the list, so that no save of it is accepted, and the reason under `extra["unreadable"]`.
    """
    try:
        return state_of(row)
    except D1StateError as error:
        session_id, agent_type, stream_id, parent, root, created_at, updated_at, version, *_, status = row[:11]
        return AgentState(
            session_id=str(session_id),
            agent_type=str(agent_type),
            status=str(status),
            stream_id=str(stream_id or ""),
            parent_session_id=None if parent is None else str(parent),
            root_session_id=None if root is None else str(root),
            created_at=created_at if isinstance(created_at, int) else None,
            updated_at=updated_at if isinstance(updated_at, int) else None,
            extra={
                "unreadable": error.message,
                "storedVersion": version if isinstance(version, int) else repr(version),
            },
        )


def checkpoint_id(session_id: str, step_count: int, timestamp: int, number: int) -> str:
    """Return the id of a checkpoint: `cpv1-{session}-s{step}-t{ms}-{6 hex}`. The last part is its number within the session."""
    return f"cpv1-{session_id}-s{step_count}-t{timestamp}-{number:06x}"


def bare_checkpoint_of(session_id: str, row: Row) -> Checkpoint:
    """Return the checkpoint of a row of `NEWEST_CHECKPOINT`, without its state. Values of a wrong type do not stop a list."""
    shown = shown_row(row, _CHECKPOINT_KINDS)
    number, timestamp, run_id, stream_sequence, status, step_count, message_count = cast("list[Any]", shown)
    return Checkpoint(
        id=checkpoint_id(session_id, step_count, timestamp, number),
        session_id=session_id,
        run_id=run_id,
        step_count=step_count,
        status=cast("str", text_of(status)),
        message_count=message_count,
        timestamp=timestamp,
        stream_sequence=stream_sequence,
    )


def remembered_checkpoint(session_id: str, commit: Commit) -> Checkpoint:
    """Return the checkpoint that a commit of `save_checkpoint` kept, without its state. It may be deleted by now."""
    step_count, status, run_id, stream_sequence = cast("list[Any]", commit.result)
    facts: Row = [commit.checkpoint_number, commit.at_ms, run_id, stream_sequence, status, step_count]
    return bare_checkpoint_of(session_id, [*facts, commit.message_count_after])


def checkpoint_of(row: Row, blocks: Sequence[Row]) -> Checkpoint:
    """Return the checkpoint of a row of `LATEST_CHECKPOINT` with its state; `blocks` are the blocks that it counts."""
    state = state_of(row[4:])
    fill_messages(state, blocks, MAX_MESSAGES)
    count = history_of(state).count
    bare = bare_checkpoint_of(state.session_id, [*row[:4], stored_text(state.status), state.step_count, count])
    return replace(bare, state=state)


def listed_checkpoint_of(row: Row, blocks: Sequence[Row]) -> Checkpoint:
    """Return the checkpoint of a row for a list. A row that another program has damaged does not stop the list.

    The state of a damaged row is the result of `listed_state_of`, without messages.
    """
    try:
        return checkpoint_of(row, blocks)
    except D1StateError as error:
        state = listed_state_of(row[4:])
        state.version, state.stored_history = 0, None
        state.extra.setdefault("unreadable", error.message)
        bare = bare_checkpoint_of(state.session_id, [*row[:4], stored_text(state.status), row[15], row[12]])
        return replace(bare, state=state)


def check_state(state: AgentState) -> None:
    """Refuse a state whose fields cannot be stored and read back unchanged.

    Raises:
        TypeError: a field has a wrong type; the message names it.
        InvalidArgumentError: a field breaks a rule; the message names it.
    """
    for name in ("agent_type", "status"):
        check_text(getattr(state, name), name, max_bytes=MAX_LABEL_BYTES)
    for name in ("stream_id", "parent_session_id", "root_session_id"):
        if getattr(state, name) is not None:
            check_id(getattr(state, name), name)
    for name in ("error", "abort_reason", "suspended_step_id"):
        if getattr(state, name) is not None:
            check_text(getattr(state, name), name, empty=True)
    for name in ("step_count", "resume_count", "version"):
        check_whole_number(getattr(state, name), name)
    if state.expires_at is not None:
        check_whole_number(state.expires_at, "expires_at")
    for name, kind in (("custom_state", dict), ("extra", dict), ("messages", list), ("aborted", bool)):
        if not isinstance(getattr(state, name), kind):
            raise TypeError(f"{name} must be a {kind.__name__}, not {type(getattr(state, name)).__name__}")
    check_extra(state, state.extra)
