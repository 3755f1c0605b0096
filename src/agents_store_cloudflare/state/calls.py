"""The base of all calls of the state store: the database, the limits, the guard of a write."""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.arguments import (
    FencingToken,
    check_fencing_token,
    check_id,
    check_whole_number,
    options_of,
)
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.state.marks import AnyVersion
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import Homes, OneDatabase, SqlValue, Statement
from agents_store_cloudflare.state import session_sql
from agents_store_cloudflare.state.batches import StateBatches
from agents_store_cloudflare.state.guard import Guard
from agents_store_cloudflare.state.options import StateSettings, StateStoreOptions, StoreLimits
from agents_store_cloudflare.state.outgoing import Outgoing
from agents_store_cloudflare.state.requests import Part, digest
from agents_store_cloudflare.state.session_lists import MAX_PAGE

if TYPE_CHECKING:
    from agents_store_cloudflare.state.accounts import Accounts
    from agents_store_cloudflare.usage.options import UsageOptions
else:
    Accounts = UsageOptions = Any  # for `typing.get_type_hints`; their modules are loaded with the first use

__all__ = ["MAX_PAGE", "StateCalls", "expected", "new_epoch", "state_for"]


class StateCalls:
    """The base of the parts of `D1StateStore`."""

    def __init__(
        self,
        database: object,
        *,
        options: StateStoreOptions | None = None,
        usage: UsageOptions | None = None,
        accounts: Accounts | None = None,
        **settings: Unpack[StateSettings],
    ) -> None:
        given = options_of(options, settings, StateStoreOptions)
        self._logger = given.logger or logging.getLogger("agents_store_cloudflare.state")
        homes = database if isinstance(database, Homes) else OneDatabase(as_database(database))
        self._batches = StateBatches(homes, self._logger)
        self._limits = given.limits or StoreLimits()
        self._require_fencing = given.require_fencing
        self._now_ms = given.now_ms
        self._usage_options = usage
        self._given_accounts = accounts

    @property
    def _accounts(self) -> Accounts:
        """The statements for usage. Their modules load at the first use, because many Workers record no usage with their states."""
        if self._given_accounts is None:
            from agents_store_cloudflare.state.accounts import Accounts  # noqa: PLC0415 - see above

            self._given_accounts = Accounts(self._usage_options, self._now_ms)
        return self._given_accounts

    def now_ms(self) -> int:
        """Return the present time of the store's clock (milliseconds since 1970)."""
        return self._now_ms()

    def _guard(
        self,
        operation: str,
        session_id: str,
        fencing_token: FencingToken,
        commit_id: str | None,
        *request: Part,
    ) -> Guard:
        """Return the guard of a write to a session that must exist.

        Args:
            operation: the name of the call.
            session_id: the session.
            fencing_token: the caller's token or lock.
            commit_id: the caller's name for the request, or None for a new one.
            request: all other arguments of the call, without its conditions, in a fixed order.
        """
        return Guard(
            session_id=check_id(session_id, "session_id"),
            commit_id=_named(commit_id),
            operation=operation,
            digest=digest(request),
            token=self._token(fencing_token),
            must_exist=True,
        )

    def _save_guard(
        self,
        outgoing: Outgoing,
        expected_version: int | AnyVersion | None,
        fencing_token: FencingToken,
        commit_id: str | None,
        *request: Part,
    ) -> Guard:
        """Return the guard of a save: it checks the version, the stored history and the parent.

        Args:
            outgoing: the state to save.
            expected_version: the caller's condition.
            fencing_token: the caller's token or lock.
            commit_id: the caller's name for the request, or None for a new one.
            request: all other arguments of the call, without its conditions, in a fixed order.
        """
        if expected_version is None:
            version: int | None = outgoing.version
        elif isinstance(expected_version, AnyVersion):
            version = None
        else:
            version = check_whole_number(expected_version, "expected_version")
        self._batches.homes.admit(outgoing.session_id, outgoing.state.parent_session_id)
        return Guard(
            session_id=check_id(outgoing.session_id, "session_id"),
            commit_id=_named(commit_id),
            operation=outgoing.operation,
            digest=digest((outgoing.parts(), *request)),
            token=self._token(fencing_token),
            version=version,
            history=outgoing.history,
            parent=outgoing.state.parent_session_id,
            compare_parent=True,
            new_messages=outgoing.added,
        )

    def _token(self, fencing_token: FencingToken) -> int | None:
        token = check_fencing_token(fencing_token)
        if token is None and self._require_fencing:
            raise InvalidArgumentError("this store requires a fencing_token with every write; pass the lock")
        return token

    def _commit(self, guard: Guard, result: str | None = None) -> tuple[SqlValue, ...]:
        """Return the first parameters of the statement that changes the state row: ?1 to ?5."""
        return (guard.session_id, self._now_ms(), guard.commit_id, guard.request, result)

    def _save_statements(self, outgoing: Outgoing, guard: Guard, result: str | None = None) -> list[Statement]:
        """Return the statements that store the state row and the new messages."""
        first = (*self._commit(guard, result), guard.new_messages, guard.new_checkpoints, new_epoch())
        # A version above 0 means that there is a row, so the shorter statement is enough. The guard checks the version.
        sql = session_sql.UPDATE_STATE if guard.version else session_sql.UPSERT_STATE
        return [Statement(sql, (*first, *outgoing.columns)), *outgoing.block_statements()]


def _named(commit_id: str | None) -> str:
    """Return the caller's name for a request, or a new one."""
    return secrets.token_hex(16) if commit_id is None else check_id(commit_id, "commit_id")


def new_epoch() -> int:
    """Return a random number for a new history, so that no earlier history of the session has the same."""
    return random.getrandbits(52) + 1


def expected(version: int | None) -> int | None:
    """Return the version that a call names as its condition, after checking it."""
    return None if version is None else check_whole_number(version, "expected_version")


def state_for(session_id: str, state: AgentState | Mapping[str, object]) -> AgentState:
    """Return the state as a record.

    Raises:
        InvalidArgumentError: the state belongs to another session.
    """
    check_id(session_id, "session_id")
    record = state if isinstance(state, AgentState) else AgentState.from_dict(state)
    if record.session_id != session_id:
        raise InvalidArgumentError(f"the state belongs to session {record.session_id!r}, not to {session_id!r}")
    return record
