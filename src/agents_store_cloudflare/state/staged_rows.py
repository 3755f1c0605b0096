"""The rows of staged changes, and the condition that they have not changed since they were read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, cast

from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.state.records import (
    StagedChange,
)
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.state import staging_sql
from agents_store_cloudflare.state.damage import DAMAGE, decode_row
from agents_store_cloudflare.state.guard import Condition, Facts

__all__ = ["UNREADABLE", "StagedDiffers", "promoting", "staged_change"]

UNREADABLE: Final = "unreadable"
"""The operation of a staged change whose row another program has damaged."""


class StagedDiffers(Exception):  # noqa: N818 - it starts the next attempt, and no caller sees it
    """The staged changes have changed since they were read."""

    def __init__(self, _: Facts) -> None:
        super().__init__()


def staged_change(row: Row) -> StagedChange:
    """Return the staged change of a row of `SELECT_STAGED`.

    A row that another program has damaged gives a change that no promotion can apply. The promotion's error names its tool call.
    """
    tool_call_id, timestamp, change, _ = cast("list[Any]", row)
    try:
        return StagedChange.from_dict(
            {"toolCallId": tool_call_id, "timestamp": timestamp, **cast("JsonObject", decode_row(change))}
        )
    except DAMAGE as error:
        return StagedChange(
            tool_call_id=str(tool_call_id),
            patches=[{"op": UNREADABLE, "path": "", "value": type(error).__name__}],
            timestamp=timestamp if isinstance(timestamp, int) and timestamp >= 0 else None,
        )


def promoting(session_id: str, step_id: str, staged: Sequence[Row]) -> tuple[tuple[Condition, ...], Statement]:
    """Return the condition that the read changes are still staged, and the statement that deletes them.

    No other condition notices that the changes were discarded meanwhile, or promoted by another call with `ANY_VERSION`.
    """
    parameters = (session_id, step_id, json.dumps([row[3] for row in staged]))
    condition = Condition(statement=Statement(staging_sql.STAGED_AS_READ, parameters), errors={"staged": StagedDiffers})
    return (condition,) if staged else (), Statement(staging_sql.DELETE_PROMOTED, parameters)
