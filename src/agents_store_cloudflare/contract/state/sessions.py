"""The contract of a state store, part one: sessions are made, saved, loaded, changed and listed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.contract.state.marks import AnyVersion
from agents_store_cloudflare.contract.state.records import AgentState, SessionPage

if TYPE_CHECKING:
    from agents_store_cloudflare.contract.usage.records import UsageEntry
else:
    UsageEntry = Any  # for `typing.get_type_hints`; a Worker without usage does not load the module

__all__ = ["SessionStore"]


class SessionStore(Protocol):
    """The part of a `StateStore` that makes, saves, loads, changes and lists sessions."""

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
        """Make a session and return its state.

        Args:
            session_id: a new id, 1 to 512 bytes.
            agent_type: the kind of agent, at most 2,000 bytes.
            initial_state: the custom state; empty by default.
            parent_session_id: the session that this one belongs to. The child has the same root, and is deleted with its parent.
            exist_ok: return the stored session unchanged when there is one.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.

        Returns:
            The stored state, with its version and times.

        Raises:
            SessionExistsError: there is a session of this id, and `exist_ok` is False.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (8-9 rows read, 0-4 written).
        """
        ...

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
        """Store a state and the messages that were added to it. Stored messages are never deleted or rewritten.

        The state that was passed gets the new version, so that it can be changed and saved again.

        Args:
            session_id: the session; the same id as `state.session_id`.
            state: a loaded state that was changed, or a new one.
            expected_version: save only when this version is stored. By default it is the state's own version; 0 means that the
                session must not exist yet. `ANY_VERSION` saves over any version.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the first result.
            usage: entries of this session. They are recorded in the same transaction, exactly when the state is saved.

        Returns:
            The new version.

        Raises:
            StaleStateError: `reason` is "version" if another version is stored, "history" if the stored messages are not the loaded
                ones, and "edited" if `state` holds changed copies of stored messages.
            StateSizeExceededError: the state or a message is larger than the store's limits.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 1 D1 batch (9-10 rows read, 2-3 written).
        """
        ...

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
        """Return the stored state, or None when there is no such session.

        Args:
            session_id: the session.
            required: raise `StateNotFoundError` instead of returning None.
            messages: "all", "none", or how many of the last messages to load. Saving a partly loaded state adds the messages that
                were appended to it.

        Returns:
            A new object, which the caller may change and save.

        Raises:
            StateNotFoundError: there is no such session, and `required` is True.

        Cost: 1 D1 batch (0-6 rows read).
        """
        ...

    async def update_state(
        self,
        session_id: str,
        change: Callable[[AgentState], Awaitable[None] | None],
        *,
        attempts: int = 30,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> AgentState:
        """Load a state, change it, save it; start again when somebody else saved in between. No change is lost.

        Args:
            session_id: the session.
            change: changes the state that it gets and returns None. It may be a coroutine function. Each attempt calls it once, with
                a freshly loaded state.
            attempts: the most attempts, 1 to 100. A growing random pause separates them.
            fencing_token: the lock that the caller holds, or its token.
            commit_id: a name for this request. The same request under it again gives the stored state and changes nothing.

        Returns:
            The state as it was saved.

        Raises:
            StateNotFoundError: there is no such session.
            StaleStateError: somebody else saved in between at every attempt.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 2 D1 batches (16 rows read, 2 written).
        """
        ...

    async def exists(self, session_id: str) -> bool:
        """Return whether the session is stored. It costs one row read.

        Args:
            session_id: the session.

        Cost: 1 D1 batch (1 row read).
        """
        ...

    async def session_exists(self, session_id: str) -> bool:
        """Return whether the session is stored; another name of `exists`.

        Args:
            session_id: the session.

        Cost: 1 D1 batch (1 row read).
        """
        ...

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
        """Return a page of sessions without their messages, the newest first by creation.

        With a prefix or a parent, the database reads the sessions of that prefix or parent. Otherwise it reads the newest sessions until
        the page is full. Agent type and status have no index.

        Args:
            prefix: the beginning of the session ids.
            agent_type: only sessions of this agent type.
            status: only sessions with this status.
            parent_session_id: only children of this session.
            limit: the most sessions, 1 to 1,000.
            cursor: the `next_cursor` of the page before.

        Returns:
            The sessions that fit every argument, and the cursor of the next page.

        Raises:
            InvalidArgumentError: `limit` is out of range, or `cursor` is not one of `list_sessions`.

        Cost: 1 D1 batch (11-22 rows read).
        """
        ...
