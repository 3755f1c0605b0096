"""References from a session to the sessions of its sub-agents, here or elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from agents_store_cloudflare.contract.arguments import (
    MAX_ERROR_BYTES,
    MAX_LABEL_BYTES,
    UNSET,
    FencingToken,
    Unset,
    check_id,
    check_text,
    check_whole_number,
)
from agents_store_cloudflare.contract.errors import (
    InvalidArgumentError,
    StateSizeExceededError,
    SubSessionRefNotFoundError,
)
from agents_store_cloudflare.contract.json_values import JsonValue, encode_json
from agents_store_cloudflare.contract.state.records import SubSessionRef
from agents_store_cloudflare.contract.state.references import ReferenceStore
from agents_store_cloudflare.database import Row, SqlValue, Statement
from agents_store_cloudflare.state import reference_sql
from agents_store_cloudflare.state.calls import StateCalls
from agents_store_cloudflare.state.damage import DAMAGE, check_kinds, damaged, decode_row, shown_row
from agents_store_cloudflare.state.guard import Condition
from agents_store_cloudflare.state.stored_text import stored_text, text_of

__all__ = ["ReferenceCalls"]


class ReferenceCalls(StateCalls, ReferenceStore):
    """The calls about references to sub-sessions: `ReferenceStore` on D1."""

    async def add_sub_session_refs(
        self,
        session_id: str,
        refs: Iterable[SubSessionRef | Mapping[str, Any]],
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> None:
        given = cast("object", refs)
        if isinstance(given, Mapping | SubSessionRef | str) or not isinstance(given, Iterable):
            raise TypeError(f"refs must be a list of references, not {type(refs).__name__}")
        records = [ref if isinstance(ref, SubSessionRef) else SubSessionRef.from_dict(ref) for ref in refs]
        rows = [self._row(session_id, ref) for ref in records]
        if not rows:
            raise InvalidArgumentError("add_sub_session_refs needs at least one reference")
        # The digest leaves out the time of the call, which stands in the rows of references without a start.
        request = [(ref.started_at, *row[:5], *row[6:]) for ref, row in zip(records, rows, strict=True)]
        guard = self._guard("add_sub_session_refs", session_id, fencing_token, commit_id, *request)
        inserts = [Statement(reference_sql.INSERT_REFERENCE, (session_id, *row)) for row in rows]
        await self._batches.write(guard, [Statement(reference_sql.REMEMBER_REFERENCES, self._commit(guard)), *inserts])

    async def update_sub_session_ref(
        self,
        session_id: str,
        sub_session_id: str,
        *,
        status: str | None = None,
        completed_at: int | None = None,
        output: JsonValue | Unset = UNSET,
        error: str | Unset | None = UNSET,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> None:
        check_id(sub_session_id, "sub_session_id")
        if status is not None:
            check_text(status, "status", max_bytes=MAX_LABEL_BYTES)
        if completed_at is not None:
            check_whole_number(completed_at, "completed_at")
        if not isinstance(error, Unset) and error is not None:
            check_text(error, "error", empty=True, max_bytes=MAX_ERROR_BYTES)
        new: tuple[SqlValue, ...] = (
            stored_text(status),
            completed_at,
            int(not isinstance(output, Unset)),
            None if isinstance(output, Unset) else self._output(session_id, output, "update_sub_session_ref"),
            int(not isinstance(error, Unset)),
            None if isinstance(error, Unset) else stored_text(error),
        )
        guard = self._guard("update_sub_session_ref", session_id, fencing_token, commit_id, sub_session_id, *new)
        condition = Condition(
            statement=Statement(reference_sql.REFERENCE_EXISTS, (session_id, sub_session_id)),
            errors={"reference": lambda _: SubSessionRefNotFoundError(session_id, sub_session_id)},
        )
        guard = replace(guard, conditions=(condition,))
        await self._batches.write(
            guard,
            [
                Statement(reference_sql.REMEMBER_REFERENCES, self._commit(guard)),
                Statement(reference_sql.UPDATE_REFERENCE, (session_id, sub_session_id, *new)),
            ],
        )

    async def get_sub_session_refs(self, session_id: str) -> list[SubSessionRef]:
        check_id(session_id, "session_id")
        [rows] = await self._batches.show([Statement(reference_sql.SELECT_REFERENCES, (session_id,))])
        return [_listed_reference(session_id, row) for row in rows]

    def _row(self, session_id: str, ref: SubSessionRef) -> tuple[SqlValue, ...]:
        check_id(ref.sub_session_id, "sub_session_id")
        check_text(ref.agent_type, "agent_type", max_bytes=MAX_LABEL_BYTES)
        check_text(ref.status, "status", max_bytes=MAX_LABEL_BYTES)
        if check_text(ref.location, "location") not in {"local", "remote"}:
            raise InvalidArgumentError("location must be 'local' or 'remote'")
        for name, max_bytes in (("parent_tool_call_id", MAX_LABEL_BYTES), ("error", MAX_ERROR_BYTES)):
            if getattr(ref, name) is not None:
                check_text(getattr(ref, name), name, empty=True, max_bytes=max_bytes)
        for name in ("started_at", "completed_at"):
            if getattr(ref, name) is not None:
                check_whole_number(getattr(ref, name), name)
        return (
            ref.sub_session_id,
            stored_text(ref.agent_type),
            stored_text(ref.parent_tool_call_id),
            stored_text(ref.status),
            ref.location,
            self._now_ms() if ref.started_at is None else ref.started_at,
            ref.completed_at,
            self._output(session_id, ref.output, "add_sub_session_refs"),
            stored_text(ref.error),
        )

    def _output(self, session_id: str, output: JsonValue, operation: str) -> str | None:
        if output is None:
            return None
        text = encode_json(output, name="output")
        size_bytes = len(text.encode())
        if size_bytes > self._limits.max_state_bytes:
            raise StateSizeExceededError(operation, session_id, self._limits.max_state_bytes, size_bytes)
        return text


_KINDS: Final = (str, str, str, str, str, int, int, str, str)
"""The types of a reference's columns."""


def _listed_reference(session_id: str, row: Row) -> SubSessionRef:
    """Return the reference of a row. If another program has damaged the row, the output is missing, and `error` says so."""
    try:
        return _reference(row)
    except DAMAGE as error:
        unreadable = damaged(f"the reference to {row[0]!r} of session {session_id!r}", error)
        return _reference([*shown_row(row[:7], _KINDS[:7]), None, unreadable.message])


def _reference(row: Row) -> SubSessionRef:
    check_kinds(row, _KINDS)
    sub_session_id, agent_type, tool_call_id, status, location, started_at, completed_at, output, error = cast(
        "list[Any]", row
    )
    return SubSessionRef(
        sub_session_id=sub_session_id,
        agent_type=cast("str", text_of(agent_type)),
        parent_tool_call_id=text_of(tool_call_id),
        status=cast("str", text_of(status)),
        location=location,
        started_at=started_at,
        completed_at=completed_at,
        output=None if output is None else decode_row(output),
        error=text_of(error),
    )
