"""The whole contract of a state store: its parts stand in the modules beside this one."""

from __future__ import annotations

from typing import Protocol

from agents_store_cloudflare.contract.state.checkpoints import CheckpointStore
from agents_store_cloudflare.contract.state.deletion import DeletionStore
from agents_store_cloudflare.contract.state.messages import MessageStore
from agents_store_cloudflare.contract.state.references import ReferenceStore
from agents_store_cloudflare.contract.state.runs import RunStore
from agents_store_cloudflare.contract.state.sessions import SessionStore
from agents_store_cloudflare.contract.state.staging import StagingStore
from agents_store_cloudflare.contract.state.statuses import StatusStore

__all__ = ["StateStore"]


class StateStore(
    SessionStore,
    StatusStore,
    MessageStore,
    CheckpointStore,
    StagingStore,
    RunStore,
    ReferenceStore,
    DeletionStore,
    Protocol,
):
    """Sessions: an agent's state, its messages and its checkpoints. One call is one database batch, which is one transaction.

    Every write that changes the state row or the messages raises `version` by one. A write stores what its arguments hold when it is
    called: the caller may change them while it waits.

    A `commit_id` names one request with everything that it stores. The same request under the same id gives the first result, also after
    the session was deleted. Another request under it raises `InvalidArgumentError`. When the first result is gone with its session,
    the repetition raises `StateNotFoundError` with `deleted_since`.

    Every call checks its arguments before it sends anything, and raises `TypeError` or `InvalidArgumentError`. Every call raises
    `D1StateError` when the database fails.
    """
