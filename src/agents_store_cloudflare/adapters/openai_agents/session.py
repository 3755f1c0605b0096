"""`D1Session`: the items of a conversation of the OpenAI Agents SDK, as the messages of a session in D1."""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from agents.memory.session_settings import SessionSettings, coerce_session_settings

from agents_store_cloudflare.adapters.openai_agents.errors import OrphanToolOutputError
from agents_store_cloudflare.adapters.openai_agents.tool_calls import (
    KnownCalls,
    call_ids,
    calls_missing,
    without_cut_outputs,
)
from agents_store_cloudflare.adapters.openai_agents.usage import usage_entries
from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, check_fencing_token, check_flag, check_id
from agents_store_cloudflare.contract.errors import InvalidArgumentError, StaleStateError, StateNotFoundError
from agents_store_cloudflare.contract.usage.records import UsageEntry
from agents_store_cloudflare.database import Homes, OneDatabase
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.state.contention import MOST_ATTEMPTS
from agents_store_cloudflare.state.history import history_of
from agents_store_cloudflare.state.numbering import MAX_MESSAGES
from agents_store_cloudflare.usage import D1UsageStore

if TYPE_CHECKING:
    from agents.items import TResponseInputItem

__all__ = ["D1Session"]

T = TypeVar("T")


class D1Session:
    """A `Session` of the OpenAI Agents SDK in D1, or in sqlite in tests. Each call is one batch, which is one transaction.

    The items are the messages of a session of the state store. So the same lock covers the conversation, the state and the stream
    of the id, and export, import, deletion and clean-up include the conversation. Several writers without a lock lose nothing: each
    appends after the stored items, and no two pops return the same item.

    A cancelled call completes its change before it raises the cancellation, so that the runner knows which items are stored.

    Args:
        session_id: the session.
        database: a D1 binding (`env.AGENT_DB`), a `Database` (`testing.SqliteDatabase`), or
            `store.session_homes` for sessions in homes.
        agent_type: the agent type of the session that the first `add_items` makes.
        session_settings: the SDK's settings, or a mapping of them. `limit` is the most items that a run reads.
        fencing_token: the lock of the session, or its token. Every change compares it, in its own transaction, with the highest
            token that was seen for the session.
        check_tool_outputs: refuse outputs without an earlier stored call.

    Example:
        >>> session = D1Session("ada", env.AGENT_DB, fencing_token=lock)
        >>> result = await Runner.run(agent, "hello", session=session)
        >>> await session.record_usage(result)

    Every change may raise `StaleFencingTokenError` (a newer holder has written), `StateSizeExceededError` (an item is larger than
    the store's limits) and `D1StateError` (the database failed). Then nothing was written.
    """

    session_id: str
    session_settings: SessionSettings | None

    def __init__(
        self,
        session_id: str,
        database: object,
        *,
        agent_type: str = "openai-agents",
        session_settings: SessionSettings | Mapping[str, Any] | None = None,
        fencing_token: FencingToken = UNSET,
        check_tool_outputs: bool = True,
    ) -> None:
        check_id(session_id, "session_id")
        check_id(agent_type, "agent_type")
        check_flag(check_tool_outputs, "check_tool_outputs")
        self.session_id = session_id
        self.session_settings = _settings(session_settings)
        self._database = database
        self._state = D1StateStore(database)
        self._agent_type = agent_type
        check_fencing_token(fencing_token)
        self._token: FencingToken = fencing_token
        self._checks_outputs = check_tool_outputs
        self._known = KnownCalls()

    def __repr__(self) -> str:
        return f"D1Session({self.session_id!r})"

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the items in their order, or an empty list if none are stored. It costs one batch.

        Args:
            limit: the most items, counted from the end. A negative number means all, as in the SDK's own sessions. None takes the
                limit of `session_settings`, and leaves out a tool's output when its call is not among the returned items, because a
                model would refuse it.

        Raises:
            InvalidArgumentError: `limit` is no int.

        Cost: 1 D1 batch (4 rows read).
        """
        if limit is not None and (isinstance(limit, bool) or not isinstance(cast("object", limit), int)):
            raise InvalidArgumentError(f"limit must be an int or None, got {type(limit).__name__}")
        settings = self.session_settings
        default = settings.limit if limit is None and settings is not None else None
        known = self._known
        items, epoch = await self._last_items(limit if limit is not None else default)
        if epoch is not None:
            known.add(items, epoch)
        return cast("list[TResponseInputItem]", without_cut_outputs(items) if default is not None else items)

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items after all stored ones. The first call makes the session. It costs one batch, or none for an empty list.

        Args:
            items: the items, JSON objects of any shape. The call takes its own copy before it waits.

        Raises:
            OrphanToolOutputError: a tool's output has no call before it.
            InvalidArgumentError: an item is no JSON object; the message names the item.

        Cost: 1 D1 batch (10-11 rows read, 2-5 written).
        """
        added = [_own(item, index) for index, item in enumerate(items)]
        if added:
            await _to_its_end(self._append(added, str(uuid.uuid4())))

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the last item and return it; None when there is none. No other call gets the same item. It costs one batch.

        Cost: 1 D1 batch (33 rows read, 2 written).
        """
        return cast("TResponseInputItem | None", await _to_its_end(self._pop(str(uuid.uuid4()))))

    async def clear_session(self) -> None:
        """Remove all items, and the checkpoints that count them. It costs one batch.

        The session stays with its custom state, usage and fence. `store.delete_session` deletes the whole session.

        Cost: 1 D1 batch (13 rows read, 2 written).
        """
        await _to_its_end(self._clear(str(uuid.uuid4())))

    async def record_usage(
        self, result: Any, *, model: str | None = None, run_id: str | None = None, commit_id: str | None = None
    ) -> list[UsageEntry]:
        """Store the tokens of each answer of a run. A repeated call with the same result counts nothing twice. It costs one batch.

        Args:
            result: the result of `Runner.run` or `Runner.run_streamed`, after the run's end.
            model: the model that is billed. The default is the name of the last agent's model.
            run_id: the run of a turn that the entries belong to.
            commit_id: a name for this request, needed for providers without response ids.

        Returns:
            The stored entries: none if no model has answered in the run.

        Raises:
            UsageError: the database failed.
            InvalidArgumentError: the session lives in a home. The usage store of the same `CloudflareStore` records `usage_entries(…)`.
        """
        database = self._database.of(self.session_id) if isinstance(self._database, OneDatabase) else self._database
        if isinstance(database, Homes):
            raise InvalidArgumentError(
                "usage of a session in a home is recorded by the usage store: store.usage_store.record_entries(usage_entries(…))"
            )
        entries = usage_entries(result, session_id=self.session_id, model=model, run_id=run_id)
        if not entries:
            return []
        name = str(uuid.uuid4()) if commit_id is None else commit_id
        return await _to_its_end(
            D1UsageStore(database).record_entries(entries, commit_id=name, fencing_token=self._token)
        )

    async def _last_items(self, limit: int | None) -> tuple[list[dict[str, Any]], int | None]:
        """Return the last items, and the epoch of their history: 0 without a session, None if nothing was read."""
        if limit == 0:
            return [], None
        state = await self._state.load_state(
            self.session_id, messages="all" if limit is None or not 0 <= limit <= MAX_MESSAGES else limit
        )
        if state is None:
            return [], 0
        return [dict(message) for message in state.messages], history_of(state).epoch

    async def _append(self, items: list[dict[str, Any]], commit_id: str) -> None:
        known = self._known  # a pop or a clearing meanwhile replaces this object
        is_answer = self._checks_outputs and bool(calls_missing(items, ()))
        for attempt in range(1, MOST_ATTEMPTS + 1):
            if is_answer and calls_missing(items, known.ids):
                stored, epoch = await self._last_items(None)
                if missing := calls_missing(items, call_ids(stored)):
                    raise OrphanToolOutputError(session_id=self.session_id, call_ids=missing)
                known.add(stored, epoch or 0)
            try:
                epoch = await self._state.append_after(
                    self.session_id,
                    items,
                    history_epoch=known.epoch if is_answer else None,
                    create=self._agent_type,
                    fencing_token=self._token,
                    commit_id=commit_id,
                )
            except StaleStateError:  # somebody has removed items since they were read: the call may be among them
                if attempt == MOST_ATTEMPTS:
                    raise
                known.ids.clear()
            else:
                known.add(items, epoch)
                return

    async def _pop(self, commit_id: str) -> dict[str, Any] | None:
        try:
            popped = await self._state.pop_messages(
                self.session_id, drop_checkpoints=True, commit_id=commit_id, fencing_token=self._token
            )
        except StateNotFoundError:
            return None
        self._known = KnownCalls()
        return dict(popped[0]) if popped else None

    async def _clear(self, commit_id: str) -> None:
        try:
            await self._state.truncate_messages(
                self.session_id, 0, drop_checkpoints=True, commit_id=commit_id, fencing_token=self._token
            )
        except StateNotFoundError:
            return
        finally:
            self._known = KnownCalls()


async def _to_its_end(change: Coroutine[Any, Any, T]) -> T:
    """Wait until a change is complete, also when the caller is cancelled.

    Then raise the cancellation. An error of the change becomes its cause.
    """
    task = asyncio.ensure_future(change)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
    if cancelled is not None:
        raise cancelled from task.exception()
    return task.result()


def _own(item: object, index: int) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise InvalidArgumentError(
            f"item {index} must be a JSON object, got {type(item).__name__}; ItemHelpers.input_to_new_input_list makes items of a text"
        )
    return copy.deepcopy(dict(cast("Mapping[str, Any]", item)))


def _settings(given: SessionSettings | Mapping[str, Any] | None) -> SessionSettings:
    if given is None:
        return SessionSettings()
    return coerce_session_settings(given if isinstance(given, SessionSettings) else dict(given))
