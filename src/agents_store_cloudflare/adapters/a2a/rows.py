"""Turns a task into a row, and back."""

from __future__ import annotations

import json
from typing import Any, Final

from a2a.types.a2a_pb2 import Task
from google.protobuf.json_format import Error, MessageToDict, ParseDict

from agents_store_cloudflare.adapters.errors import ForeignValueError
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import encode_json
from agents_store_cloudflare.database import MAX_VALUE_BYTES

__all__ = ["FIRST", "body_of", "position_at", "session_of", "task_of", "updated_at"]

FIRST: Final = "~"
"""A text that sorts after every `updated_at`."""

_SECONDS_BEFORE_1970: Final = 62_135_596_800
_NS: Final = 1_000_000_000


def session_of(task: Task) -> str:
    """Return the session of a task: its context, or its own id if it has none."""
    return task.context_id or task.id


def updated_at(task: Task) -> str:
    """Return the time of a task's status as digits that sort as text; "" for none."""
    return position_at(task.status.timestamp.ToNanoseconds() if _has_time(task) else None)


def position_at(timestamp_ns: int | None) -> str:
    """Return nanoseconds since 1970 as digits that sort as text; "" for None."""
    return "" if timestamp_ns is None else f"{max(0, timestamp_ns + _SECONDS_BEFORE_1970 * _NS):021d}"


def body_of(task: Task) -> str:
    """Return the JSON text of a task.

    Raises:
        ForeignValueError: JSON cannot hold a value of the task, or the task is too large.
    """
    name = f"task {task.id!r}"
    try:
        text = encode_json(MessageToDict(task), name=name)
    except (Error, InvalidArgumentError) as error:
        raise ForeignValueError(f"{name} cannot be stored as JSON: {error}") from error
    if (size_bytes := len(text.encode())) > MAX_VALUE_BYTES:
        raise ForeignValueError(
            f"{name} has {size_bytes:,} bytes as JSON, D1 takes {MAX_VALUE_BYTES:,}; an artifact's file can be a URL"
        )
    return text


def task_of(task_id: str, body: object) -> Task:
    """Return the task of a row.

    Raises:
        ForeignValueError: another program or a newer version wrote the row.
    """
    try:
        parsed: Any = json.loads(str(body))
        task: Task = ParseDict(parsed, Task())
    except (Error, ValueError, TypeError, AttributeError) as error:
        raise _foreign(task_id, type(error).__name__) from error
    if task.id != task_id:
        raise _foreign(task_id, "its body is of another task")
    return task


def _foreign(task_id: str, what: str) -> ForeignValueError:
    return ForeignValueError(
        f"the row of task {task_id!r} in __agents_a2a_tasks was written by another program or a newer version: {what}"
    )


def _has_time(task: Task) -> bool:
    return bool(task.HasField("status") and task.status.HasField("timestamp"))
