"""Checkpoints: kept moments of a session, which can be read, restored, and forked into a new session."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import cast

from agents_store_cloudflare.contract.arguments import (
    MAX_SAFE_INTEGER,
    UNSET,
    FencingToken,
    check_flag,
    check_id,
    check_text,
    check_whole_number,
    span_ms,
)
from agents_store_cloudflare.contract.errors import (
    CheckpointNotFoundError,
    InvalidArgumentError,
    SessionExistsError,
    StaleStateError,
    StateNotFoundError,
)
from agents_store_cloudflare.contract.json_values import encode_json
from agents_store_cloudflare.contract.state.checkpoints import CheckpointStore
from agents_store_cloudflare.contract.state.records import AgentState, Checkpoint, CheckpointPage
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.database.clock_sql import SELECT_NOW
from agents_store_cloudflare.state import checkpoint_sql, codec, fork_sql, message_sql, prune_sql
from agents_store_cloudflare.state.calls import StateCalls, expected, new_epoch, state_for
from agents_store_cloudflare.state.cursors import NOT_FROM_THIS_LIST, cursor_after, place_of
from agents_store_cloudflare.state.guard import Commit, Condition, Guard
from agents_store_cloudflare.state.loading import loaded, loading
from agents_store_cloudflare.state.numbering import MAX_MESSAGES
from agents_store_cloudflare.state.outgoing import Outgoing
from agents_store_cloudflare.state.stored_text import stored_text

__all__ = ["CheckpointCalls", "check_kept_beside", "existing_checkpoint"]

MAX_CHECKPOINTS = 100

_ID = re.compile(r"cpv1-(.+)-s(\d{1,16})-t(\d{1,16})-([0-9a-f]{6})", re.DOTALL | re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Name:
    """The parts of a checkpoint's id. The id is read from the right, because a session id may hold any text."""

    session_id: str
    step_count: int
    timestamp: int
    number: int


def _name_of(checkpoint_id: str) -> _Name | None:
    found = _ID.fullmatch(check_text(checkpoint_id, "checkpoint_id"))
    if found is None:
        return None
    session_id, step_count, timestamp, number = found.groups()
    if max(int(step_count), int(timestamp)) > MAX_SAFE_INTEGER:
        return None
    return _Name(session_id=session_id, step_count=int(step_count), timestamp=int(timestamp), number=int(number, 16))


class CheckpointCalls(StateCalls, CheckpointStore):
    """The calls about checkpoints: `CheckpointStore` on D1."""

    async def save_checkpoint(
        self,
        session_id: str,
        state: AgentState | Mapping[str, object] | None = None,
        *,
        run_id: str | None = None,
        stream_sequence: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> Checkpoint:
        check_kept_beside(run_id, stream_sequence)
        if state is None:
            outgoing = None
            request = (run_id, stream_sequence)
            guard = self._guard("save_checkpoint", session_id, fencing_token, commit_id, *request)
            guard = replace(guard, new_checkpoints=1)
            touch = (*self._commit(guard), run_id, stream_sequence)
            before = [Statement(checkpoint_sql.TOUCH_CHECKPOINTS, touch)]
        else:
            saved = state_for(session_id, state)
            outgoing = Outgoing.of(saved, self._limits, "save_checkpoint")
            guard = self._save_guard(outgoing, None, fencing_token, commit_id, run_id, stream_sequence)
            guard = replace(guard, new_checkpoints=1)
            result = encode_json(
                [saved.step_count, stored_text(saved.status), run_id, stream_sequence], name="the checkpoint"
            )
            before = self._save_statements(outgoing, guard, result)
        commit, results = await self._batches.write(
            guard, [*before, *self._checkpoint_statements(session_id, run_id, stream_sequence)]
        )
        if not results:  # a repetition; the checkpoint of the first call may be deleted since
            guard.living(commit)
        if outgoing is not None:
            outgoing.bring_up_to_date(commit)
        if not results:
            return codec.remembered_checkpoint(session_id, commit)
        return codec.bare_checkpoint_of(session_id, results[-1][0])

    def _checkpoint_statements(
        self, session_id: str, run_id: str | None = None, stream_sequence: int | None = None
    ) -> list[Statement]:
        """Return the statements that make a checkpoint of the state row. They stand after the statements that write the row.

        The last one returns the checkpoint without its state.
        """
        return [
            Statement(checkpoint_sql.INSERT_CHECKPOINT, (session_id, run_id, stream_sequence)),
            Statement(checkpoint_sql.NEWEST_CHECKPOINT, (session_id,)),
        ]

    async def get_checkpoint(self, session_id: str, checkpoint_id: str) -> Checkpoint | None:
        check_id(session_id, "session_id")
        name = _name_of(checkpoint_id)
        if name is None or name.session_id != session_id:
            return None
        rows, blocks = await self._batches.show(
            [
                Statement(checkpoint_sql.SELECT_CHECKPOINT, (session_id, name.number)),
                Statement(checkpoint_sql.BLOCKS_OF_CHECKPOINT, (session_id, name.number)),
            ]
        )
        checkpoint = codec.checkpoint_of(rows[0], blocks) if rows else None
        # A later session of this id may have a checkpoint of the same number. The id also holds the time and the step, so compare it.
        return checkpoint if checkpoint is not None and checkpoint.id == checkpoint_id else None

    async def get_latest_checkpoint(self, session_id: str) -> Checkpoint | None:
        check_id(session_id, "session_id")
        rows, blocks = await self._batches.show(
            [
                Statement(checkpoint_sql.LATEST_CHECKPOINT, (session_id,)),
                Statement(checkpoint_sql.LATEST_BLOCKS, (session_id,)),
            ]
        )
        return codec.checkpoint_of(rows[0], blocks) if rows else None

    async def list_checkpoints(
        self, session_id: str, *, limit: int = 20, cursor: str | None = None, include_state: bool = True
    ) -> CheckpointPage:
        check_id(session_id, "session_id")
        check_whole_number(limit, "limit", low=1, high=MAX_CHECKPOINTS)
        check_flag(include_state, "include_state")
        number, life = place_of(cursor, "checkpoints")
        if cursor is not None and life is None:
            raise InvalidArgumentError(NOT_FROM_THIS_LIST)
        below = min(number, MAX_MESSAGES)
        page = (session_id, below, limit + 1)
        if include_state:
            rows, blocks = await self._batches.show(
                [
                    Statement(checkpoint_sql.LIST_CHECKPOINTS, page),
                    Statement(checkpoint_sql.BLOCKS_OF_PAGE, (session_id, below)),
                ]
            )
        else:
            blocks = []
            [rows] = await self._batches.show([Statement(checkpoint_sql.LIST_BARE_CHECKPOINTS, page)])
        present = rows[0][-1] if rows else None
        if life is not None and life != present:
            raise InvalidArgumentError(f"cursor is from an earlier session {session_id!r}; begin without a cursor")
        kept = [row[:-1] for row in rows[:limit] if row[0] is not None]
        if include_state:
            items = [codec.listed_checkpoint_of(row, blocks) for row in kept]
        else:
            items = [codec.bare_checkpoint_of(session_id, row) for row in kept]
        more = len(rows) > limit
        return CheckpointPage(
            items=items,
            next_cursor=cursor_after("checkpoints", cast("int", rows[limit - 1][0]), cast("str", present))
            if more
            else None,
            has_more=more,
        )

    async def restore_checkpoint(
        self,
        session_id: str,
        checkpoint_id: str,
        *,
        expected_version: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> AgentState:
        check_id(session_id, "session_id")
        guard = self._guard("restore_checkpoint", session_id, fencing_token, commit_id, checkpoint_id)
        name, condition = existing_checkpoint(session_id, checkpoint_id)
        guard = replace(guard, version=expected(expected_version), conditions=(condition,))
        commit, results = await self._batches.write(
            guard,
            [
                Statement(checkpoint_sql.RESTORE_STATE, (*self._commit(guard), name.number, new_epoch())),
                Statement(message_sql.DELETE_LATER_BLOCKS, (session_id, None)),
                Statement(message_sql.CUT_LAST_BLOCK, (session_id,)),
                Statement(checkpoint_sql.DELETE_LATER_CHECKPOINTS, (session_id, name.number)),
                *loading(session_id),
            ],
        )
        return await self._state_after(guard, commit, results)

    async def fork_session(
        self,
        session_id: str,
        checkpoint_id: str,
        new_session_id: str,
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> AgentState:
        check_id(session_id, "session_id")
        request = (session_id, checkpoint_id)
        check_id(new_session_id, "new_session_id")
        guard = self._guard("fork_session", new_session_id, fencing_token, commit_id, *request)
        if new_session_id == session_id:
            raise InvalidArgumentError(
                "new_session_id is the id of the session itself; to take the session back use restore_checkpoint"
            )
        name, condition = existing_checkpoint(session_id, checkpoint_id)
        guard = replace(guard, must_exist=False, version=0, conditions=(condition,))
        try:
            commit, results = await self._batches.write(
                guard,
                [
                    Statement(fork_sql.FORK_STATE, (*self._commit(guard), name.number, new_epoch(), session_id)),
                    Statement(fork_sql.FORK_BLOCKS, (new_session_id, session_id)),
                    Statement(message_sql.CUT_LAST_BLOCK, (new_session_id,)),
                    *loading(new_session_id),
                ],
            )
        except StaleStateError as error:
            raise SessionExistsError(new_session_id) from error
        return await self._state_after(guard, commit, results)

    async def prune_checkpoints(
        self,
        session_id: str,
        *,
        keep_last: int | None = None,
        older_than: float | timedelta | None = None,
        older_than_ms: float | None = None,
        expected_version: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> int:
        age_ms = span_ms(older_than, older_than_ms, "older_than")
        if keep_last is None and age_ms is None:
            raise InvalidArgumentError("prune_checkpoints needs keep_last, older_than or both")
        keep = 1 if keep_last is None else check_whole_number(keep_last, "keep_last", low=1, high=MAX_MESSAGES)
        guard = self._guard("prune_checkpoints", session_id, fencing_token, commit_id, keep_last, age_ms)
        guard = replace(guard, version=expected(expected_version))
        goes = (keep, None if age_ms is None else await self._time_before(session_id, age_ms))
        commit, _ = await self._batches.write(
            guard,
            [
                Statement(prune_sql.PRUNE_CHECKPOINTS, (*self._commit(guard), *goes)),
                Statement(prune_sql.DELETE_PRUNED, (session_id, *goes)),
                Statement(prune_sql.HIDE_PRUNED, (session_id, *goes)),
            ],
        )
        return cast("int", commit.result)

    async def _time_before(self, session_id: str, age_ms: int) -> int:
        """Return the time that lies `age_ms` before the present, by the clock of the session's database. One read."""
        [[[now_ms]]] = await self._batches.decide("prune_checkpoints", session_id, [Statement(SELECT_NOW)])
        return max(cast("int", now_ms) - age_ms, 0)

    async def _state_after(self, guard: Guard, commit: Commit, results: list[list[Row]]) -> AgentState:
        """Return the state that the last two statements loaded. For a repetition it is the state as it is stored now."""
        session_id = guard.session_id
        if not results:
            guard.living(commit)
            results = await self._batches.read(loading(session_id))
        rows, blocks = results[-2:]
        if not rows:
            raise StateNotFoundError(session_id)
        return loaded(rows, blocks)


def check_kept_beside(run_id: str | None, stream_sequence: int | None) -> None:
    """Check the run id and the stream sequence of a checkpoint."""
    if run_id is not None:
        check_id(run_id, "run_id")
    if stream_sequence is not None:
        check_whole_number(stream_sequence, "stream_sequence")


def existing_checkpoint(session_id: str, checkpoint_id: str) -> tuple[_Name, Condition]:
    """Return the parts of a checkpoint's id, and the condition that the session keeps this checkpoint.

    Raises:
        CheckpointNotFoundError: the id is no checkpoint id of this session.
    """
    name = _name_of(checkpoint_id)
    if name is None or name.session_id != session_id:
        raise CheckpointNotFoundError(session_id, checkpoint_id)
    facts = (session_id, name.number, name.timestamp, name.step_count)
    condition = Condition(
        statement=Statement(checkpoint_sql.CHECKPOINT_EXISTS, facts),
        errors={
            "checkpoint": lambda _: CheckpointNotFoundError(session_id, checkpoint_id),
            "source": lambda _: StateNotFoundError(session_id),
        },
    )
    return name, condition
