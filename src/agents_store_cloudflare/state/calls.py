"""What all calls of the state store share: the database, the limits, the guard of a write."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.arguments import (
    MAX_SAFE_INTEGER,
    check_fencing_token,
    check_id,
    check_whole_number,
    system_now_ms,
)
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.locks import Lock
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.contract.state.store import AnyVersion
from agents_store_cloudflare.database import SqlValue, Statement
from agents_store_cloudflare.state import codec, message_sql, session_sql
from agents_store_cloudflare.state.batches import StateBatches
from agents_store_cloudflare.state.guard import Guard
from agents_store_cloudflare.state.options import StoreLimits
from agents_store_cloudflare.usage import UsageOptions

__all__ = ["MAX_PAGE", "MOST_ATTEMPTS", "StateCalls", "new_epoch", "state_for"]

MAX_PAGE = 1_000
MOST_ATTEMPTS = 5
"""Of a call that reads, decides in Python and writes: again after somebody else wrote in between."""


class StateCalls:
    """One part of `D1StateStore`; the parts share what is here.

    Args:
        database: a D1 binding or session, raw or as the Workers SDK wraps it, or a `Database` (`testing.SqliteDatabase`).
        limits: sizes above which a write is refused.
        require_fencing: refuse every write that brings no fencing token.
        usage: table and prices of the entries that `save_state` records.
        now_ms: the clock, in milliseconds since 1970.
    """

    def __init__(
        self,
        database: object,
        *,
        logger: logging.Logger | None = None,
        limits: StoreLimits | None = None,
        require_fencing: bool = False,
        usage: UsageOptions | None = None,
        now_ms: Callable[[], int] = system_now_ms,
    ) -> None:
        self._logger = logger or logging.getLogger("agents_store_cloudflare.state")
        self._batches = StateBatches(as_database(database), self._logger)
        self._limits = limits or StoreLimits()
        self._require_fencing = require_fencing
        self._usage = usage or UsageOptions()
        self._now_ms = now_ms

    def _guard(self, operation: str, session_id: str, fencing_token: int | Lock | None, commit_id: str | None) -> Guard:
        """The guard of a write to a session that must exist."""
        return Guard(
            session_id=check_id(session_id, "session_id"),
            commit_id=uuid.uuid4().hex if commit_id is None else check_id(commit_id, "commit_id"),
            operation=operation,
            token=self._token(fencing_token),
            must_exist=True,
        )

    def _save_guard(
        self,
        operation: str,
        state: AgentState,
        expected_version: int | AnyVersion | None,
        fencing_token: int | Lock | None,
        commit_id: str | None,
    ) -> Guard:
        """The guard of a save: the version, where the histories meet, a parent that stays."""
        if expected_version is None:
            version: int | None = state.version
        elif isinstance(expected_version, AnyVersion):
            version = None
        else:
            version = check_whole_number(expected_version, "expected_version")
        codec.check_state(state)
        return replace(
            self._guard(operation, state.session_id, fencing_token, commit_id),
            must_exist=False,
            version=version,
            history=codec.history_of(state),
            parent=state.parent_session_id,
            compare_parent=True,
            new_messages=len(codec.new_messages(state)),
        )

    def _token(self, fencing_token: int | Lock | None) -> int | None:
        token = check_fencing_token(fencing_token)
        if token is None and self._require_fencing:
            raise InvalidArgumentError("this store requires a fencing_token with every write; pass the lock")
        return token

    def _commit(self, guard: Guard, result: str | None = None) -> tuple[SqlValue, ...]:
        """The first parameters of the statement that changes the state row: ?1 to ?5."""
        return (guard.session_id, self._now_ms(), guard.commit_id, guard.operation, result)

    def _save_statements(self, state: AgentState, guard: Guard, result: str | None = None) -> list[Statement]:
        """The state row and the blocks of its new messages."""
        # The guard has checked and counted them: reading the whole history once more would cost every save.
        tail = state.messages[len(state.messages) - guard.new_messages :]
        columns = codec.columns_of(state, self._limits.max_state_bytes, guard.operation)
        first = (*self._commit(guard, result), guard.new_messages, guard.new_checkpoints, new_epoch())
        # The guard holds the version: above 0 there is a row, and the shorter statement does.
        sql = session_sql.UPDATE_STATE if guard.version else session_sql.UPSERT_STATE
        return [
            Statement(sql, (*first, *columns)),
            *self._block_statements(guard, tail, codec.history_of(state).count),
        ]

    def _block_statements(self, guard: Guard, messages: codec.Messages, first_sequence: int) -> list[Statement]:
        blocks = codec.blocks_of(
            messages, first_sequence, self._limits.max_message_bytes, guard.session_id, guard.operation
        )
        return [
            Statement(message_sql.INSERT_BLOCK, (guard.session_id, block.first_sequence, block.count, block.body))
            for block in blocks
        ]


def new_epoch() -> int:
    """A number for a history that no earlier one of the session has."""
    return random.randrange(1, MAX_SAFE_INTEGER)  # noqa: S311 - an identity, no secret


def state_for(session_id: str, state: AgentState | Mapping[str, object]) -> AgentState:
    """The state as a record, if it is of this session.

    Raises:
        InvalidArgumentError: it is another one's.
    """
    check_id(session_id, "session_id")
    record = state if isinstance(state, AgentState) else AgentState.from_dict(state)
    if record.session_id != session_id:
        raise InvalidArgumentError(f"the state is of session {record.session_id!r}, not {session_id!r}")
    return record
