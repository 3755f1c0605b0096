"""Statuses and counters: a call changes them without loading the state."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, LiteralString, cast

from agents_store_cloudflare.contract.arguments import (
    MAX_LABEL_BYTES,
    MAX_SAFE_INTEGER,
    UNSET,
    FencingToken,
    check_text,
    check_whole_number,
)
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import encode_json
from agents_store_cloudflare.contract.state.records import CasResult
from agents_store_cloudflare.contract.state.statuses import StatusStore
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.state import session_sql
from agents_store_cloudflare.state.calls import StateCalls
from agents_store_cloudflare.state.guard import Commit, Guard
from agents_store_cloudflare.state.stored_text import stored_text, text_of

__all__ = ["StatusCalls", "check_statuses"]

MAX_STATUSES = 100


class StatusCalls(StateCalls, StatusStore):
    """The calls about statuses and counters: `StatusStore` on D1."""

    async def update_status(
        self, session_id: str, status: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> int:
        check_text(status, "status", max_bytes=MAX_LABEL_BYTES)
        guard = self._guard("update_status", session_id, fencing_token, commit_id, status)
        update = Statement(session_sql.UPDATE_STATUS, (*self._commit(guard), stored_text(status)))
        commit, _ = await self._batches.write(guard, [update])
        return commit.version

    async def compare_and_set_status(
        self,
        session_id: str,
        expected: Collection[str],
        new: str,
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> CasResult:
        statuses = check_statuses(expected, "expected")
        check_text(new, "new", max_bytes=MAX_LABEL_BYTES)
        guard = self._guard("compare_and_set_status", session_id, fencing_token, commit_id, statuses, new)
        # The status is no condition of the guard, because a batch that finds another status must still raise the fence.
        update = Statement(session_sql.COMPARE_AND_SET_STATUS, (*self._commit(guard), stored_text(new), statuses))
        first, results = await self._batches.guarded(
            guard, [update, Statement(session_sql.SELECT_STATUS, (session_id,))]
        )
        if first is None and not results[0]:
            [[status, version]] = cast("list[list[Any]]", results[1])
            return CasResult(
                ok=False, new_version=None, current_status=cast("str", text_of(status)), current_version=version
            )
        commit = first or Commit.from_text(cast("str", results[0][0][0]))
        return CasResult(ok=True, new_version=commit.version, current_status=new, current_version=commit.version)

    async def increment_resume_count(
        self, session_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> int:
        guard = self._guard("increment_resume_count", session_id, fencing_token, commit_id)
        return await self._increment(guard, session_sql.INCREMENT_RESUME_COUNT)

    async def increment_step_count(
        self, session_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> int:
        guard = self._guard("increment_step_count", session_id, fencing_token, commit_id)
        return await self._increment(guard, session_sql.INCREMENT_STEP_COUNT)

    async def _increment(self, guard: Guard, sql: LiteralString) -> int:
        first, results = await self._batches.guarded(guard, [Statement(sql, self._commit(guard))])
        if first is None and not results[0]:
            raise InvalidArgumentError(
                f"{guard.operation}: the count is {MAX_SAFE_INTEGER:,}, the largest that there is"
            )
        commit = first or Commit.from_text(cast("str", results[0][0][0]))
        return cast("int", commit.result)


def check_statuses(statuses: Collection[str], name: str) -> str:
    """Return a collection of statuses as JSON text. Each status is a list of its own, as `json_array(status)` writes it.

    SQLite 3.40 cuts the text of an element without a list at a NUL, and would find "a" equal to a longer text.

    Args:
        statuses: the collection.
        name: the argument's name, for the error.

    Raises:
        TypeError: it is a single text, whose letters would count as statuses, or no collection of texts.
    """
    if isinstance(statuses, str) or not isinstance(cast("object", statuses), Collection):
        raise TypeError(f"{name} must be a collection of texts, not {type(statuses).__name__}")
    texts = [check_text(status, f"a status in {name}", max_bytes=MAX_LABEL_BYTES) for status in statuses]
    check_whole_number(len(texts), f"the number of statuses in {name}", high=MAX_STATUSES)
    return encode_json([[stored_text(text)] for text in texts], name=name)
