"""The operations of a whole store: what changes state, usage and streams together, beside calls of one of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import deepcopy
from typing import Any

from agents_store_cloudflare import AgentState, CloudflareStore, StreamObject, create_cloudflare_store, run_migration
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase
from tests.instruments.images import copy_of
from tests.instruments.operations import NOW_MS, Call, Operation, Role, plain
from tests.instruments.seams import Seam, WatchedDatabase, WatchedNamespace
from tests.instruments.stream_operations import chunk, no_pause

__all__ = ["STORE", "StoreWorld"]

IDS = ("s", "child", "shared", "old")
SOURCE = {"type": "agent", "name": "x"}


class StoreWorld:
    """A session and its child with a stream and usage each, a session beside them that uses a stream of another name, one that expired."""

    migrated: SqliteDatabase | None = None

    def __init__(self, database: SqliteDatabase) -> None:
        self.clock = FakeClock(NOW_MS)
        self.seam = Seam()
        self.database = database
        self.objects = LocalObjects(StreamObject, clock=self.clock)
        self.mine = self._store(WatchedDatabase(self.database, self.seam), WatchedNamespace(self.objects, self.seam))
        self.theirs = self._store(self.database, self.objects)

    def _store(self, database: Any, objects: Any) -> CloudflareStore:
        options = StreamOptions(now_ms=self.clock.now_ms, sleep=no_pause)
        return create_cloudflare_store(db=database, streams=objects, stream_options=options)

    @classmethod
    async def open(cls) -> StoreWorld:
        if cls.migrated is None:
            cls.migrated = SqliteDatabase()
            await run_migration(cls.migrated)
        world = cls(copy_of(cls.migrated))
        await make(world.theirs, "s")
        await make(world.theirs, "child", parent_session_id="s")
        await make(world.theirs, "beside", stream_id="shared")
        await make(world.theirs, "old", expires_at=5)
        return world

    async def picture(self) -> str:
        shown: dict[str, Any] = {"sessions": [], "days": await self.theirs.usage_store.get_totals("day")}
        for each in (await self.theirs.state_store.list_sessions()).items:
            shown["sessions"].append((each.session_id, each.version, each.status))
        shown["sessions"].sort()
        for session_id in (*IDS, "beside"):
            info = await self.theirs.stream_manager.get_info(session_id)
            entries = await self.theirs.usage_store.get_entry_count(session_id)
            shown[session_id] = [
                entries,
                None if info is None else [info.first_sequence, info.last_sequence, info.status],
            ]
        return plain(shown)

    async def left_over(self) -> list[str]:
        return []

    async def probe(self, client: CloudflareStore) -> None:
        await make(client, "probe")
        assert await client.delete_session("probe")

    def close(self) -> None:
        self.database.close()
        self.objects.close()


async def make(store: CloudflareStore, session_id: str, *, stream_id: str | None = None, **fields: Any) -> None:
    """Make a session with an entry of usage and a chunk."""
    await store.state_store.save(
        AgentState(session_id=session_id, agent_type="x", stream_id=stream_id or session_id, **fields)
    )
    await _record(store, session_id)
    await _write(store, stream_id or session_id)


async def _record(store: CloudflareStore, session_id: str) -> None:
    await store.usage_store.record_custom(session_id, name="n", value=1, timestamp=NOW_MS)


async def _write(store: CloudflareStore, stream_id: str) -> None:
    async with store.stream_manager.create_writer(stream_id, "a", "t") as writer:
        await writer.write(chunk("x"))


def _op(name: str, method: str, *arguments: Any, is_retried: bool = True, **keywords: Any) -> Operation:
    async def prepare(world: StoreWorld, client: CloudflareStore) -> Call:
        return Call(getattr(client, method), deepcopy(list(arguments)), keywords)

    return Operation(name, (), prepare, is_retried, is_block=True)


def _by_others(name: str, act: Callable[[CloudflareStore], Awaitable[object]]) -> Operation:
    """Return one or several calls that others make meanwhile."""

    async def prepare(world: StoreWorld, client: CloudflareStore) -> Call:
        return Call(act, [client])

    return Operation(name, (), prepare, is_retried=False, is_block=True)


async def _make_again(store: CloudflareStore) -> bool:
    was_there = await store.delete_session("s")
    await make(store, "s")
    return was_there


STORE = Role(
    "store",
    (),
    frozenset(),
    False,
    StoreWorld.open,
    (
        _op("delete", "delete_session", "s", commit_id="d"),
        _op("delete a child", "delete_session", "child", commit_id="c"),
        _op("delete with a shared stream", "delete_session", "beside", commit_id="b"),
        _op("delete what is not there", "delete_session", "nobody", commit_id="n"),
        _op("delete without a name", "delete_session", "s"),
        _op("clean up", "cleanup_expired_sessions", NOW_MS, is_retried=False),
        _by_others("make", lambda store: make(store, "child")),
        _by_others("make again", _make_again),
        _by_others("write", lambda store: _write(store, "s")),
        _by_others("write to the shared stream", lambda store: _write(store, "shared")),
        _by_others("record", lambda store: _record(store, "s")),
        _by_others("set the status", lambda store: store.state_store.update_status("child", "running")),
        _by_others("another user of the stream", lambda store: make(store, "second", stream_id="shared")),
        _by_others("delete the state", lambda store: store.state_store.delete_session("s")),
        _by_others("delete the stream", lambda store: store.stream_manager.delete_stream("s")),
    ),
)
