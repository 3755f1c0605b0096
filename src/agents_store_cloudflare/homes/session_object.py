"""The logic of a home's Durable Object: the sessions of one tree."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from agents_store_cloudflare.contract.errors import AgentsStoreError, BindingError, InvalidArgumentError
from agents_store_cloudflare.database import Database, SqlError
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.homes.dead_turns import DeadTurns
from agents_store_cloudflare.homes.followers import Followers
from agents_store_cloudflare.homes.outbox import Outbox
from agents_store_cloudflare.homes.own_parts import OwnParts
from agents_store_cloudflare.homes.parts import KEPT_MS, Parts
from agents_store_cloudflare.homes.projection import Projection
from agents_store_cloudflare.homes.publishing import Publishing
from agents_store_cloudflare.homes.schema import SCHEMA
from agents_store_cloudflare.homes.shared_alarm import SharedAlarm, SharedHost
from agents_store_cloudflare.homes.tables import (
    BatchRequest,
    HomeBehindError,
    HomeTables,
    MovedError,
    UncheckedSessionError,
)
from agents_store_cloudflare.homes.together import BatchDone, Together
from agents_store_cloudflare.homes.wire import (
    BATCH,
    DRAIN,
    PART,
    PROJECT,
    SIZE,
    TOGETHER,
    WATCH,
    WHERE,
    joined,
    read_statements,
)
from agents_store_cloudflare.objects import ObjectHost, ObjectSocket
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.objects.rpc_text import WireMessage, decode_request, encode_error, encode_reply
from agents_store_cloudflare.objects.wiring import DESCRIBE, FOLLOW_PATH, check_addressed, describe
from agents_store_cloudflare.usage.options import DEFAULT_TABLE

__all__ = ["SessionObject"]

UNCHECKED: Final = encode_reply({"unchecked": True})
BEHIND: Final = encode_reply({"behind": SCHEMA})
"""After the reply `UNCHECKED` or `BEHIND` the Worker sends the same batch again, with the missing facts."""

FALLBACK_MS: Final = 1_000
"""The delay of the alarm that sends a change to D1, when an immediate sending was due and has failed."""


class SessionObject:
    """The sessions of one home as an `ObjectLogic`. A batch contains no await, so no other call runs during a batch.

    Args:
        host: the object's platform.
        database: returns D1, which has the directory, usage and budgets.
        usage_table: the usage table in D1.
        logger: gets unexpected errors. Their text never leaves the object.
    """

    def __init__(
        self,
        host: ObjectHost,
        *,
        database: Callable[[], Database] | None = None,
        usage_table: str = DEFAULT_TABLE,
        logger: logging.Logger | None = None,
    ) -> None:
        self._alarm = SharedAlarm(host)
        for_stream = SharedHost(host, self._alarm, owns=lambda socket: not Followers.has(socket))
        host = SharedHost(host, self._alarm)
        self._host = host
        self.logger: logging.Logger = logger or logging.getLogger("agents_store_cloudflare.homes")
        self._tables = HomeTables(host.sql)
        self._parts = Parts(host.sql)
        self._projection = Projection(host.sql, self._tables)
        outbox = Outbox(self._tables, usage_table, self.logger)
        self._publishing = Publishing(
            host,
            self._tables,
            database=database or _no_database,
            outbox=outbox,
            projection=self._projection,
            logger=self.logger,
        )
        self._nameless: dict[str, Callable[[], str | Awaitable[str]]] = {
            DESCRIBE: lambda: describe("session", host.sql),
            PROJECT: self._project,
            SIZE: lambda: encode_reply(host.sql.size_bytes()),
        }
        self._operations: dict[str, Callable[[WireMessage], str | Awaitable[str]]] = {
            BATCH: self._batch,
            DRAIN: self._drained,
            PART: self._part,
            TOGETHER: self._together,
            WATCH: self._watch,
        }
        self._own = OwnParts(for_stream, self._tables, self.logger)
        self._followers = Followers(host, self._tables, self.logger)
        self._dead_turns = DeadTurns(
            host,
            self._tables,
            self._own,
            call=self.call,
            wrote=self._wrote_by_itself,
            logger=self.logger,
        )
        self._alarm.waits = (
            self._publishing.waits,
            self._own.stream.waits,
            self._parts.waits,
            self._dead_turns.waits,
        )

    @property
    def stream(self) -> StreamObject:
        """The stream with the home's name, for its listeners."""
        return self._own.stream

    async def call(self, request: str) -> str:
        """Answer one request text with one reply text. Errors are inside the reply."""
        reply = self.answer(request)
        return reply if isinstance(reply, str) else await reply

    def answer(self, request: str) -> str | Awaitable[str]:
        """Return the reply of `call`, or an awaitable of it."""
        try:
            return self._answer(decode_request(request), request)
        except Exception as error:  # noqa: BLE001 - whatever it is, a traceback must not leave the object
            return encode_error(error, self.logger)

    async def alarm(self) -> None:
        """Do the work that is due now."""
        self._alarm.rang()
        await self._dead_turns.ring()
        await self._publishing.ring()
        await self._own.stream.alarm()
        if self._parts.drop_old(self._host.now_ms()):
            self._publishing.changed(KEPT_MS)

    def fetch(self, stream_id: str, request: HttpRequest) -> HttpResponse:
        """Return the answer to a listener of the home's stream, or to a follower of a session."""
        if urlsplit(request.url).path != FOLLOW_PATH:
            return self.stream.fetch(stream_id, request)
        try:
            return self._followers.answer(request)
        except AgentsStoreError as error:
            return HttpResponse.of_error(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, a traceback must not leave the object
            return HttpResponse.of_failure(error, self.logger)

    async def serve(self, stream_id: str, request: HttpRequest) -> HttpResponse:
        """Return the answer to a request of the Durable Streams protocol."""
        return await self.stream.serve(stream_id, request)

    def socket_message(self, socket: ObjectSocket, text: object) -> None:
        """Take a client's message over its WebSocket."""
        if Followers.has(socket):
            self._followers.message(socket)
        else:
            self.stream.socket_message(socket, text)

    def socket_closed(self, socket: ObjectSocket, code: int) -> None:
        """Note that a client has closed its WebSocket with this code, or that it broke."""
        if Followers.has(socket):
            self._followers.closed(socket)
        else:
            self.stream.socket_closed(socket, code)

    def _answer(self, message: WireMessage, request: str) -> str | Awaitable[str]:
        head = message.head
        if head["op"] == WHERE or "streamId" in head or "key" in head:
            return self._own.answer(head, request)
        if (operation := self._nameless.get(head["op"])) is not None:
            return operation()
        check_addressed("session", head, "home")
        operation_of = self._operations.get(head["op"])
        if operation_of is None:
            raise InvalidArgumentError(
                f"a home has no operation {head['op']!r:.100}; does the Worker run an older version?"
            )
        return operation_of(message)

    async def _watch(self, message: WireMessage) -> str:
        try:
            return await self._followers.watch(message.head)
        except Exception as error:  # noqa: BLE001 - whatever it is, a traceback must not leave the object
            return encode_error(error, self.logger)

    def _part(self, message: WireMessage) -> str:
        head = message.head
        self._parts.keep(head["request"], head["part"], message.payload, self._host.now_ms())
        self._publishing.changed(KEPT_MS)
        return encode_reply(None)

    def _batch(self, message: WireMessage) -> str | Awaitable[str]:
        done = self._ran(message, {})
        return self._after(done, done.reply)

    def _together(self, message: WireMessage) -> str | Awaitable[str]:
        place = self._own.place_of(message.head)
        if place is not None:
            return place
        together = Together(self._own, self._ran)
        lengths, texts = joined(together.work(message, self._tables.transaction))
        reply = encode_reply({"lengths": lengths}, texts)
        return reply if together.done is None else self._after(together.done, reply, together.frees_at)

    def _after(self, done: BatchDone, reply: str, frees_at: int | None = None) -> str | Awaitable[str]:
        """Return the reply, and send the changes of the batch to D1. If the caller wants it, the changes are sent before the reply.

        Args:
            frees_at: the end of the lease that was acquired with the batch.
        """
        if done.is_write is None:
            return reply
        if not done.is_write:
            self._publishing.wake(done.delay_ms)
            self._alarm.check()
            return reply
        self._followers.changed()
        self._publishing.wrote(done.delay_ms or FALLBACK_MS)
        if done.adds_run:
            # Last: the end of a lease is later than the news, so it sets no second alarm.
            self._dead_turns.entered(frees_at)
        return self._told(reply) if done.delay_ms == 0 else reply

    def _wrote_by_itself(self) -> None:
        self._followers.changed()
        self._publishing.wrote(FALLBACK_MS)

    def _ran(self, message: WireMessage, numbers: Mapping[str, int]) -> BatchDone:
        try:
            request = self._request(message, numbers)
        except SqlError as error:
            return BatchDone(encode_reply({"failed": str(error)}), fault=error)
        done = self._run(request)
        if (stored := message.head.get("request")) is not None and done.reply not in (UNCHECKED, BEHIND):
            self._parts.drop(stored)
        return done

    def _run(self, request: BatchRequest) -> BatchDone:
        try:
            result = self._tables.run(request)
        except SqlError as error:
            return BatchDone(encode_reply({"failed": str(error)}), fault=error)
        except HomeBehindError:
            return BatchDone(BEHIND)
        except UncheckedSessionError:
            return BatchDone(UNCHECKED)
        except MovedError:
            return BatchDone(encode_reply({"moved": True}))
        delay_ms: int = request.options.get("delayMs", 1_000)
        if result.is_first:
            self._alarm.begins(self._publishing.due_after(delay_ms or FALLBACK_MS))
        place = {} if result.place is None else {"next": list(result.place), "stamp": result.stamp}
        return BatchDone(
            encode_reply(place, result.text),
            is_write=result.is_write,
            adds_run=result.adds_run,
            delay_ms=delay_ms,
        )

    def _request(self, message: WireMessage, numbers: Mapping[str, int]) -> BatchRequest:
        head = message.head
        stored = head.get("request")
        return BatchRequest(
            home=head["home"],
            session=head["session"],
            schema=head["schema"],
            statements=read_statements(message.payload, numbers)
            if stored is None
            else self._parts.statements(stored, head["parts"], numbers),
            options=head["options"],
            is_checked=head["checked"],
            place=tuple(head.get("next", (0, 0))),
            stamp=head.get("stamp"),
            steps={int(version): steps for version, steps in head["steps"].items()} if "steps" in head else {},
            readable_from=head.get("readableFrom", SCHEMA),
        )

    async def _told(self, reply: str) -> str:
        """Send the change to D1, then return the reply. If D1 cannot be reached, the alarm sends the change later."""
        await self._publishing.tell()
        return reply

    async def _drained(self, message: WireMessage) -> str:
        send = self._publishing.tell if message.head.get("tree") else self._publishing.drain
        return encode_reply(await send())

    async def _project(self) -> str:
        record = self._tables.record()
        if record is None:
            return encode_reply(None)
        self._projection.again()
        if not await self._publishing.tell():
            return encode_reply({"home": record.home, "told": False})
        return encode_reply({"home": record.home, "told": True})


def _no_database() -> Database:
    raise BindingError(
        "a home needs D1 for its directory: name the binding with SessionServer.with_options(database=…) in the entry module"
    )
