"""`CloudflareStore`: the stores of one request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, check_id, check_whole_number
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.turns import SweptTurns
from agents_store_cloudflare.database import Database, DatabaseSession, Homes, OneDatabase, primary_of
from agents_store_cloudflare.locks import DurableObjectLockManager
from agents_store_cloudflare.metering.meter import Meter, OpenMeters
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.objects.wiring import ObjectKind
from agents_store_cloudflare.state.turn_store import D1TurnStore
from agents_store_cloudflare.store.session_deletion import SessionDeletion
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.turns import TurnBlock, TurnOptions
from agents_store_cloudflare.usage import D1UsageStore
from agents_store_cloudflare.wiring import check_objects_once

if TYPE_CHECKING:
    from agents_store_cloudflare.contract.state.summaries import SessionSummary
    from agents_store_cloudflare.homes.database import ObjectHomes
else:
    SessionSummary = Any  # for `typing.get_type_hints`; the module is loaded with the first use

__all__ = ["CloudflareStore", "StoreParts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreParts:
    """The parts of a store, for the operator's console: its database, its objects by kind, and its usage table.

    The store's meter counts all calls to them.

    Attributes:
        homes: the homes of the sessions; None when the sessions are in the database.
    """

    database: Database
    objects: Mapping[ObjectKind, ObjectNamespace]
    usage_table: str
    homes: ObjectHomes | None = None


class CloudflareStore(tuple[D1TurnStore, DurableObjectStreamManager]):  # noqa: SLOT001 - a tuple with attributes cannot have slots
    """The stores of one request. Make it for each request, and never keep it in a module global.

    It can be unpacked as `state_store, stream_manager`.

    Attributes:
        state_store: sessions, messages, checkpoints.
        stream_manager: streams of chunks.
        usage_store: what sessions used.
        lock_manager: fenced locks; None when the store has no `locks` binding. The property `locks` raises an error then.
    """

    state_store: D1TurnStore
    stream_manager: DurableObjectStreamManager
    usage_store: D1UsageStore
    lock_manager: DurableObjectLockManager | None

    def __new__(
        cls,
        database: Database,
        state_store: D1TurnStore,
        stream_manager: DurableObjectStreamManager,
        usage_store: D1UsageStore,
        lock_manager: DurableObjectLockManager | None,
        *,
        meters: OpenMeters,
        objects: Mapping[ObjectKind, ObjectNamespace],
        usage_table: str,
        homes: ObjectHomes | None = None,
        stream_namespace: ObjectNamespace | None = None,
        session: DatabaseSession | None = None,
    ) -> Self:
        """Use `create_cloudflare_store`."""
        store = super().__new__(cls, (state_store, stream_manager))
        store._parts = StoreParts(database=database, objects=objects, usage_table=usage_table, homes=homes)
        store.state_store = state_store
        store.stream_manager = stream_manager
        store.usage_store = usage_store
        store.lock_manager = lock_manager
        store._meters = meters
        store._session = session
        store._stream_namespace = stream_namespace or objects["stream"]
        return store

    _meters: OpenMeters
    _session: DatabaseSession | None
    _parts: StoreParts
    _stream_namespace: ObjectNamespace

    @property
    def parts(self) -> StoreParts:
        """The parts of the store, for the operator's console."""
        return self._parts

    @property
    def stream_namespace(self) -> ObjectNamespace:
        """The namespace of the store's streams, for `StreamGateway`.

        With homes it leads to the binding `sessions` for some streams.

        Example:
            >>> gateway = StreamGateway(store.stream_namespace, authorize=may_read)
        """
        return self._stream_namespace

    @property
    def session_homes(self) -> Homes:
        """Where the sessions live, for the adapters of frameworks. Without homes it is the database.

        With a bookmark, adapters read from the primary database, and `bookmark` covers what they write.

        Example:
            >>> session = D1Session("ada", store.session_homes, fencing_token=lock)
        """
        if self._parts.homes is not None:
            return self._parts.homes
        if self._session is None:
            return OneDatabase(self._parts.database)
        from agents_store_cloudflare.store.bookmarks import AdaptersDatabase  # noqa: PLC0415 - most stores have no bookmark

        return OneDatabase(AdaptersDatabase(self._parts.database))

    @property
    def bookmark(self) -> str | None:
        """The point in D1's history that this store has seen, for the `bookmark` of the next request's store.

        Send it to the client, e.g. in a header. Of several bookmarks, `max()` gives the newest. None before the first call, and in
        a store that was made without `bookmark`.
        """
        return None if self._session is None else self._session.bookmark

    def __repr__(self) -> str:
        roles = "state, streams, usage" + ("" if self.lock_manager is None else ", locks")
        return f"<CloudflareStore: {roles}>"

    @property
    def locks(self) -> DurableObjectLockManager:
        """The lock manager.

        Raises:
            InvalidArgumentError: the store was made without a `locks` binding.
        """
        if self.lock_manager is None:
            raise InvalidArgumentError("this store has no locks; pass locks=env.LOCKS to create_cloudflare_store")
        return self.lock_manager

    def meter(self) -> AbstractContextManager[Meter]:
        """Count the work of this store inside a block, in D1 and in Durable Objects. Without a meter nothing is counted.

        Example:
            >>> with store.meter() as m:
            ...     await state_store.save(state)
            >>> m.d1.rows_written
            2
            >>> print(estimate(m.cost()))
            $2.007 per million
        """
        return self._meters.open()

    async def migrate(self) -> int:
        """Bring the database to the current schema. Check once in each isolate that the bindings lead to the right classes.

        When the schema is current, the call reads one row. The check is one call for each Durable Object class. It runs only in the
        first `migrate` of an isolate.

        Returns:
            The version of the schema.

        Raises:
            MigrationError: the database is newer than the code, or a statement failed.
            BindingError: a class is not exported or has no SQLite, or two bindings are exchanged.

        Cost: 1 D1 batch (1 row read), 2 object calls (2 rows read).
        """
        version = await run_migration(primary_of(self._parts.database))
        await check_objects_once(self._parts.objects)
        return version

    def turn(
        self,
        session_id: str,
        *,
        agent_type: str,
        agent_id: str | None = None,
        messages: Iterable[Mapping[str, object]] = (),
        turn_id: str | None = None,
        wait: float | timedelta | None = None,
        ttl: float | timedelta | None = None,
        auto_refresh: bool = True,
        max_hold: float | timedelta = 3600,
        stream: bool = True,
        checkpoint: bool = True,
        step_id: str | None = None,
        budget: tuple[str, int] | None = None,
        create: bool = True,
        parent_session_id: str | None = None,
        wait_until: Callable[[Awaitable[None]], object] | None = None,
    ) -> TurnBlock:
        """Return the block of one turn of an agent: it does lock, load, stream, save, checkpoint, usage and release.

        Example:
            >>> async with store.turn("ada", agent_type="research", messages=[question], wait=5) as turn:
            ...     async for token in model(turn.messages):
            ...         await turn.write({"type": "text", "text": token})
            ...     turn.add({"role": "assistant", "content": answer})

        Args:
            session_id: the session. It is created when missing, unless `create` is False.
            agent_id: the name of the agent in its chunks. The default is the agent type.
            messages: messages that are stored when the turn begins.
            turn_id: the caller's name for this turn, e.g. a queue message id. A turn of this id succeeds at most once.
            wait: the time to wait for the session's lock: seconds or a timedelta. By default the block does not wait.
            ttl: the length of the lock's lease: seconds or a timedelta. With `auto_refresh` the turn may be longer than that.
                `max_hold` (seconds or a timedelta, at most a day) limits its length.
            stream: True when the turn writes to a stream. The stream's id is the session id.
            checkpoint: keep a checkpoint with each commit.
            step_id: the step whose staged changes are promoted with the first commit.
            budget: the scope and the amount to reserve. The spent amount is settled when the turn ends.
            parent_session_id: the parent session, if the call creates a sub-session.
            wait_until: `ctx.waitUntil` of the request. With it, the end of the block does not wait for the closing chunk.

        Raises:
            InvalidArgumentError, TypeError: an argument breaks a rule. On entering the block:
            LockNotAcquiredError: somebody holds the session's lock.
            TurnRunningError, TurnEndedError: a turn of this id is running, or has ended.
            TurnError: the session has another agent type, or this block is inside another turn of the session.
            BudgetExceededError: the reservation does not fit.
            StateNotFoundError: there is no such session, and `create` is False.
            On leaving it: LockLostError, StaleFencingTokenError (nothing more was stored), StaleStateError.

        Cost: 0-2 D1 batches (0-63 rows read, 0-21 written), 2-6 object calls (3-74 rows read, 2-42 written).
        """
        options = TurnOptions.of(
            session_id,
            agent_type=agent_type,
            agent_id=agent_id,
            turn_id=turn_id,
            messages=messages,
            wait=wait,
            ttl=ttl,
            auto_refresh=auto_refresh,
            max_hold=max_hold,
            stream=stream,
            checkpoint=checkpoint,
            step_id=step_id,
            budget=budget,
            create=create,
            parent_session_id=parent_session_id,
            wait_until=wait_until,
        )
        if self._parts.homes is not None:
            self._parts.homes.admit(session_id, parent_session_id)
        return TurnBlock(options, self.state_store, self.stream_manager, self.locks)

    async def sweep_turns(self, limit: int = 100) -> SweptTurns:
        """Close dead turns, and publish the closing chunks that streams still have to get. Call it from a cron trigger.

        It may run beside turns and beside another sweep. It reads one row for each session that has an open turn or a closing chunk
        to publish.

        Args:
            limit: the most sessions that this call handles.

        Cost: 1-3 D1 batches (2-5 rows read, 0-1 written), 0-1 object calls.
        """
        from agents_store_cloudflare.turns.sweeping import sweep_turns  # noqa: PLC0415 - cron triggers alone need it

        check_whole_number(limit, "limit", low=1, high=10_000)
        state = self.state_store
        return await sweep_turns(state, self.stream_manager, self.locks, limit, state.now_ms)

    def follow(self, session_id: str) -> AsyncGenerator[SessionSummary, None]:
        """Follow a session that lives in a home: its newest summary now, and a newer one after each commit, until it is deleted.

        Summaries may be skipped, and an older one never comes. `get_messages(offset=…)` reads the messages that a follower lacks. For
        pages there is `SessionStates` of `agents_store_cloudflare.gateway`.

        Example:
            >>> async for summary in store.follow("ada"):
            ...     print(summary.status, summary.message_count)

        Args:
            session_id: the session.

        Raises:
            InvalidArgumentError: the store has no homes, or the id breaks a rule.
            StateNotFoundError: there is no such session. It is raised by the first step, as the next error is.
            D1StateError: the home gave no reply.
        """
        check_id(session_id, "session_id")
        if self._parts.homes is None:
            raise InvalidArgumentError(
                "a session in D1 cannot be followed; pass sessions=env.SESSIONS to create_cloudflare_store, or follow its stream"
            )
        from agents_store_cloudflare.homes.following import follow  # noqa: PLC0415 - most stores have no homes

        return follow(self._parts.homes, session_id)

    async def project_home(self, session_id: str) -> str | None:
        """Make a session's home send all its sessions to the directory again.

        Return the home's name, or None when it has no sessions.

        This is for an operator whose directory has lost rows. The call returns when the directory has the sessions.

        Args:
            session_id: any session of the home.

        Raises:
            InvalidArgumentError: the store has no homes.
            D1StateError: the home gave no reply, or could not reach the directory. In the second case its alarm tries again.
        """
        if self._parts.homes is None:
            raise InvalidArgumentError("this store has no homes; pass sessions=env.SESSIONS to create_cloudflare_store")
        return await self._parts.homes.project(session_id)

    async def delete_session(
        self,
        session_id: str,
        *,
        expected_version: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> bool:
        """Delete a session and its descendants with their streams, usage and state. Return whether the session existed.

        First the state and the streams check the token and keep it. If one of them refuses it, nothing is deleted. Then the state
        and the usage are deleted in one transaction. The streams are deleted last. When the call fails in between, call it again,
        and it completes the deletion. Streams and usage of the id are deleted even if there is no session. Streams that another
        session uses stay, and so do sub-sessions that live elsewhere (`remote`).

        Args:
            session_id: the session.
            expected_version: delete only at this version; None deletes at any.
            fencing_token: the lock that the caller holds, or its token. The state and each stream compare it with the highest token
                that they have seen.
            commit_id: a name for this request. The same request under it again gives the first result, and leaves a session alone
                that was made since, even if the first call did not complete. It costs one more row.

        Raises:
            StaleFencingTokenError: the state or a stream has seen a higher token.
            StaleStateError: the session has another version. StreamError, D1StateError: a part could not be deleted. Call it again.

        Cost: 2 D1 batches (194-230 rows read, 3-4 written), 2 object calls (6 rows read, 6 written).
        """
        return await self._deletion().delete(
            session_id, expected_version=expected_version, fencing_token=fencing_token, commit_id=commit_id
        )

    async def cleanup_expired_sessions(self, now: int | None = None, limit: int = 100) -> list[str]:
        """Delete up to `limit` expired sessions and their descendants with their streams, usage and state. Return the deleted ids.

        The state is deleted first, in one transaction. When a stream cannot be deleted after that, `delete_session` of the id
        deletes it later.

        Args:
            now: a session is expired when its `expires_at` is not after this time (milliseconds since 1970). The default is the
                present by the database's clock.

        Raises:
            StreamError, D1StateError, UsageError: a part could not be deleted.

        Cost: 2 D1 batches (169 rows read, 3 written), 1 object call.
        """
        return await self._deletion().delete_expired(now, limit)

    def _deletion(self) -> SessionDeletion:
        return SessionDeletion(self.state_store, self.stream_manager, self.usage_store, self._parts.homes)
