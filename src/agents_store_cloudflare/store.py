"""`create_cloudflare_store` makes the stores of one request from its bindings."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, check_whole_number
from agents_store_cloudflare.contract.errors import InvalidArgumentError, StreamNotFoundError
from agents_store_cloudflare.contract.streams.records import StreamMark
from agents_store_cloudflare.contract.turns import SweptTurns
from agents_store_cloudflare.database import Database
from agents_store_cloudflare.homes.options import SessionOptions
from agents_store_cloudflare.locks import DurableObjectLockManager, LockOptions
from agents_store_cloudflare.metering.meter import Meter, MeteredDatabase, OpenMeters, metered_namespace
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.objects.wiring import ObjectKind
from agents_store_cloudflare.state import D1StateStore, StateStoreOptions
from agents_store_cloudflare.state.accounts import Accounts
from agents_store_cloudflare.state.deletions import ANY_SESSION, MOST_LEFT
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.turns import TurnBlock, TurnOptions, sweep_turns
from agents_store_cloudflare.usage import D1UsageStore, UsageOptions
from agents_store_cloudflare.usage.options import DEFAULT_TABLE
from agents_store_cloudflare.wiring import check_objects_once

if TYPE_CHECKING:
    from agents_store_cloudflare.homes.database import ObjectHomes

__all__ = ["CloudflareStore", "create_cloudflare_store"]

MANY_STREAMS = 8
"""The number of deleted streams that the deleted session's row may keep. To forget them costs a row."""

STREAM_ATTEMPTS = 3
"""The most attempts to delete a stream while somebody writes to it."""


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


class CloudflareStore(tuple[D1StateStore, DurableObjectStreamManager]):  # noqa: SLOT001 - a tuple with attributes cannot have slots
    """The stores of one request. Make it for each request, and never keep it in a module global.

    It can be unpacked as `state_store, stream_manager`.

    Attributes:
        state_store: sessions, messages, checkpoints.
        stream_manager: streams of chunks.
        usage_store: what sessions used.
        lock_manager: fenced locks; None when the store has no `locks` binding. The property `locks` raises an error then.
    """

    state_store: D1StateStore
    stream_manager: DurableObjectStreamManager
    usage_store: D1UsageStore
    lock_manager: DurableObjectLockManager | None

    def __new__(
        cls,
        database: Database,
        state_store: D1StateStore,
        stream_manager: DurableObjectStreamManager,
        usage_store: D1UsageStore,
        lock_manager: DurableObjectLockManager | None,
        *,
        meters: OpenMeters,
        objects: Mapping[ObjectKind, ObjectNamespace],
        usage_table: str = DEFAULT_TABLE,
        homes: ObjectHomes | None = None,
        stream_namespace: ObjectNamespace | None = None,
    ) -> Self:
        """Use `create_cloudflare_store`."""
        store = super().__new__(cls, (state_store, stream_manager))
        store._parts = StoreParts(database=database, objects=objects, usage_table=usage_table, homes=homes)
        store.state_store = state_store
        store.stream_manager = stream_manager
        store.usage_store = usage_store
        store.lock_manager = lock_manager
        store._meters = meters
        store._stream_namespace = stream_namespace or objects["stream"]
        return store

    _meters: OpenMeters
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
        version = await run_migration(self._parts.database)
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
            wait_until: `ctx.waitUntil` of the request. With it, the end of the block does not wait for the closing chunk.

        Raises:
            InvalidArgumentError, TypeError: an argument breaks a rule. On entering the block:
            LockNotAcquiredError: somebody holds the session's lock.
            TurnRunningError, TurnEndedError: a turn of this id is running, or has ended.
            TurnError: the session has another agent type, or this block is inside another turn of the session.
            BudgetExceededError: the reservation does not fit.
            StateNotFoundError: there is no such session, and `create` is False.
            On leaving it: LockLostError, StaleFencingTokenError (nothing more was stored), StaleStateError.

        Cost: 2 D1 batches (35-62 rows read, 9-21 written), 2-5 object calls (3-10 rows read, 2-9 written).
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
        check_whole_number(limit, "limit", low=1, high=10_000)
        state = self.state_store
        return await sweep_turns(state, self.stream_manager, self.locks, limit, state.now_ms)

    async def project_home(self, session_id: str) -> str | None:
        """Make a session's home send all its sessions to the directory again.

        Return the home's name, or None when it has no sessions.

        This is for an operator whose directory has lost rows. The call returns when the directory has the sessions.

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
            expected_version: delete only at this version; None deletes at any.
            fencing_token: the lock that the caller holds, or its token. The state and each stream compare it with the highest token
                that they have seen.
            commit_id: a name for this request. The same request under it again gives the first result, and leaves a session alone
                that was made since, even if the first call did not complete. It costs one more row.

        Raises:
            StaleFencingTokenError: the state or a stream has seen a higher token.
            StaleStateError: the session has another version. StreamError, D1StateError: a part could not be deleted. Call it again.

        Cost: 2 D1 batches (156-184 rows read, 3-4 written), 2 object calls (6 rows read, 6 written).
        """
        plan = await self.state_store.plan_deletion(
            session_id, expected_version=expected_version, fencing_token=fencing_token, commit_id=commit_id
        )
        if plan.done is not None:
            for stream_id, known in plan.streams.items():
                await self._delete_left(session_id, stream_id, known)
            await self._delete_homeless_usage(session_id, commit_id, is_deleted=plan.done)
            return plan.done
        marks = await self._marks(plan.streams, fencing_token)
        is_deleted, left = await self.state_store.carry_out(plan, marks)
        unmarked = [stream_id for stream_id, mark in left.items() if mark is None]
        for stream_id, mark in left.items():
            if mark is not None:
                await self._delete_stream(session_id, stream_id, mark)
        for stream_id in (*unmarked, *list(marks)[MOST_LEFT:]):
            await self._delete_left(session_id, stream_id, None)
        if len(left) > MANY_STREAMS:
            await self.state_store.forget_streams(session_id)
        await self._delete_homeless_usage(session_id, commit_id, is_deleted=is_deleted)
        return is_deleted

    async def _delete_homeless_usage(self, session_id: str, commit_id: str | None, *, is_deleted: bool) -> None:
        """With homes: tell D1 about the deletion now, and delete the usage of an id that has no session.

        The home itself tells D1 to delete the usage of its session, before it tells D1 the usage of a later session of the same id.
        So this method deletes usage by id only when there was no session and there is none now.
        """
        homes = self._parts.homes
        if homes is None:
            return
        if is_deleted:
            await homes.drain(session_id)
        elif not await self.state_store.exists(session_id):
            name = None if commit_id is None else uuid.uuid5(uuid.NAMESPACE_OID, f"delete_session {commit_id}").hex
            await self.usage_store.delete(session_id, commit_id=name)

    async def cleanup_expired_sessions(self, now: int | None = None, limit: int = 100) -> list[str]:
        """Delete up to `limit` expired sessions and their descendants with their streams, usage and state. Return the deleted ids.

        The state is deleted first, in one transaction. When a stream cannot be deleted after that, `delete_session` of the id
        deletes it later.

        Args:
            now: a session is expired when its `expires_at` is not after this time (milliseconds since 1970). The default is the
                present.

        Raises:
            StreamError, D1StateError, UsageError: a part could not be deleted.

        Cost: 2 D1 batches (134 rows read, 3 written), 1 object call.
        """
        at_ms = self.state_store.now_ms() if now is None else now
        streams = await self.state_store.find_expired_streams(at_ms, limit)
        marks = await self._marks(dict.fromkeys(streams), UNSET)
        tree = await self.state_store.cleanup_expired_trees(at_ms, limit, delete_usage=True)
        for stream_id in tree.stream_ids:
            if stream_id in marks:
                await self._delete_stream(ANY_SESSION, stream_id, marks[stream_id])
            elif stream_id not in streams:
                await self._delete_left(ANY_SESSION, stream_id, None)
        return list(tree.session_ids)

    async def _marks(
        self, streams: Mapping[str, StreamMark | None], fencing_token: FencingToken
    ) -> dict[str, StreamMark]:
        """Return the marks of the existing streams: the known mark, or a mark of the present state. The streams keep the token."""
        found: dict[str, StreamMark] = {}
        for stream_id, known in streams.items():
            mark = known or await self.stream_manager.mark_stream(stream_id, fencing_token=fencing_token)
            if mark is not None:
                found[stream_id] = mark
        return found

    async def _delete_left(self, session_id: str, stream_id: str, known: StreamMark | None) -> None:
        """Delete a stream that an earlier deletion has left. If another session uses it by now, only the older chunks are deleted."""
        mark = known or await self.stream_manager.mark_stream(stream_id)
        if mark is None:
            return
        if not await self.state_store.is_stream_used(session_id, stream_id):
            await self._delete_stream(session_id, stream_id, mark)
        elif known is not None:
            await self._drop_chunks(stream_id, known)

    async def _delete_stream(self, session_id: str, stream_id: str, mark: StreamMark) -> None:
        """Delete a marked stream. If a new session uses it by now, delete only the chunks up to the mark."""
        seen = mark
        for _ in range(STREAM_ATTEMPTS):
            now = await self.stream_manager.delete_marked_stream(stream_id, seen)
            if now is None or now.life != mark.life:
                return
            if await self.state_store.is_stream_used(session_id, stream_id):
                break
            seen = now  # the deleted session's own writer is still at work
        await self._drop_chunks(stream_id, mark)

    async def _drop_chunks(self, stream_id: str, mark: StreamMark) -> None:
        with suppress(StreamNotFoundError):
            await self.stream_manager.truncate_stream(stream_id, mark.last_sequence + 1)


def create_cloudflare_store(
    *,
    db: object,
    streams: object,
    locks: object = None,
    state_options: StateStoreOptions | None = None,
    stream_options: StreamOptions | None = None,
    lock_options: LockOptions | None = None,
    usage_options: UsageOptions | None = None,
    sessions: object = None,
    session_options: SessionOptions | None = None,
) -> CloudflareStore:
    """Return the stores of one request, made from its bindings.

    Args:
        db: the D1 binding (`env.AGENT_DB`) or a read-replica session of it, raw or as the Workers SDK wraps it.
        streams: the Durable Object binding of `StreamServer` (`env.STREAMS`).
        locks: the Durable Object binding of `LockServer` (`env.LOCKS`), if there is one.
        sessions: the Durable Object binding of `SessionServer` (`env.SESSIONS`). With it each tree of sessions lives in an object
            of its own, and D1 keeps the directory, usage and budgets. Without it all sessions are in D1.
        session_options: the options of homes, for `sessions`.

    Raises:
        TypeError: a binding is missing, or is not a binding of the right kind.
        InvalidArgumentError: `session_options` without `sessions`.
    """
    if session_options is not None and sessions is None:
        raise InvalidArgumentError("session_options go with sessions=, the binding of SessionServer")
    meters = OpenMeters()
    database = MeteredDatabase(as_database(db), meters)
    objects: dict[ObjectKind, ObjectNamespace] = {"stream": metered_namespace(as_namespace(streams), meters)}
    if locks is not None:
        objects["lock"] = metered_namespace(as_namespace(locks), meters)
    homes, named = None, objects
    given = state_options or StateStoreOptions()
    state_store = D1StateStore(database, options=given, accounts=Accounts(usage_options, given.now_ms))
    usage_store = D1UsageStore(database, options=usage_options)
    if sessions is not None:
        from agents_store_cloudflare.homes.roles import home_parts, home_roles  # noqa: PLC0415 - most stores have no homes

        objects["session"] = metered_namespace(as_namespace(sessions), meters)
        homes, state_store, usage_store = home_roles(
            database, objects["session"], session_options, state_options, usage_options
        )
        named = home_parts(objects, session_options)
    return CloudflareStore(
        database,
        state_store,
        DurableObjectStreamManager(named["stream"], options=stream_options),
        usage_store,
        None if locks is None else DurableObjectLockManager(named["lock"], options=lock_options),
        meters=meters,
        objects=objects,
        homes=homes,
        stream_namespace=named["stream"],
    )
