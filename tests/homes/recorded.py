"""What a Worker of version 1 and a home of version 1 said to each other, and how it was recorded.

`python -m tests.homes.recorded` records it anew. After a release keep its file, and record a version that changes the wire beside it.
"""

import asyncio
import json
from pathlib import Path

from agents_store_cloudflare import (
    CloudflareStore,
    LockOptions,
    SessionOptions,
    StateStoreOptions,
    UsageOptions,
    create_cloudflare_store,
    run_migration,
)
from agents_store_cloudflare.durable_streams import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase
from tests.homes.worlds import HomeWorld

__all__ = ["FILE", "STARTS_AT_MS", "Talk", "store_over", "visit"]

FILE = Path(__file__).with_name("wire_1.json")
STARTS_AT_MS = 1_700_000_000_000

Talk = list[tuple[str, str]]
"""Requests with their replies, in order."""


class _Recording:
    def __init__(self, objects: LocalObjects) -> None:
        self._objects = objects
        self.talk: Talk = []

    async def call(self, name: str, request: str) -> str:
        reply = await self._objects.call(name, request)
        self.talk.append((request, reply))
        return reply


async def store_over(sessions: ObjectNamespace, database: SqliteDatabase, clock: FakeClock) -> CloudflareStore:
    """Return a store whose sessions are behind this namespace."""
    await run_migration(database)
    return create_cloudflare_store(
        db=database,
        streams=LocalObjects(StreamObject, clock=clock),
        locks=LocalObjects(LockObject, clock=clock),
        sessions=sessions,
        session_options=SessionOptions(check_db=False),
        state_options=StateStoreOptions(now_ms=clock.now_ms),
        usage_options=UsageOptions(now_ms=clock.now_ms),
        lock_options=LockOptions(now_s=lambda: clock.now_ms() / 1000, sleep=clock.sleep),
    )


async def visit(store: CloudflareStore) -> list[object]:
    """Use a home: single calls, a turn, a read. Return what the reads show."""
    states = store.state_store
    await states.create_session("ada", agent_type="t")
    await states.append_messages("ada", [{"role": "user", "content": "before"}])
    async with store.turn("ada", agent_type="t", turn_id="one", auto_refresh=False) as turn:
        await turn.write({"type": "text", "text": "hello"})
        turn.add({"role": "assistant", "content": "hello"})
        turn.record_tokens(model="m", prompt=1, completion=1)
    state = await states.load_state("ada", required=True)
    run = (await states.list_runs("ada"))[0]
    return [[message.get("content") for message in state.messages], state.version, run.run_id, run.status]


async def _record() -> Talk:
    world = HomeWorld(clock=FakeClock(STARTS_AT_MS))
    recording = _Recording(world.sessions)
    await visit(await store_over(recording, world.database, world.clock))
    return recording.talk


if __name__ == "__main__":
    FILE.write_text(json.dumps(asyncio.run(_record()), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
