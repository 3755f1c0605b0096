"""Deletes usage entries: all entries of a session, or the old entries of all sessions."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import LiteralString

from agents_store_cloudflare.contract.arguments import (
    UNSET,
    FencingToken,
    check_fencing_token,
    check_flag,
    check_id,
)
from agents_store_cloudflare.contract.usage.entry_store import EntryStore
from agents_store_cloudflare.usage import deletion_sql, sql
from agents_store_cloudflare.usage.budgets import Budgets, age_span_ms

__all__ = ["Deletions"]


class Deletions(Budgets, EntryStore):
    """The calls of `EntryStore` on D1 that delete entries."""

    async def delete(
        self, session_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> int:
        check_id(session_id, "session_id")
        token = check_fencing_token(fencing_token)
        statement = self._batches.statement
        sessions = json.dumps([session_id], ensure_ascii=False)
        return await self._batches.run_deletion(
            [statement(each, session_id) for each in deletion_sql.DELETE_SESSION],
            commit_id=commit_id,
            request=("delete", session_id),
            count=sql.COUNT_ENTRIES,
            of=session_id,
            guards=[] if token is None else [statement(deletion_sql.FENCE_GUARD, session_id, token)],
            fences=[] if token is None else [statement(sql.RAISE_FENCES, sessions, token)],
            token=token,
        )

    async def delete_old_entries(
        self,
        age: float | timedelta | None = None,
        *,
        age_ms: float | None = None,
        keep_totals: bool = False,
        commit_id: str | None = None,
    ) -> int:
        span = age_span_ms(age, age_ms)
        kept: tuple[LiteralString, ...] = deletion_sql.KEEP_TOTALS if check_flag(keep_totals, "keep_totals") else ()
        texts = (*kept, *deletion_sql.COUNT_WITHOUT_OLD, deletion_sql.DELETE_OLD_COMMITS, deletion_sql.DELETE_OLD)
        before_ms = await self._batches.time_before(span)
        statement = self._batches.statement
        return await self._batches.run_deletion(
            [statement(each, before_ms) for each in texts],
            commit_id=commit_id,
            request=("delete_old_entries", span, keep_totals),
            count=deletion_sql.COUNT_OLD,
            of=before_ms,
        )
