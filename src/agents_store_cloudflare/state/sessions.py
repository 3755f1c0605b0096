"""Sessions: they are made, saved, loaded, changed and listed."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from agents_store_cloudflare.contract.arguments import (
    UNSET,
    FencingToken,
    check_flag,
    check_id,
    check_whole_number,
)
from agents_store_cloudflare.contract.errors import SessionExistsError, StaleStateError, StateNotFoundError
from agents_store_cloudflare.contract.json_values import JsonValue, encode_json
from agents_store_cloudflare.contract.state.marks import AnyVersion
from agents_store_cloudflare.contract.state.records import AgentState, SessionPage
from agents_store_cloudflare.contract.state.sessions import SessionStore
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.state import codec, session_sql
from agents_store_cloudflare.state.calls import StateCalls, new_epoch, state_for
from agents_store_cloudflare.state.commit_sql import FIRST_COMMIT
from agents_store_cloudflare.state.contention import MOST_ATTEMPTS, pause_after_conflict
from agents_store_cloudflare.state.cursors import cursor_after
from agents_store_cloudflare.state.loading import loaded, loading
from agents_store_cloudflare.state.numbering import MAX_MESSAGES
from agents_store_cloudflare.state.outgoing import Outgoing
from agents_store_cloudflare.state.session_lists import ListedSessions

if TYPE_CHECKING:
    from agents_store_cloudflare.contract.usage.records import UsageEntry
else:
    UsageEntry = Any  # for `typing.get_type_hints`; a Worker without usage does not load the module

__all__ = ["SessionCalls"]


class SessionCalls(StateCalls, SessionStore):
    """The calls about sessions: `SessionStore` on D1."""

    async def create_session(
        self,
        session_id: str,
        *,
        agent_type: str,
        initial_state: Mapping[str, JsonValue] | None = None,
        parent_session_id: str | None = None,
        exist_ok: bool = False,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> AgentState:
        check_flag(exist_ok, "exist_ok")
        state = AgentState(
            session_id=check_id(session_id, "session_id"),
            agent_type=agent_type,
            custom_state=_object(initial_state, "initial_state"),
            parent_session_id=parent_session_id,
        )
        codec.check_state(state)
        self._batches.homes.admit(session_id, parent_session_id)
        operation = "create_session"
        columns = codec.columns_of(state, self._limits.max_state_bytes, operation)
        guard = replace(
            self._guard(operation, session_id, fencing_token, commit_id, columns, exist_ok),
            must_exist=False,
            version=None if exist_ok else 0,
        )
        insert = Statement(session_sql.CREATE_STATE, (*self._commit(guard), 0, 0, new_epoch(), *columns))
        try:
            first, results = await self._batches.guarded(guard, [insert, *loading(session_id)])
        except StaleStateError as error:
            raise SessionExistsError(session_id) from error
        if first is not None:
            guard.living(first)
            rows, blocks = await self._batches.read(loading(session_id))
            if not rows:
                raise StateNotFoundError(session_id)
            return loaded(rows, blocks)
        return loaded(results[1], results[2])

    async def save_state(
        self,
        session_id: str,
        state: AgentState | Mapping[str, object],
        *,
        expected_version: int | AnyVersion | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
        usage: Sequence[UsageEntry | Mapping[str, object]] = (),
    ) -> int:
        outgoing = Outgoing.of(state_for(session_id, state), self._limits, "save_state")
        entries = list(usage)
        recorded = self._accounts.record(session_id, entries) if entries else []
        request = encode_json([_entry(entry) for entry in entries], name="usage")
        guard = self._save_guard(outgoing, expected_version, fencing_token, commit_id, request)
        commit, _ = await self._batches.write(guard, [*self._save_statements(outgoing, guard), *recorded])
        outgoing.bring_up_to_date(commit)
        return commit.version

    async def save(
        self,
        state: AgentState | Mapping[str, object],
        *,
        expected_version: int | AnyVersion | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
        usage: Sequence[UsageEntry | Mapping[str, object]] = (),
    ) -> int:
        """Store a state under its own session id: `save_state(state.session_id, state)`.

        Args:
            state: a loaded state that was changed, or a new one.
            expected_version: as for `save_state`.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.
            usage: entries of this session, recorded in the same transaction.

        Returns:
            The new version.

        Raises:
            StaleStateError: as `save_state` raises it.
            StateSizeExceededError: the state or a message is larger than the store's limits.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (3-9 rows read, 1-4 written).
        """
        saved = state if isinstance(state, AgentState) else AgentState.from_dict(state)
        return await self.save_state(
            saved.session_id,
            saved,
            expected_version=expected_version,
            fencing_token=fencing_token,
            commit_id=commit_id,
            usage=usage,
        )

    async def update_state(
        self,
        session_id: str,
        change: Callable[[AgentState], Awaitable[None] | None],
        *,
        attempts: int = MOST_ATTEMPTS,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> AgentState:
        check_whole_number(attempts, "attempts", low=1, high=100)
        # The digest cannot cover a function. The commit id alone names the change.
        guard = self._guard("update_state", session_id, fencing_token, commit_id)
        remembered = Statement(FIRST_COMMIT, (session_id, guard.commit_id))
        for attempt in range(1, attempts + 1):
            rows, blocks, commits = await self._batches.read([*loading(session_id), remembered])
            if commits:
                guard.living(guard.first(cast("str", commits[0][0]), past=bool(commits[0][1])))
                await self._batches.raise_fence(guard)
            if not rows:
                raise StateNotFoundError(session_id)
            state = loaded(rows, blocks)
            if commits:
                return state
            await _change(change, state)
            try:
                outgoing = Outgoing.of(state, self._limits, guard.operation)
                saving = self._save_guard(outgoing, None, fencing_token, guard.commit_id)
                saving = replace(saving, digest=guard.digest)
                commit, _ = await self._batches.write(saving, self._save_statements(outgoing, saving))
            except StaleStateError as error:
                if attempt == attempts or error.reason == "edited":
                    raise
            else:
                outgoing.bring_up_to_date(guard.living(commit))
                return state
            await pause_after_conflict(attempt)
        raise AssertionError("the last attempt returns or raises")

    @overload
    async def load_state(
        self, session_id: str, *, required: Literal[True], messages: Literal["all", "none"] | int = "all"
    ) -> AgentState: ...

    @overload
    async def load_state(
        self, session_id: str, *, required: bool = False, messages: Literal["all", "none"] | int = "all"
    ) -> AgentState | None: ...

    async def load_state(
        self, session_id: str, *, required: bool = False, messages: Literal["all", "none"] | int = "all"
    ) -> AgentState | None:
        check_id(session_id, "session_id")
        check_flag(required, "required")
        wanted = _wanted_messages(messages)
        rows, *blocks = await self._batches.show(loading(session_id, wanted))
        if not rows:
            if required:
                raise StateNotFoundError(session_id)
            return None
        return loaded(rows, blocks[0], wanted) if blocks else codec.state_of(rows[0])

    async def exists(self, session_id: str) -> bool:
        check_id(session_id, "session_id")
        [rows] = await self._batches.show([Statement(session_sql.SELECT_EXISTS, (session_id,))])
        return bool(rows)

    async def session_exists(self, session_id: str) -> bool:
        return await self.exists(session_id)

    async def list_sessions(
        self,
        *,
        prefix: str | None = None,
        agent_type: str | None = None,
        status: str | None = None,
        parent_session_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> SessionPage:
        wanted = ListedSessions.of(
            prefix=prefix,
            agent_type=agent_type,
            status=status,
            parent_session_id=parent_session_id,
            limit=limit,
            cursor=cursor,
        )
        return await self._listed(wanted)

    async def _listed(self, wanted: ListedSessions) -> SessionPage:
        page = (wanted.below, wanted.agent_type, wanted.status, wanted.limit + 1)
        parent = wanted.parent_session_id
        if wanted.prefix:
            statement = Statement(session_sql.LIST_PREFIXED, (*page, parent, wanted.prefix, wanted.after_prefix))
        elif parent is not None:
            statement = Statement(session_sql.LIST_CHILDREN, (*page, parent))
        else:
            statement = Statement(session_sql.LIST_SESSIONS, page)
        [rows] = await self._batches.show([statement])
        more = len(rows) > wanted.limit
        return SessionPage(
            items=[codec.listed_state_of(row[1:]) for row in rows[: wanted.limit]],
            next_cursor=cursor_after("sessions", cast("int", rows[wanted.limit - 1][0])) if more else None,
            has_more=more,
        )


def _entry(entry: UsageEntry | Mapping[str, object]) -> JsonValue:
    """Return a usage entry as the caller gave it, for the digest of the request."""
    return cast("JsonValue", dict(entry) if isinstance(entry, Mapping) else entry.to_dict())


def _object(value: Mapping[str, JsonValue] | None, name: str) -> dict[str, JsonValue]:
    if value is None:
        return {}
    if not isinstance(cast("object", value), Mapping):
        raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")
    return dict(value)


async def _change(change: Callable[[AgentState], Awaitable[None] | None], state: AgentState) -> None:
    result: Any = change(state)
    if inspect.isawaitable(result):
        result = await result
    if result is not None:
        raise TypeError(f"change must change the state that it gets and return None, not {type(result).__name__}")


def _wanted_messages(messages: Literal["all", "none"] | int) -> int:
    if messages == "all":
        return MAX_MESSAGES
    if messages == "none":
        return 0
    return check_whole_number(messages, "messages", high=MAX_MESSAGES)
