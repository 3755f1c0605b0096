"""How many Python functions of the package one call enters: an exact number, which no load of the machine changes.

The jobs run on CPython, over `SqliteDatabase` and `LocalObjects`. `sys.setprofile` reports each entry of a Python function and each
time a coroutine or a generator goes on. Functions of the package count, and the calls that it makes of `typing.cast` and of the methods
that `dataclass` writes. The parts that stand for the platform here do not count. Python 3.12 and later inline comprehensions, so their
numbers are a little smaller.
"""

import asyncio
import gc
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import cast

import agents_store_cloudflare
from agents_store_cloudflare import (
    AgentState,
    CloudflareStore,
    D1StateStore,
    D1UsageStore,
    DurableObjectLockManager,
    DurableObjectStreamManager,
    StreamOptions,
    create_cloudflare_store,
    run_migration,
)
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.homes.session_object import SessionObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.objects import ObjectHost, ObjectLogic
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase
from bench.jobs.material import CUSTOM_STATE, chunks, messages, usage_entry

__all__ = ["CALL_JOBS", "calls_of"]

PACKAGE = str(Path(agents_store_cloudflare.__file__).parent)
PLATFORM = (f"{PACKAGE}/testing/", f"{PACKAGE}/database/sqlite.py")
"""What stands for D1 and for Durable Objects on CPython."""

MADE_BY_DATACLASS = "<string>"
CAST = cast.__code__

Once = Callable[[], Awaitable[object]]


async def _saving(added: int) -> Once:
    database = await _tables()
    state = AgentState.from_dict(
        {"sessionId": "ada", "agentType": "bench", "messages": messages(20), "customState": CUSTOM_STATE}
    )
    await D1StateStore(database).save(state)
    new = messages(added, first=20)

    async def once() -> None:
        state.messages += new  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        await D1StateStore(database).save(state)

    return once


async def _loading() -> Once:
    database = await _tables()
    await D1StateStore(database).append_messages("ada", messages(200, size_bytes=1_000), create="bench")
    return lambda: D1StateStore(database).load_state("ada", required=True)


async def _paging() -> Once:
    database = await _tables()
    await D1StateStore(database).append_messages("ada", messages(100), create="bench")
    return lambda: D1StateStore(database).get_messages("ada", limit=50)


async def _flushing() -> Once:
    manager = DurableObjectStreamManager(_objects(StreamObject), buffer_size=50, flush_interval=60)
    writer = await manager.create_writer("ada", "agent-1", "bench")
    given = chunks(50)

    async def once() -> None:
        for chunk in given:
            await writer.write(chunk)
        await writer.flush()

    return once


async def _replaying() -> Once:
    manager = DurableObjectStreamManager(_objects(StreamObject), buffer_size=50, flush_interval=60)
    async with manager.create_writer("ada", "agent-1", "bench") as writer:
        for chunk in chunks(1_000):
            await writer.write(chunk)
    await manager.end_stream("ada")

    async def once() -> None:
        async with manager.create_reader("ada") as reader:
            assert len([chunk async for chunk in reader]) == 1_000

    return once


async def _locking() -> Once:
    manager = DurableObjectLockManager(_objects(LockObject))

    async def once() -> None:
        async with manager.lock("ada", ttl=30):
            pass

    return once


async def _recording() -> Once:
    store = D1UsageStore(await _tables())
    entries = [{"sessionId": "ada", **usage_entry(number)} for number in range(100)]
    return lambda: store.record_entries(entries)


async def _turning() -> Once:
    store = create_cloudflare_store(
        db=await _tables(),
        streams=_objects(StreamObject),
        locks=_objects(LockObject),
        stream_options=StreamOptions(flush_interval=60),
    )

    async def once() -> None:
        async with store.turn("ada", agent_type="bench", messages=[{"role": "user", "content": "?"}]) as turn:
            for chunk in chunks(20):
                await turn.write(chunk)
            turn.add({"role": "assistant", "content": "hello"})
            turn.record_tokens(model="m", prompt=1, completion=1)

    return once


async def _with_homes() -> Callable[[], CloudflareStore]:
    """Return what makes the store of one request, whose sessions live in homes. Their objects count too."""
    database = await _tables()
    streams, locks = _objects(StreamObject), _objects(LockObject)
    sessions = _objects(lambda host: SessionObject(host, database=lambda: database))
    return lambda: create_cloudflare_store(db=database, streams=streams, locks=locks, sessions=sessions)


async def _saving_at_home(added: int) -> Once:
    make = await _with_homes()
    state = AgentState.from_dict(
        {"sessionId": "ada", "agentType": "bench", "messages": messages(20), "customState": CUSTOM_STATE}
    )
    await make().state_store.save(state)
    new = messages(added, first=20)

    async def once() -> None:
        state.messages += new  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        await make().state_store.save(state)

    return once


async def _loading_at_home() -> Once:
    make = await _with_homes()
    await make().state_store.append_messages("ada", messages(200, size_bytes=1_000), create="bench")
    return lambda: make().state_store.load_state("ada", required=True)


async def _paging_at_home() -> Once:
    make = await _with_homes()
    await make().state_store.append_messages("ada", messages(100), create="bench")
    return lambda: make().state_store.get_messages("ada", limit=50)


async def _beginning_at_home() -> Once:
    make, numbers = await _with_homes(), iter(range(1_000))

    async def once() -> None:
        given = {"sessionId": f"new-{next(numbers)}", "agentType": "bench", "messages": messages(4)}
        await make().state_store.save(AgentState.from_dict(given))

    return once


async def _turning_at_home() -> Once:
    make = await _with_homes()

    async def once() -> None:
        question = {"role": "user", "content": "?"}
        async with make().turn("ada", agent_type="bench", messages=[question], stream=False) as turn:
            turn.add({"role": "assistant", "content": "hello"})
            turn.record_tokens(model="m", prompt=1, completion=1)

    return once


CALL_JOBS: Mapping[str, Callable[[], Awaitable[Once]]] = {
    "save, 1 new message": lambda: _saving(1),
    "save, 20 new messages": lambda: _saving(20),
    "load 200 messages of 1 KB": _loading,
    "page of 50, the first": _paging,
    "stream: a flush of 50 chunks": _flushing,
    "stream: replay 1,000 chunks": _replaying,
    "lock: acquire + release": _locking,
    "100 usage entries with totals": _recording,
    "a turn of 20 chunks": _turning,
    "home: store and save, 1 new message": lambda: _saving_at_home(1),
    "home: store and save, 20 new messages": lambda: _saving_at_home(20),
    "home: store and load, 200 messages of 1 KB": _loading_at_home,
    "home: store and page of 50, the first": _paging_at_home,
    "home: store and first save of a new session": _beginning_at_home,
    "home: store and turn without a stream": _turning_at_home,
}


def _objects(logic: Callable[[ObjectHost], ObjectLogic]) -> LocalObjects:
    """Return objects whose time stands still, so that no alarm rings while a call is counted on a slow machine."""
    return LocalObjects(logic, clock=FakeClock(time.time_ns() // 1_000_000))


async def _tables() -> SqliteDatabase:
    database = SqliteDatabase()
    await run_migration(database)
    return database


def calls_of(name: str) -> Counter[str]:
    """Return the entered functions of one repetition of a job, by "file:function". Two repetitions before it fill all caches.

    Args:
        name: a key of `CALL_JOBS`.
    """
    found: Counter[str] = Counter()

    def enter(frame: FrameType, event: str, _argument: object) -> None:
        file, caller = frame.f_code.co_filename, frame.f_back
        if caller is not None and (file == MADE_BY_DATACLASS or frame.f_code is CAST):
            file = caller.f_code.co_filename
        if event == "call" and file.startswith(PACKAGE) and not file.startswith(PLATFORM):
            found[f"{file[len(PACKAGE) + 1 :]}:{frame.f_code.co_qualname}"] += 1

    async def run() -> None:
        once = await CALL_JOBS[name]()
        for _ in range(2):
            await once()
        gc.collect()
        gc.disable()  # it calls finalizers when it wants
        sys.setprofile(enter)
        try:
            await once()
        finally:
            sys.setprofile(None)
            gc.enable()

    asyncio.run(run())
    return found


def main() -> None:
    """Print the number of each job, and with a job's name the functions."""
    for name in CALL_JOBS:
        found = calls_of(name)
        print(f"{found.total():6,}  {name}")
        if len(sys.argv) > 1 and sys.argv[1] in name:
            for function, count in found.most_common(60):
                print(f"      {count:5,}  {function}")


if __name__ == "__main__":
    main()
