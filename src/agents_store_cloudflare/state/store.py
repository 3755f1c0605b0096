"""`D1StateStore`: sessions, messages, checkpoints, staged changes, runs and references in D1, one batch a call."""

from __future__ import annotations

from agents_store_cloudflare.contract.state.store import StateStore
from agents_store_cloudflare.state.deletions import DeletionCalls
from agents_store_cloudflare.state.references import ReferenceCalls
from agents_store_cloudflare.state.runs import RunCalls
from agents_store_cloudflare.state.sessions import SessionCalls
from agents_store_cloudflare.state.statuses import StatusCalls
from agents_store_cloudflare.state.turns import TurnCalls

__all__ = ["D1StateStore"]


class D1StateStore(SessionCalls, StatusCalls, TurnCalls, RunCalls, ReferenceCalls, DeletionCalls, StateStore):
    """`StateStore` on D1: what each call promises stands there.

    Args:
        database: a D1 binding or session, raw or as the Workers SDK wraps it, or a `Database` (`testing.SqliteDatabase`);
            or the `Homes` of the sessions, where they live in more than one.
        limits: sizes above which a write is refused.
        require_fencing: refuse every write that brings no fencing token.
        usage: table and prices of the entries that `save_state` records.
        now_ms: the clock, in milliseconds since 1970.
    """
