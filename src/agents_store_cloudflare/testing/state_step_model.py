"""The model's checkpoints, staged changes, runs and references."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from agents_store_cloudflare.errors import (
    CheckpointNotFoundError,
    InvalidArgumentError,
    RunConflictError,
    RunNotFoundError,
    SessionExistsError,
    StaleStateError,
    StateNotFoundError,
    SubSessionRefNotFoundError,
)
from agents_store_cloudflare.json_types import JsonValue
from agents_store_cloudflare.protocols import UNSET, AnyVersion, Unset
from agents_store_cloudflare.records import AgentState, Checkpoint, PromoteResult, Run, StagedChange, SubSessionRef
from agents_store_cloudflare.state.changes import Applied, apply_changes
from agents_store_cloudflare.state.runs import ENDED
from agents_store_cloudflare.testing.state_model import (
    MOST_STATE_BYTES,
    Commit,
    Kept,
    SessionModel,
    StateModel,
    Twin,
    Write,
)

__all__ = ["StepModel"]

_CHECKPOINT_ID = re.compile("cpv1-(.+)-s[0-9]+-t[0-9]+-[0-9a-f]{6}")


class StepModel(StateModel):
    """The whole model."""

    # Checkpoints

    def _keep(self, session: SessionModel, run_id: str | None, stream_sequence: int | None) -> Checkpoint:
        """Keep the session as it stands; its number is one more than the last."""
        state = deepcopy(session.state)
        now_ms = self._now_ms()
        state.updated_at = now_ms
        bare = Checkpoint(
            id=f"cpv1-{state.session_id}-s{state.step_count}-t{now_ms}-{session.checkpoint_count:06x}",
            session_id=state.session_id,
            run_id=run_id,
            step_count=state.step_count,
            status=state.status,
            message_count=len(state.messages),
            timestamp=now_ms,
            stream_sequence=stream_sequence,
        )
        session.checkpoints.append(Kept(number=session.checkpoint_count, bare=bare, state=state))
        return bare

    def save_checkpoint(
        self,
        session_id: str,
        twin: Twin | None,
        *,
        run_id: str | None,
        stream_sequence: int | None,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> Checkpoint:
        if twin is None:
            write = Write(session_id=session_id, operation="save_checkpoint", token=fencing_token, commit_id=commit_id)
        else:
            write = self.save_guard(twin, "save_checkpoint", None, fencing_token, commit_id)
        commit = self.guard(write)
        repeated = commit is not None
        if commit is None:
            commit = self._put_and_count(twin, write, None)
        if twin is not None:
            twin.saved(commit)
        if not repeated:
            return self._keep(self.sessions[session_id], run_id, stream_sequence)
        return self._numbered(session_id, commit.checkpoint_number)

    def _put_and_count(self, twin: Twin | None, write: Write, result: Any, custom_state: Any = None) -> Commit[Any]:
        if twin is None:
            session = self.sessions[write.session_id]
            session.checkpoint_count += 1
            return self.commit(write, session, result, len(session.state.messages), touches=True)
        commit = self.put(twin, write, result, custom_state)
        session = self.sessions[write.session_id]
        session.checkpoint_count += 1
        commit.checkpoint_number = session.checkpoint_count
        return commit

    def _numbered(self, session_id: str, number: int) -> Checkpoint:
        for kept in self.existing(session_id).checkpoints:
            if kept.number == number:
                return kept.bare
        raise CheckpointNotFoundError(session_id, f"number {number}")

    def _whole(self, session: SessionModel, kept: Kept) -> Checkpoint:
        state, now = deepcopy(kept.state), session.state
        state.created_at = now.created_at
        state.agent_type, state.stream_id, state.root_session_id = now.agent_type, now.stream_id, now.root_session_id
        return replace(kept.bare, state=state)

    def all_checkpoints(self, session_id: str) -> list[Checkpoint]:
        """With their states, the newest first."""
        session = self.sessions.get(session_id)
        return [self._whole(session, kept) for kept in reversed(session.checkpoints)] if session else []

    def get_checkpoint(self, session_id: str, checkpoint_id: str) -> Checkpoint | None:
        return next((each for each in self.all_checkpoints(session_id) if each.id == checkpoint_id), None)

    def get_latest_checkpoint(self, session_id: str) -> Checkpoint | None:
        return next(iter(self.all_checkpoints(session_id)), None)

    def _found(self, session_id: str, checkpoint_id: str) -> Kept:
        if session_id not in self.sessions:
            raise StateNotFoundError(session_id)
        for kept in self.sessions[session_id].checkpoints:
            if kept.bare.id == checkpoint_id:
                return kept
        raise CheckpointNotFoundError(session_id, checkpoint_id)

    def restore_checkpoint(
        self, session_id: str, checkpoint_id: str, *, fencing_token: int | None, commit_id: str | None
    ) -> Twin:
        _check_name(session_id, checkpoint_id)

        def condition() -> None:
            self._found(session_id, checkpoint_id)

        def restore(session: SessionModel) -> None:
            kept = self._found(session_id, checkpoint_id)
            if len(session.state.messages) > kept.bare.message_count:
                session.epoch = self.new_epoch()
            restored, now = deepcopy(kept.state), session.state
            restored.version, restored.created_at = now.version, now.created_at
            restored.agent_type, restored.stream_id = now.agent_type, now.stream_id
            restored.root_session_id = now.root_session_id
            session.state = restored
            session.checkpoints = [each for each in session.checkpoints if each.number <= kept.number]

        write = Write(
            session_id=session_id,
            operation="restore_checkpoint",
            token=fencing_token,
            commit_id=commit_id,
            conditions=(condition,),
        )
        self.change(write, restore)
        return self.twin_of(self.sessions[session_id])

    def fork_session(
        self,
        session_id: str,
        checkpoint_id: str,
        new_session_id: str,
        *,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> Twin:
        if session_id == new_session_id:
            raise InvalidArgumentError("its own id")
        _check_name(session_id, checkpoint_id)

        def condition() -> None:
            self._found(session_id, checkpoint_id)

        write = Write(
            session_id=new_session_id,
            operation="fork_session",
            token=fencing_token,
            commit_id=commit_id,
            must_exist=False,
            version=0,
            conditions=(condition,),
        )
        try:
            first = self.guard(write)
        except StaleStateError:
            raise SessionExistsError(new_session_id) from None
        if first is None:
            kept = self._found(session_id, checkpoint_id)
            agent_type = self.sessions[session_id].state.agent_type
            forked = replace(
                deepcopy(kept.state),
                session_id=new_session_id,
                stream_id=new_session_id,
                parent_session_id=None,
                root_session_id=None,
                agent_type=agent_type,
            )
            self.commit(write, self._start(forked), None, 0)
        return self.twin_of(self.sessions[new_session_id])

    def prune_checkpoints(
        self,
        session_id: str,
        *,
        keep_last: int | None,
        older_than_ms: int | None,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> int:
        def prune(session: SessionModel) -> int:
            keep = max(len(session.checkpoints) - (keep_last or 1), 0)
            before = None if older_than_ms is None else self._now_ms() - older_than_ms
            gone = [each for each in session.checkpoints[:keep] if before is None or each.bare.timestamp < before]
            session.checkpoints = [each for each in session.checkpoints if each not in gone]
            return len(gone)

        write = Write(session_id=session_id, operation="prune_checkpoints", token=fencing_token, commit_id=commit_id)
        return self.change(write, prune, touches=True).result

    # Staging

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
        known = any(commit_id is not None and each.commit_id == commit_id for each in session.commits[-32:])
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
        session = self.sessions.get(session_id)
        known = (
            any(commit_id is not None and each.commit_id == commit_id for each in session.commits[-32:])
            if session
            else False
        )
        applied: Applied | None = None
        if not known:
            changes = self.get_staged_changes(session_id, step_id)
            applied = apply_changes(
                session_id, twin.state.custom_state, changes, max_bytes=MOST_STATE_BYTES, operation=operation
            )
        commit: Commit[Applied] | None = self.guard(write)
        kept: Checkpoint | None = None
        if commit is not None:
            twin.state.custom_state = deepcopy(self.sessions[session_id].state.custom_state)
            twin.saved(commit)
            kept = self._numbered(session_id, commit.checkpoint_number) if checkpoint else None
        else:
            assert applied is not None
            if checkpoint:
                commit = self._put_and_count(twin, write, applied, applied.custom_state)
            else:
                commit = self.put(twin, write, applied, applied.custom_state)
            twin.state.custom_state = deepcopy(applied.custom_state)
            twin.saved(commit)
            self._drop(self.sessions[session_id], step_id)
            kept = self._keep(self.sessions[session_id], run_id, stream_sequence) if checkpoint else None
        return PromoteResult(
            version=commit.version,
            applied=commit.result.applied,
            warnings=commit.result.warnings,
            checkpoint_id=kept and kept.id,
        )

    # Runs

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
            current_id = current and current.run_id
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

        self._conditioned("update_run", session_id, exists, update, fencing_token, commit_id)
        session = self.sessions[session_id]
        return session.runs[place(session)]

    def _conditioned(
        self,
        operation: str,
        session_id: str,
        condition: Callable[[], None],
        change: Callable[[SessionModel], None],
        token: int | None,
        commit_id: str | None,
    ) -> None:
        write = Write(
            session_id=session_id, operation=operation, token=token, commit_id=commit_id, conditions=(condition,)
        )
        self.change(write, change, touches=True)

    def get_current_run(self, session_id: str) -> Run | None:
        return next((run for run in self.list_runs(session_id) if run.completed_at is None), None)

    def list_runs(self, session_id: str) -> list[Run]:
        session = self.sessions.get(session_id)
        return list(reversed(session.runs)) if session else []

    # References

    def add_sub_session_refs(
        self, session_id: str, refs: Iterable[SubSessionRef], *, fencing_token: int | None, commit_id: str | None
    ) -> None:
        def add(session: SessionModel) -> None:
            for ref in refs:
                if all(each.sub_session_id != ref.sub_session_id for each in session.refs):
                    started = self._now_ms() if ref.started_at is None else ref.started_at
                    session.refs.append(replace(deepcopy(ref), started_at=started))

        self._conditioned("add_sub_session_refs", session_id, lambda: None, add, fencing_token, commit_id)

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

        self._conditioned("update_sub_session_ref", session_id, exists, update, fencing_token, commit_id)

    def get_sub_session_refs(self, session_id: str) -> list[SubSessionRef]:
        session = self.sessions.get(session_id)
        return list(session.refs) if session else []

    def state_of(self, session_id: str) -> AgentState | None:
        """What `load_state` gives."""
        session = self.sessions.get(session_id)
        return session and session.state


def _check_name(session_id: str, checkpoint_id: str) -> None:
    found = _CHECKPOINT_ID.fullmatch(checkpoint_id)
    if found is None or found[1] != session_id:
        raise CheckpointNotFoundError(session_id, checkpoint_id)
