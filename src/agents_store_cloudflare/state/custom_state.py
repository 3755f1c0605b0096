"""Changes only the custom state. It reads, decides in Python, and writes if the version is still the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken
from agents_store_cloudflare.contract.errors import (
    AgentsStoreError,
    StaleStateError,
    StateNotFoundError,
    StateSizeExceededError,
)
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue, decode_json, encode_json
from agents_store_cloudflare.contract.state.records import (
    MergeChanges,
    MergeResult,
)
from agents_store_cloudflare.contract.state.staging import StagingStore
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.state import session_sql
from agents_store_cloudflare.state.changes import Applied, merge_changes
from agents_store_cloudflare.state.checkpoints import CheckpointCalls
from agents_store_cloudflare.state.commit_sql import FIRST_COMMIT
from agents_store_cloudflare.state.contention import MOST_ATTEMPTS, pause_after_conflict
from agents_store_cloudflare.state.guard import Commit, Guard

__all__ = ["CustomStateCalls", "StoredCustomState", "result_text"]

MAX_RESULT_BYTES = 32_000
"""The most bytes of a promotion's result. The state row keeps the result among its last commits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCustomState:
    """The stored facts that a decision needs.

    Attributes:
        custom_state: the stored custom state.
        version: the stored version.
        other_bytes: the bytes of the other columns of the state.
        first: the commit of an earlier attempt, or None.
    """

    custom_state: JsonObject
    version: int
    other_bytes: int
    first: Commit | None


class CustomStateCalls(CheckpointCalls, StagingStore):
    """The merge into the custom state, and the reads and writes that a promotion shares with it."""

    async def merge_custom_state(
        self,
        session_id: str,
        changes: MergeChanges | Mapping[str, JsonValue],
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> MergeResult:
        given = MergeChanges.of(changes).to_dict()
        text = encode_json(given, name="changes")
        merge = MergeChanges.from_dict(
            cast("JsonObject", decode_json(text))
        )  # a copy: the caller may change the object meanwhile
        guard = self._guard("merge_custom_state", session_id, fencing_token, commit_id, text)
        for attempt in range(1, MOST_ATTEMPTS + 1):
            stored, _ = await self._stored(guard)
            if stored.first is not None:
                return _merged(stored.first)
            max_bytes = self._limits.max_state_bytes - stored.other_bytes
            try:
                applied = merge_changes(session_id, stored.custom_state, merge, max_bytes=max_bytes)
            except AgentsStoreError:
                await self._check_past(guard)
                raise
            try:
                return _merged(await self._write_custom_state(guard, stored, applied, []))
            except StaleStateError:
                if attempt == MOST_ATTEMPTS:
                    raise
            await pause_after_conflict(attempt)
        raise AssertionError("the last attempt returns or raises")

    async def _stored(self, guard: Guard, *more: Statement) -> tuple[StoredCustomState, list[list[Row]]]:
        """Read the facts for a decision and the rows of other statements, in one batch.

        Raises:
            StateNotFoundError: there is no such session.
        """
        select = Statement(session_sql.SELECT_CUSTOM_STATE, (guard.session_id, guard.commit_id))
        rows, *others = await self._batches.read([select, *more])
        if not rows:
            raise StateNotFoundError(guard.session_id)
        custom_state, version, other_bytes, first_commit = cast("list[Any]", rows[0])
        stored = StoredCustomState(
            custom_state=cast("JsonObject", decode_json(custom_state)),
            version=version,
            other_bytes=other_bytes,
            first=None if first_commit is None else guard.first(first_commit),
        )
        if stored.first is not None:
            await self._batches.raise_fence(guard)
        return stored, others

    async def _check_past(self, guard: Guard) -> None:
        """Raise the error of a repetition whose session was deleted since. Changes of a new session do not belong to it."""
        [commits] = await self._batches.read([Statement(FIRST_COMMIT, (guard.session_id, guard.commit_id))])
        if commits:
            guard.living(guard.first(cast("str", commits[0][0]), past=bool(commits[0][1])))

    async def _write_custom_state(
        self, guard: Guard, stored: StoredCustomState, applied: Applied, more: Sequence[Statement]
    ) -> Commit:
        update = Statement(
            session_sql.SET_CUSTOM_STATE,
            (*self._commit(guard, result_text(guard, applied)), applied.text),
        )
        commit, _ = await self._batches.write(replace(guard, version=stored.version), [update, *more])
        return guard.living(commit)


def result_text(guard: Guard, applied: Applied, **more: int) -> str:
    """Return the result as the state row keeps it for a repetition.

    Raises:
        StateSizeExceededError: the ids of its tool calls and its warnings have more than 32,000 bytes.
    """
    facts = {"applied": list(applied.applied), "warnings": list(applied.warnings), **more}
    text = encode_json(facts, name="result")
    if (size_bytes := len(text.encode())) > MAX_RESULT_BYTES:
        raise StateSizeExceededError(f"the result of {guard.operation}", guard.session_id, MAX_RESULT_BYTES, size_bytes)
    return text


def _merged(commit: Commit) -> MergeResult:
    result = cast("dict[str, list[str]]", commit.result)
    return MergeResult(version=commit.version, warnings=tuple(result["warnings"]))
