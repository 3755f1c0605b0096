"""Staging keeps the changes of tool calls until their step is promoted.

A promotion reads the version and the staged changes, decides in Python, and writes under the condition that both are still the same.
It starts again when somebody else wrote in between. It deletes only the changes that it read; a change that is staged meanwhile stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, check_flag, check_id
from agents_store_cloudflare.contract.errors import (
    AgentsStoreError,
    StagingError,
    StaleStateError,
    StateNotFoundError,
    StateSizeExceededError,
)
from agents_store_cloudflare.contract.json_values import JsonObject, decode_json, encode_json
from agents_store_cloudflare.contract.state.marks import AnyVersion
from agents_store_cloudflare.contract.state.records import (
    AgentState,
    PromoteResult,
    StagedChange,
)
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.state import codec, session_sql, staging_sql
from agents_store_cloudflare.state.calls import expected, state_for
from agents_store_cloudflare.state.changes import apply_changes
from agents_store_cloudflare.state.checkpoints import check_kept_beside
from agents_store_cloudflare.state.commit_sql import FIRST_COMMIT
from agents_store_cloudflare.state.contention import MOST_ATTEMPTS, pause_after_conflict
from agents_store_cloudflare.state.custom_state import CustomStateCalls, result_text
from agents_store_cloudflare.state.guard import Commit
from agents_store_cloudflare.state.outgoing import Outgoing
from agents_store_cloudflare.state.requests import digest
from agents_store_cloudflare.state.staged_rows import StagedDiffers, promoting, staged_change

__all__ = ["StagingCalls"]


class StagingCalls(CustomStateCalls):
    """The calls about staged changes: `StagingStore` on D1."""

    async def stage_changes(
        self,
        session_id: str,
        step_id: str,
        change: StagedChange | Mapping[str, Any],
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> StagedChange:
        check_id(step_id, "step_id")
        given = change if isinstance(change, StagedChange) else StagedChange.from_dict(change)
        staged = given if given.timestamp is not None else replace(given, timestamp=self._now_ms())
        text = _change_text(staged)
        request = (step_id, staged.tool_call_id, given.timestamp, text)
        guard = self._guard("stage_changes", session_id, fencing_token, commit_id, *request)
        if (size_bytes := len(text.encode())) > self._limits.max_staged_write_bytes:
            raise StateSizeExceededError(guard.operation, session_id, self._limits.max_staged_write_bytes, size_bytes)
        row = (session_id, step_id, staged.tool_call_id, staged.timestamp, text)
        commit, _ = await self._batches.write(
            guard,
            [
                Statement(staging_sql.REMEMBER_STAGED, self._commit(guard, str(staged.timestamp))),
                Statement(staging_sql.INSERT_STAGED, row),
            ],
        )
        return staged_change([staged.tool_call_id, cast("int", commit.result), text, 0])

    async def get_staged_changes(self, session_id: str, step_id: str | None = None) -> list[StagedChange]:
        check_id(session_id, "session_id")
        if step_id is None:
            statement = Statement(staging_sql.SELECT_STAGED_ALL, (session_id,))
        else:
            statement = Statement(staging_sql.SELECT_STAGED, (session_id, check_id(step_id, "step_id")))
        [rows] = await self._batches.show([statement])
        return [staged_change(row) for row in rows]

    async def discard_staging(
        self,
        session_id: str,
        step_id: str,
        *,
        expected_version: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> int:
        check_id(step_id, "step_id")
        guard = self._guard("discard_staging", session_id, fencing_token, commit_id, step_id)
        guard = replace(guard, version=expected(expected_version))
        commit, _ = await self._batches.write(
            guard,
            [
                Statement(staging_sql.REMEMBER_DISCARD, (*self._commit(guard), step_id)),
                Statement(staging_sql.DISCARD_STAGED, (session_id, step_id)),
            ],
        )
        return cast("int", commit.result)

    async def promote_staging(
        self, session_id: str, step_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> PromoteResult:
        check_id(step_id, "step_id")
        guard = self._guard("promote_staging", session_id, fencing_token, commit_id, step_id)
        select = Statement(staging_sql.SELECT_STAGED, (session_id, step_id))
        for attempt in range(1, MOST_ATTEMPTS + 1):
            stored, [staged] = await self._stored(guard, select)
            if stored.first is not None:
                return _promoted(stored.first)
            if not staged:  # nothing to write, but the guard checks its conditions and the fence rises
                first, _ = await self._batches.guarded(guard, [])
                return PromoteResult(version=stored.version) if first is None else _promoted(guard.living(first))
            try:
                applied = apply_changes(
                    session_id,
                    stored.custom_state,
                    [staged_change(row) for row in staged],
                    max_bytes=self._limits.max_state_bytes - stored.other_bytes,
                    operation=guard.operation,
                )
            except AgentsStoreError:
                await self._check_past(guard)
                raise
            as_read, delete = promoting(session_id, step_id, staged)
            try:
                guarded = replace(guard, conditions=as_read)
                return _promoted(await self._write_custom_state(guarded, stored, applied, [delete]))
            except StaleStateError:
                if attempt == MOST_ATTEMPTS:
                    raise
            except StagedDiffers:
                pass
            await pause_after_conflict(attempt)
        raise _disturbed(session_id)

    async def save_state_and_promote_staging(
        self,
        session_id: str,
        state: AgentState | Mapping[str, object],
        *,
        step_id: str,
        checkpoint: bool = True,
        run_id: str | None = None,
        stream_sequence: int | None = None,
        expected_version: int | AnyVersion | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> PromoteResult:
        check_id(step_id, "step_id")
        check_kept_beside(run_id, stream_sequence)
        check_flag(checkpoint, "checkpoint")
        outgoing = Outgoing.of(state_for(session_id, state), self._limits, "save_state_and_promote_staging")
        request = (step_id, checkpoint, run_id, stream_sequence)
        guard = self._save_guard(outgoing, expected_version, fencing_token, commit_id, *request)
        guard = replace(guard, new_checkpoints=int(checkpoint))
        select = Statement(staging_sql.SELECT_STAGED, (session_id, step_id))
        remembered = Statement(FIRST_COMMIT, (session_id, guard.commit_id))
        # Read at the beginning: the caller may change the state meanwhile.
        step_count = outgoing.state.step_count
        for attempt in range(1, MOST_ATTEMPTS + 1):
            staged, commits = await self._batches.read([select, remembered])
            if commits:
                first = guard.first(cast("str", commits[0][0]), past=bool(commits[0][1]))
                await self._batches.raise_fence(guard)
                return await self._repeated(outgoing, guard.living(first))
            applied = apply_changes(
                session_id,
                cast("JsonObject", decode_json(outgoing.custom_state)),
                [staged_change(row) for row in staged],
                max_bytes=self._limits.max_state_bytes,
                operation=guard.operation,
            )
            promoted = outgoing.with_custom_state(applied.text)
            as_read, delete = promoting(session_id, step_id, staged)
            later = digest((promoted.parts(), *request))
            guarded = replace(guard, conditions=as_read, later_digest=later)
            kept = self._checkpoint_statements(session_id, run_id, stream_sequence) if checkpoint else []
            facts = {"step": step_count} if checkpoint else {}
            saving = self._save_statements(promoted, guarded, result_text(guard, applied, **facts))
            try:
                commit, results = await self._batches.write(guarded, [*saving, delete, *kept])
            except StagedDiffers:
                await pause_after_conflict(attempt)
                continue
            if not results:  # a repetition; the first call promoted the changes, which are deleted now
                return await self._repeated(outgoing, guard.living(commit))
            _take_promoted(outgoing, applied.custom_state, commit)
            kept_id = codec.bare_checkpoint_of(session_id, results[-1][0]).id if checkpoint else None
            return replace(_promoted(commit), checkpoint_id=kept_id)
        raise _disturbed(session_id)

    async def _repeated(self, outgoing: Outgoing, commit: Commit) -> PromoteResult:
        session_id = outgoing.session_id
        [rows] = await self._batches.read([Statement(session_sql.SELECT_STATE, (session_id,))])
        if not rows:
            raise StateNotFoundError(session_id)
        _take_promoted(outgoing, codec.state_of(rows[0]).custom_state, commit)
        step = cast("dict[str, int]", commit.result).get("step")
        if step is None:  # the first call kept no checkpoint
            return _promoted(commit)
        kept_id = codec.checkpoint_id(session_id, step, commit.at_ms, commit.checkpoint_number)
        return replace(_promoted(commit), checkpoint_id=kept_id)


def _take_promoted(outgoing: Outgoing, custom_state: JsonObject, commit: Commit) -> None:
    """Give the caller's state the promoted custom state.

    If other tasks changed the state's custom state since the save was sent, their changes stay in it and the state counts as stale. Its
    next save is refused, so that no change is lost silently.
    """
    state = outgoing.state
    if state.version >= commit.version:
        return
    if encode_json(state.custom_state, name="custom_state") != outgoing.custom_state:
        return
    state.custom_state = custom_state
    outgoing.bring_up_to_date(commit)


def _change_text(change: StagedChange) -> str:
    body = change.to_dict()
    return encode_json({"patches": body["patches"], "mergeChanges": body["mergeChanges"]}, name="change")


def _disturbed(session_id: str) -> StagingError:
    reason = f"the changes of its step were discarded or staged again in between, {MOST_ATTEMPTS} times; call it again"
    return StagingError(session_id, tool_call_id=None, reason=reason)


def _promoted(commit: Commit) -> PromoteResult:
    result = cast("dict[str, list[str]]", commit.result)
    return PromoteResult(version=commit.version, applied=tuple(result["applied"]), warnings=tuple(result["warnings"]))
