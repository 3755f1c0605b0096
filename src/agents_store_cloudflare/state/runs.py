"""Runs: the work of agents on a session, and the conditions under which a run may start."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final, cast

from agents_store_cloudflare.contract.arguments import (
    MAX_ERROR_BYTES,
    MAX_LABEL_BYTES,
    MAX_SAFE_INTEGER,
    UNSET,
    FencingToken,
    Unset,
    check_id,
    check_text,
    check_whole_number,
)
from agents_store_cloudflare.contract.errors import (
    D1StateError,
    InvalidArgumentError,
    RunConflictError,
    RunNotFoundError,
)
from agents_store_cloudflare.contract.state.records import AgentStatus, Run
from agents_store_cloudflare.contract.state.runs import RunStore
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.state import run_sql
from agents_store_cloudflare.state.calls import MAX_PAGE, StateCalls
from agents_store_cloudflare.state.damage import DAMAGE, check_kinds, damaged, decode_row, shown_row
from agents_store_cloudflare.state.guard import Condition, Facts
from agents_store_cloudflare.state.statuses import check_statuses
from agents_store_cloudflare.state.stored_text import stored_text, text_of

__all__ = ["ENDED", "RunCalls"]

ENDED = frozenset({AgentStatus.COMPLETED, AgentStatus.FAILED, AgentStatus.ABORTED, AgentStatus.INTERRUPTED})
"""The statuses that end a run."""


class RunCalls(StateCalls, RunStore):
    """The calls about runs: `RunStore` on D1."""

    async def start_run(
        self,
        session_id: str,
        run_id: str,
        *,
        expect_statuses: Collection[str] | None = None,
        expect_current_run_id: str | Unset | None = UNSET,
        status: str = AgentStatus.RUNNING,
        step_count: int = 0,
        start_sequence: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> Run:
        check_id(run_id, "run_id")
        if _has_ended(status):
            raise InvalidArgumentError(f"a run cannot start with the status {status!r}, because that status ends a run")
        check_whole_number(step_count, "step_count")
        if start_sequence is not None:
            check_whole_number(start_sequence, "start_sequence")
        condition = _gate(session_id, run_id, expect_statuses, expect_current_run_id)
        request = (run_id, status, step_count, start_sequence)
        guard = self._guard("start_run", session_id, fencing_token, commit_id, *request)
        guard = replace(guard, conditions=(condition,))
        row = (session_id, run_id, stored_text(status), step_count, start_sequence, self._now_ms())
        commit, results = await self._batches.write(
            guard,
            [
                Statement(run_sql.REMEMBER_RUN, self._commit(guard)),
                Statement(run_sql.INSERT_RUN, row),
                Statement(run_sql.SELECT_RUN, (session_id, run_id)),
            ],
        )
        if not results:  # a repetition
            guard.living(commit)
            results = await self._batches.read(
                [Statement(run_sql.NUMBERED_RUN, (session_id, cast("int", commit.result)))]
            )
        return _run(session_id, results[-1], run_id)

    async def update_run(
        self,
        session_id: str,
        run_id: str,
        *,
        status: str | None = None,
        step_count: int | None = None,
        completed_at: int | None = None,
        error: str | Unset | None = UNSET,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> Run:
        check_id(run_id, "run_id")
        ended = None if status is None else _has_ended(status)
        if completed_at is not None:
            check_whole_number(completed_at, "completed_at")
            if not ended:
                raise InvalidArgumentError(
                    "completed_at needs a status that ends the run: completed, failed, aborted or interrupted"
                )
        if step_count is not None:
            check_whole_number(step_count, "step_count")
        if not isinstance(error, Unset) and error is not None:
            check_text(error, "error", empty=True, max_bytes=MAX_ERROR_BYTES)
        given_error = "unset" if isinstance(error, Unset) else (error,)
        request = (run_id, status, step_count, completed_at, given_error)
        guard = self._guard("update_run", session_id, fencing_token, commit_id, *request)
        guard = replace(guard, conditions=(_existing(session_id, run_id),))
        end_ms = (self._now_ms() if completed_at is None else completed_at) if ended else None
        new_error = stored_text(error) if isinstance(error, str) else None
        new = (stored_text(status), end_ms, step_count, int(error is not UNSET), new_error)
        commit, results = await self._batches.write(
            guard,
            [
                Statement(
                    run_sql.REMEMBER_RUN_UPDATE,
                    (*self._commit(guard), run_id, None if ended is None else int(ended)),
                ),
                Statement(run_sql.UPDATE_RUN, (session_id, run_id, *new)),
                Statement(run_sql.SELECT_RUN, (session_id, run_id)),
            ],
        )
        if not results:  # a repetition
            guard.living(commit)
            results = await self._batches.read([Statement(run_sql.SELECT_RUN, (session_id, run_id))])
        return _run(session_id, results[-1], run_id)

    async def get_current_run(self, session_id: str) -> Run | None:
        check_id(session_id, "session_id")
        [rows] = await self._batches.show([Statement(run_sql.CURRENT_RUN, (session_id,))])
        return _run(session_id, rows, "") if rows else None

    async def list_runs(self, session_id: str, *, limit: int = 50, before_turn: int | None = None) -> list[Run]:
        check_id(session_id, "session_id")
        check_whole_number(limit, "limit", low=1, high=MAX_PAGE)
        below = MAX_SAFE_INTEGER if before_turn is None else check_whole_number(before_turn, "before_turn", low=1)
        [rows] = await self._batches.show([Statement(run_sql.LIST_RUNS, (session_id, below, limit))])
        return [_listed_run(session_id, row) for row in rows]


def _has_ended(status: str) -> bool:
    return check_text(status, "status", max_bytes=MAX_LABEL_BYTES) in ENDED


def _gate(
    session_id: str, run_id: str, statuses: Collection[str] | None, current_run_id: str | Unset | None
) -> Condition:
    if not isinstance(current_run_id, Unset) and current_run_id is not None:
        check_id(current_run_id, "expect_current_run_id")

    def conflict(facts: Facts) -> RunConflictError:
        reason = {"run_id": "run_id", "run_status": "status", "current_run": "current_run"}[facts["fault"]]
        return RunConflictError(
            session_id,
            run_id,
            reason=reason,
            status=text_of(cast("str", facts.get("status", ""))),
            current_run_id=facts.get("current_run_id"),
        )

    expected = (
        None if statuses is None else check_statuses(statuses, "expect_statuses"),
        int(current_run_id is not UNSET),
        current_run_id if isinstance(current_run_id, str) else None,
    )
    return Condition(
        statement=Statement(run_sql.RUN_GATE, (session_id, run_id, *expected)),
        errors=dict.fromkeys(("run_id", "run_status", "current_run"), conflict),
    )


def _existing(session_id: str, run_id: str) -> Condition:
    return Condition(
        statement=Statement(run_sql.RUN_EXISTS, (session_id, run_id)),
        errors={"run": lambda _: RunNotFoundError(session_id, run_id)},
    )


def _run(session_id: str, rows: list[Row], run_id: str) -> Run:
    if not rows:
        raise RunNotFoundError(session_id, run_id)
    try:
        return _run_of(session_id, rows[0])
    except DAMAGE as error:
        raise damaged(f"run {rows[0][0]!r} of session {session_id!r}", error) from error


_KINDS: Final = (str, int, str, int, int, int, int, str, int, str, str)
"""The types of a run's columns."""


def _listed_run(session_id: str, row: Row) -> Run:
    """Return the run of a row for a list. If another program has damaged the row, the output is missing, and `error` says so."""
    try:
        return _run(session_id, [row], "")
    except D1StateError as error:
        shown = shown_row(row, _KINDS)
        return _run_of(session_id, [*shown[:7], error.message, shown[8], None, None])


def _run_of(session_id: str, row: Row) -> Run:
    check_kinds(row, _KINDS)
    run, turn, status, step_count, start_sequence, started_at, completed_at, error, end, output, resumes = cast(
        "list[Any]", row
    )
    return Run(
        run_id=run,
        session_id=session_id,
        turn=turn,
        status=cast("str", text_of(status)),
        step_count=step_count,
        start_sequence=start_sequence,
        started_at=started_at,
        completed_at=completed_at,
        error=text_of(error),
        end_sequence=end,
        output=None if output is None else decode_row(output),
        resumes=resumes,
    )
