"""The same work without the package: what a bare Python Worker pays for the same statements, the same calls and the same JSON.

Before anything is timed, the package does the job on a twin, and each round trip is kept. The timed part sends the same trips by the raw
bindings, under the job's own key. For each trip it encodes the JSON that is sent in one step, and decodes what comes back in one step.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from bench_job import Job, raw
from state_jobs import STATE_JOBS
from stream_jobs import STREAM_JOBS
from waiting import TimedCalls

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.database import compact_sql

__all__ = ["RAW_JOBS"]

Bound: TypeAlias = tuple[str, Sequence[Any]]
"""A statement's SQL and its parameters."""

READS = ("load", "page", "stream_replay")
"""The jobs whose replies are the same each time."""

ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


@dataclass(kw_only=True)
class Trip:
    """One round trip: a batch of D1, or a call of an object.

    Attributes:
        sent: the statements, or the object's name and the request.
        values: what is encoded for it.
        reply: the values in the JSON that came back.
    """

    sent: Sequence[Bound] | tuple[str, str]
    values: list[Any]
    reply: list[Any] = field(default_factory=list[Any])

    @property
    def is_batch(self) -> bool:
        """Whether it goes to D1."""
        return isinstance(self.sent, list)


@dataclass(kw_only=True)
class KeptBinding:
    """A binding of the package, whose round trips are kept for another key."""

    target: Any
    trips: list[Trip]
    twin: str
    key: str

    async def batch(self, statements: Sequence[Any]) -> Any:
        """Keep one batch."""
        bound = [(compact_sql(each.sql), [*map(self._renamed, each.parameters)]) for each in statements]
        trip = Trip(sent=bound, values=[value for _, parameters in bound for value in decoded(parameters)])
        rows = await self.target.batch(statements)
        trip.reply = [value for found in rows for row in found for value in decoded(row)]
        self.trips.append(trip)
        return rows

    async def call(self, name: str, request: str) -> str:
        """Keep one call."""
        renamed = self._renamed(request)
        trip = Trip(sent=(self._renamed(name), renamed), values=decoded([renamed]))
        reply: str = await self.target.call(name, request)
        trip.reply = decoded([reply])
        self.trips.append(trip)
        return reply

    def hang_up(self, name: str) -> None:
        """Tell the object that nobody waits."""
        self.target.hang_up(name)

    def _renamed(self, value: Any) -> Any:
        return value.replace(self.twin, self.key) if isinstance(value, str) else value


@dataclass(kw_only=True)
class KeptBindings:
    """What the twin's job knows as `env`."""

    AGENT_DB: KeptBinding
    STREAMS: KeptBinding


class RawDatabase:
    """D1 as Cloudflare's documentation calls it."""

    def __init__(self, binding: Any) -> None:
        self._binding = binding

    async def batch(self, statements: Sequence[Bound]) -> list[list[Any]]:
        """Return the values of each row."""
        from pyodide.ffi import jsnull, to_js  # noqa: PLC0415

        prepare = self._binding.prepare
        prepared = [
            prepare(sql).bind(*[jsnull if each is None else each for each in parameters])
            if parameters
            else prepare(sql)
            for sql, parameters in statements
        ]
        results = await self._binding.batch(to_js(prepared))
        return [list(row.values()) for result in results if result.results.length for row in result.results.to_py()]


class RawNamespace:
    """Objects as Cloudflare's documentation calls them."""

    def __init__(self, binding: Any) -> None:
        self._binding = binding

    async def call(self, name: str, request: str) -> str:
        """Send one text."""
        reply: str = await self._binding.getByName(name).call(request)
        return reply


@dataclass(kw_only=True)
class Raw(Job):
    """The trips of the job `input["twin"]`, of `input["times"]` repetitions."""

    twin: Any = None
    d1: Any = None
    objects: Any = None
    repetitions: list[list[Trip]] = field(default_factory=list[list[Trip]])
    replies: list[list[Any]] = field(default_factory=list[list[Any]])
    done: int = 0

    async def set_up(self) -> None:
        twin_key, trips = f"twin of {self.key}", list[Trip]()
        bindings = KeptBindings(
            AGENT_DB=KeptBinding(
                target=unclocked(self.env.AGENT_DB, as_database), trips=trips, twin=twin_key, key=self.key
            ),
            STREAMS=KeptBinding(
                target=unclocked(self.env.STREAMS, as_namespace), trips=trips, twin=twin_key, key=self.key
            ),
        )
        self.d1 = over_raw(self.env.AGENT_DB, RawDatabase)
        self.objects = over_raw(self.env.STREAMS, RawNamespace)
        self.twin = TWINS[self.input["twin"]](env=bindings, key=twin_key, input=self.input)
        await self.twin.set_up()
        for trip in trips:
            await self._sent(trip)
        for _ in range(self.input["times"]):
            first = len(trips)
            await self.twin.once()
            self.repetitions.append(trips[first:])

    async def once(self) -> None:
        for trip in self.repetitions[self.done]:
            self.replies.append(await self._sent(trip))
        self.done += 1

    async def read_back(self) -> object:
        wanted = [trip.reply for trips in self.repetitions for trip in trips]
        if self.input["twin"] in READS and self.replies != wanted:
            raise ValueError("the job got another reply than the package")
        own = copy.copy(self.twin)
        own.env, own.key = self.env, self.key
        return await own.read_back()

    def counts(self) -> dict[str, float]:
        done = [trip for trips in self.repetitions[: self.done] for trip in trips]
        batches = [trip for trip in done if trip.is_batch]
        return {
            "batches": len(batches),
            "statements": sum(len(trip.sent) for trip in batches),
            "calls": len(done) - len(batches),
        }

    async def _sent(self, trip: Trip) -> list[Any]:
        if trip.values:
            ENCODE(trip.values)
        if trip.is_batch:
            return [value for row in await self.d1.batch(trip.sent) for value in decoded(row)]
        return decoded([await self.objects.call(*trip.sent)])


def unclocked(binding: Any, adapter: Any) -> Any:
    """Return the package's adapter of a binding, without a clock around it."""
    return binding.target if isinstance(binding, TimedCalls) else adapter(binding)


def over_raw(binding: Any, adapter: Any) -> Any:
    """Return the binding without the package; the clock around it stays."""
    if not isinstance(binding, TimedCalls):
        return adapter(raw(binding))
    binding.target = adapter(raw(binding.target))
    return binding


def decoded(values: Sequence[Any]) -> list[Any]:
    """Return what is in the texts that are JSON. Some of them are several values with tabs or line ends between."""
    texts = [each for each in values if isinstance(each, str) and each[:1] in ("{", "[")]
    return json.loads(f"[{','.join(texts)}]".replace("\t", ",").replace("\n", ",")) if texts else []


TWINS: Mapping[str, type[Job]] = {**STATE_JOBS, **STREAM_JOBS}
RAW_JOBS: Mapping[str, type[Job]] = {"raw": Raw}
