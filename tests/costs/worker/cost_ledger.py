"""What calls cost, one line a call and what it was made on."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from agents_store_cloudflare import (
    AgentState,
    D1StateStore,
    D1UsageStore,
    DurableObjectLockManager,
    DurableObjectStreamManager,
    LockOptions,
    Message,
    SessionOptions,
    StreamOptions,
    create_cloudflare_store,
)
from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.metering.meter import MeteredDatabase, OpenMeters, metered_namespace

__all__ = ["Ledger", "messages"]


class Ledger:
    """The stores under measurement, and the lines so far.

    Attributes:
        store: a store whose sessions are in D1.
        homes: a store whose sessions are in homes.
        lines: [call, on what, round trips, rows read, rows written, object calls, object rows read, object rows written].
    """

    def __init__(self, env: Any) -> None:
        self._meters = OpenMeters()
        self.database = MeteredDatabase(as_database(env.AGENT_DB), self._meters)
        bindings = (env.STREAMS, env.LOCKS, env.SESSIONS)
        streams, locks, sessions = (metered_namespace(as_namespace(each), self._meters) for each in bindings)
        self._lock_namespace = locks
        # A writer that flushes by the clock would cut its blocks elsewhere each time.
        options = StreamOptions(flush_interval=60)
        self.store = create_cloudflare_store(db=self.database, streams=streams, locks=locks, stream_options=options)
        # An alarm between two calls would send what the next call finds unsent.
        self.homes = create_cloudflare_store(
            db=self.database,
            streams=streams,
            locks=locks,
            sessions=sessions,
            stream_options=options,
            session_options=SessionOptions(directory_delay=60),
        )
        self.lines: list[list[str | int | None]] = []

    @property
    def states(self) -> D1StateStore:
        return self.store.state_store

    @property
    def usage(self) -> D1UsageStore:
        return self.store.usage_store

    @property
    def streams(self) -> DurableObjectStreamManager:
        return self.store.stream_manager

    @property
    def locks(self) -> DurableObjectLockManager:
        return self.store.locks

    def sharded_locks(self, shards: int) -> DurableObjectLockManager:
        """A lock manager whose keys share a few objects."""
        return DurableObjectLockManager(self._lock_namespace, options=LockOptions(shards=shards))

    @contextmanager
    def line(self, call: str, data: str = "") -> Generator[None]:
        """The block is the call; one line of the table."""
        if any(line[:2] == [call, data] for line in self.lines):
            raise ValueError(f"{call} is measured twice on {data!r}")
        with self._meters.open() as m:
            yield
        d1, objects = m.d1, m.objects
        counts = [d1.round_trips, d1.rows_read, d1.rows_written, objects.calls, objects.rows_read, objects.rows_written]
        self.lines.append([call, data, *counts])

    async def session(self, name: str, count: int = 20, *, at_a_time: int = 20) -> AgentState:
        """A stored session with `count` messages of about 100 bytes, saved `at_a_time`; as it was saved last."""
        state = AgentState(session_id=name, agent_type="cost", custom_state={"topic": "rivers"})
        for start in range(0, count, at_a_time):
            state.messages += messages(min(at_a_time, count - start), start)
            await self.states.save(state)
        if not count:
            await self.states.save(state)
        return state


def messages(count: int, start: int = 0) -> list[Message]:
    """Messages of about 100 bytes."""
    return [{"role": "user", "content": f"{number:>4} " + 60 * "m"} for number in range(start, start + count)]
