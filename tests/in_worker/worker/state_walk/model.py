"""A plain model of `StateStore`: dictionaries and lists, one call after the other, no database.

It is what a store must be indistinguishable from when nobody else writes; `walk` compares them step by step. Where the store
takes an `AgentState`, the model takes a `Twin` of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from agents_store_cloudflare.contract.arguments import UNSET, Unset
from agents_store_cloudflare.contract.errors import RunConflictError, RunNotFoundError, SubSessionRefNotFoundError
from agents_store_cloudflare.contract.json_types import JsonValue
from agents_store_cloudflare.contract.state.marks import AnyVersion
from agents_store_cloudflare.contract.state.records import Checkpoint, PromoteResult, Run, StagedChange, SubSessionRef
from agents_store_cloudflare.state.changes import Applied, apply_changes
from agents_store_cloudflare.state.runs import ENDED
from state_walk.messages import HistoryModel
from state_walk.stored import MOST_STATE_BYTES, Commit, SessionModel, Twin, Write


class StateModel(HistoryModel):
    """The whole model: histories, and staged changes, runs and references."""

    def stage_changes(
        self,
        session_id: str,
        step_id: str,
        change: StagedChange,
        *,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> StagedChange:
        staged = change if change.timestamp is not None else replace(change, timestamp=self._now_ms())

        def stage(session: SessionModel) -> int | None:
            session.staged_count += 1
            session.staged[step_id, change.tool_call_id] = (session.staged_count, deepcopy(staged))
            return staged.timestamp

        write = Write(session_id=session_id, operation="stage_changes", token=fencing_token, commit_id=commit_id)
        return replace(staged, timestamp=self.change(write, stage, touches=True).result)

    def get_staged_changes(self, session_id: str, step_id: str | None = None) -> list[StagedChange]:
        session = self.sessions.get(session_id)
        if session is None:
            return []
        found = [entry for (step, _), entry in session.staged.items() if step_id in {None, step}]
        return [change for _, change in sorted(found, key=lambda entry: (entry[1].timestamp or 0, entry[0]))]

    def discard_staging(
        self, session_id: str, step_id: str, *, fencing_token: int | None, commit_id: str | None
    ) -> int:
        write = Write(session_id=session_id, operation="discard_staging", token=fencing_token, commit_id=commit_id)
        return self.change(write, lambda session: self._drop(session, step_id), touches=True).result

    def _drop(self, session: SessionModel, step_id: str) -> int:
        keys = [key for key in session.staged if key[0] == step_id]
        for key in keys:
            del session.staged[key]
        return len(keys)

    def promote_staging(
        self, session_id: str, step_id: str, *, fencing_token: int | None, commit_id: str | None
    ) -> PromoteResult:
        session = self.existing(session_id)
        write = Write(session_id=session_id, operation="promote_staging", token=fencing_token, commit_id=commit_id)
        staged = self.get_staged_changes(session_id, step_id)
        first = self.known(session_id, commit_id)
        known = first is not None and not first.past
        if not staged and not known:
            self.guard(write)
            return PromoteResult(version=session.state.version)
        applied: Applied | None = None
        if not known:
            applied = apply_changes(session_id, session.state.custom_state, staged, max_bytes=MOST_STATE_BYTES)

        def promote(session: SessionModel) -> Applied | None:
            assert applied is not None
            session.state.custom_state = deepcopy(applied.custom_state)
            self._drop(session, step_id)
            return applied

        commit = self.change(write, promote)
        assert commit.result is not None
        return PromoteResult(version=commit.version, applied=commit.result.applied, warnings=commit.result.warnings)

    def save_state_and_promote_staging(
        self,
        session_id: str,
        twin: Twin,
        *,
        step_id: str,
        checkpoint: bool,
        run_id: str | None,
        stream_sequence: int | None,
        expected_version: int | AnyVersion | None,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> PromoteResult:
        operation = "save_state_and_promote_staging"
        write = self.save_guard(twin, operation, expected_version, fencing_token, commit_id)
        known = self.known(session_id, commit_id) is not None
        applied: Applied | None = None
        if not known:
            changes = self.get_staged_changes(session_id, step_id)
            applied = apply_changes(
                session_id, twin.state.custom_state, changes, max_bytes=MOST_STATE_BYTES, operation=operation
            )
        commit: Commit[Applied] | None = self.guard(write)
        kept: Checkpoint | None = None
        if commit is not None:
            if commit.version > twin.state.version:
                twin.state.custom_state = deepcopy(self.sessions[session_id].state.custom_state)
            twin.saved(commit)
            kept = self.sessions[session_id].kept_by.get(commit.commit_id)
        else:
            assert applied is not None
            if checkpoint:
                commit = self._put_and_count(twin, write, applied, applied.custom_state)
            else:
                commit = self.put(twin, write, applied, applied.custom_state)
            twin.state.custom_state = deepcopy(applied.custom_state)
            commit.requests.add(self.request_of(twin))
            twin.saved(commit)
            self._drop(self.sessions[session_id], step_id)
            kept = self._keep(self.sessions[session_id], run_id, stream_sequence) if checkpoint else None
            if kept is not None:
                self.sessions[session_id].kept_by[commit.commit_id] = kept
        return PromoteResult(
            version=commit.version,
            applied=commit.result.applied,
            warnings=commit.result.warnings,
            checkpoint_id=kept.id if kept else None,
        )

    def start_run(
        self,
        session_id: str,
        run_id: str,
        *,
        expect_statuses: Collection[str] | None,
        expect_current_run_id: str | Unset | None,
        status: str,
        step_count: int,
        start_sequence: int | None,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> Run:
        def gate() -> None:
            session = self.sessions[session_id]
            current = self.get_current_run(session_id)
            current_id = current.run_id if current else None
            reason = None
            if any(run.run_id == run_id for run in session.runs):
                reason = "run_id"
            elif expect_statuses is not None and session.state.status not in expect_statuses:
                reason = "status"
            elif expect_current_run_id is not UNSET and current_id != expect_current_run_id:
                reason = "current_run"
            if reason:
                raise RunConflictError(
                    session_id, run_id, reason=reason, status=session.state.status, current_run_id=current_id
                )

        def start(session: SessionModel) -> int:
            run = Run(
                run_id=run_id,
                session_id=session_id,
                turn=len(session.runs) + 1,
                status=status,
                step_count=step_count,
                start_sequence=start_sequence,
                started_at=self._now_ms(),
            )
            session.runs.append(run)
            return run.turn

        write = Write(
            session_id=session_id,
            operation="start_run",
            token=fencing_token,
            commit_id=commit_id,
            conditions=(gate,),
        )
        turn = self.change(write, start, touches=True).result
        return self.sessions[session_id].runs[turn - 1]

    def update_run(
        self,
        session_id: str,
        run_id: str,
        *,
        status: str | None,
        step_count: int | None,
        error: str | Unset | None,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> Run:
        def place(session: SessionModel) -> int:
            for index, run in enumerate(session.runs):
                if run.run_id == run_id:
                    return index
            raise RunNotFoundError(session_id, run_id)

        def exists() -> None:
            place(self.sessions[session_id])

        def update(session: SessionModel) -> None:
            run = session.runs[place(session)]
            if status is not None:
                run = replace(run, status=status, completed_at=self._now_ms() if status in ENDED else None)
            if step_count is not None:
                run = replace(run, step_count=step_count)
            if not isinstance(error, Unset):
                run = replace(run, error=error)
            session.runs[place(session)] = run

        write = Write(session_id=session_id, operation="update_run", token=fencing_token, commit_id=commit_id)
        self._conditioned(write, exists, update)
        session = self.sessions[session_id]
        return session.runs[place(session)]

    def _conditioned(self, write: Write, condition: Callable[[], None], change: Callable[[SessionModel], None]) -> None:
        self.change(replace(write, conditions=(condition,)), change, touches=True)

    def get_current_run(self, session_id: str) -> Run | None:
        return next((run for run in self.list_runs(session_id) if run.completed_at is None), None)

    def list_runs(self, session_id: str) -> list[Run]:
        session = self.sessions.get(session_id)
        return list(reversed(session.runs)) if session else []

    def add_sub_session_refs(
        self, session_id: str, refs: Iterable[SubSessionRef], *, fencing_token: int | None, commit_id: str | None
    ) -> None:
        def add(session: SessionModel) -> None:
            for ref in refs:
                if all(each.sub_session_id != ref.sub_session_id for each in session.refs):
                    started = self._now_ms() if ref.started_at is None else ref.started_at
                    session.refs.append(replace(deepcopy(ref), started_at=started))

        write = Write(session_id=session_id, operation="add_sub_session_refs", token=fencing_token, commit_id=commit_id)
        self._conditioned(write, lambda: None, add)

    def update_sub_session_ref(
        self,
        session_id: str,
        sub_session_id: str,
        *,
        status: str | None,
        completed_at: int | None,
        output: JsonValue | Unset,
        error: str | Unset | None,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> None:
        given: dict[str, Any] = {"output": output, "error": error}
        new = {name: value for name, value in given.items() if not isinstance(value, Unset)}
        new |= {} if status is None else {"status": status}
        new |= {} if completed_at is None else {"completed_at": completed_at}

        def exists() -> None:
            if all(ref.sub_session_id != sub_session_id for ref in self.sessions[session_id].refs):
                raise SubSessionRefNotFoundError(session_id, sub_session_id)

        def update(session: SessionModel) -> None:
            session.refs = [
                replace(ref, **new) if ref.sub_session_id == sub_session_id else ref for ref in session.refs
            ]

        write = Write(
            session_id=session_id, operation="update_sub_session_ref", token=fencing_token, commit_id=commit_id
        )
        self._conditioned(write, exists, update)

    def get_sub_session_refs(self, session_id: str) -> list[SubSessionRef]:
        session = self.sessions.get(session_id)
        return list(session.refs) if session else []
