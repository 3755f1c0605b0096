"""`D1StateStore`: sessions, messages, checkpoints, staged changes, runs and references in D1, one batch for each call."""

from __future__ import annotations

from agents_store_cloudflare.contract.arguments import called_by_its_name
from agents_store_cloudflare.contract.state.store import StateStore
from agents_store_cloudflare.state.deletions import DeletionCalls
from agents_store_cloudflare.state.messages import MessageCalls
from agents_store_cloudflare.state.references import ReferenceCalls
from agents_store_cloudflare.state.runs import RunCalls
from agents_store_cloudflare.state.sessions import SessionCalls
from agents_store_cloudflare.state.staging import StagingCalls
from agents_store_cloudflare.state.statuses import StatusCalls

__all__ = ["D1StateStore"]


@called_by_its_name
class D1StateStore(
    SessionCalls, StatusCalls, MessageCalls, StagingCalls, RunCalls, ReferenceCalls, DeletionCalls, StateStore
):
    """`StateStore` on D1.

    Args:
        database: a D1 binding or session, raw or as the Workers SDK wraps it, or a `Database` (`testing.SqliteDatabase`); or the
            `Homes` of the sessions when they live in several databases.
        options: all options at once.
        usage: the table and the prices for the entries that `save_state` records.
        accounts: records usage when it is not kept in a table of the same database.
        settings: single options as keyword arguments; see `StateStoreOptions`.
    """
