"""D1, and what an object has of its platform, behind the seams of `database.py` and `objects.py`.

With `object_bindings.py` and `http_bindings.py` it is all that touches JavaScript outside `durable_objects/`.

Bindings are used raw. The Workers SDK wraps `env.AGENT_DB` and friends in proxies that convert value by value, at 4 to 20
times the price, so the raw binding inside is taken (`_binding`). Values cross by four rules: None as JavaScript's null (undefined
is refused by D1), numbers only within ±2^53, text as it is, and nothing else. Results come back as arrays in one conversion.

`js` and `pyodide` are imported where they are used: importing this module works on CPython, and no JavaScript object
outlives a request in a module global.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, LiteralString, TypeAlias, TypeVar, cast

from agents_store_cloudflare.arguments import MAX_SAFE_INTEGER, system_now_ms
from agents_store_cloudflare.database import (
    MAX_VALUE_BYTES,
    BatchCost,
    BatchObserver,
    Database,
    ObjectSql,
    Row,
    SqlError,
    SqlValue,
    Statement,
    compact_sql,
)
from agents_store_cloudflare.object_bindings import CloudflareNamespace
from agents_store_cloudflare.objects import EventBody, ObjectNamespace, ObjectSocket, Outbound
from agents_store_cloudflare.row_count import count_rows, current_row_count

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

__all__ = [
    "CloudflareHost",
    "D1Database",
    "as_database",
    "as_namespace",
]

T = TypeVar("T")

_SHORT = MAX_VALUE_BYTES // 4  # four bytes a character at most: only longer texts need counting
_LAST_ALARM_MS = 6_900_000_000_000  # 2188; an alarm that rings too early is set again


def as_database(binding: object, *, observer: BatchObserver | None = None) -> Database:
    """The `Database` of a D1 binding or session (raw or SDK-wrapped); what is a `Database` already stays as it is.

    Raises:
        TypeError: it is neither, or missing.
    """
    if isinstance(binding, D1Database):
        return binding  # its `_binding` is not to be unwrapped: the observer would be lost
    raw = _raw(binding)
    if hasattr(raw, "prepare"):
        return D1Database(raw, observer=observer)
    if hasattr(binding, "batch"):
        return cast("Database", binding)
    raise TypeError(_not_a("D1 database", "d1_databases", binding))


def as_namespace(binding: object) -> ObjectNamespace:
    """The `ObjectNamespace` of a Durable Object binding (raw or SDK-wrapped); what is one already stays as it is.

    Raises:
        TypeError: it is neither, or missing.
    """
    if isinstance(binding, CloudflareNamespace):
        return binding
    raw = _raw(binding)
    if hasattr(raw, "idFromName"):
        return CloudflareNamespace(raw)
    if hasattr(binding, "call"):
        return cast("ObjectNamespace", binding)
    raise TypeError(_not_a("Durable Object namespace", "durable_objects.bindings", binding))


def _raw(binding: object) -> JsObject:
    return getattr(binding, "_binding", binding)


def _not_a(what: str, section: str, binding: object) -> str:
    return f"expected a {what}, got {type(binding).__name__}; is the binding in the [[{section}]] of the Worker's wrangler.toml?"


class D1Database:
    """A D1 binding or a read-replica session as a `Database`."""

    def __init__(self, binding: JsObject, *, observer: BatchObserver | None = None) -> None:
        self._binding = binding
        self._observer = observer

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """`Database.batch`: one round trip, one transaction."""
        if self._observer is not None:
            rows, _cost = await self.measured_batch(statements)
            return rows
        return _all_rows(await self._send(statements))

    async def measured_batch(self, statements: Sequence[Statement]) -> tuple[list[list[Row]], BatchCost]:
        """`batch`, and what it cost: one more look at each statement's result."""
        results = await self._send(statements)
        cost = _cost(results)
        if self._observer is not None:
            self._observer(cost)
        return _all_rows(results), cost

    async def _send(self, statements: Sequence[Statement]) -> JsObject:
        from pyodide.ffi import JsException, to_js

        prepare = self._binding.prepare
        prepared = [_bind(prepare(compact_sql(each.sql)), each.parameters) for each in statements]
        try:
            return await self._binding.batch(to_js(prepared))
        except JsException as error:
            raise SqlError(_message(error)) from error


def _all_rows(results: JsObject) -> list[list[Row]]:
    from js import Object

    # Rows arrive as objects; mapped to arrays on the JavaScript side they convert in one go. Most writes have none.
    found = [result.results for result in results]
    return [_rows(rows.map(Object.values)) if rows.length else [] for rows in found]


def _bind(statement: JsObject, parameters: Sequence[SqlValue]) -> JsObject:
    if not parameters:
        return statement
    # Most are short texts: a call for each would cost more than the rest.
    crossing = [each if type(each) is str and len(each) <= _SHORT else _crossing(each) for each in parameters]
    return statement.bind(*crossing)


def _crossing(value: SqlValue) -> JsObject:
    if isinstance(value, str):
        if len(value) > _SHORT and (size_bytes := len(value.encode())) > MAX_VALUE_BYTES:
            raise SqlError(f"string or blob too big: {size_bytes:,} bytes: SQLITE_TOOBIG")
        return value
    if value is None:
        from pyodide.ffi import jsnull

        return jsnull
    if abs(value) > MAX_SAFE_INTEGER:
        raise SqlError(f"{value} does not survive the way through JavaScript; bind it as text: SQLITE_MISMATCH")
    return float(value)


def _rows(arrays: JsObject) -> list[Row]:
    from pyodide.ffi import jsnull

    return [[None if value is jsnull else value for value in row] for row in arrays.to_py()]


def _message(error: Exception) -> str:
    return str(getattr(error, "message", error))


def _cost(results: JsObject) -> BatchCost:
    metas = [result.meta for result in results]
    return BatchCost(
        statements=len(metas),
        rows_read=sum(int(meta.rows_read) for meta in metas),
        rows_written=sum(int(meta.rows_written) for meta in metas),
    )


class _CloudflareSql:
    """`ctx.storage.sql` as an `ObjectSql`."""

    def __init__(self, storage: JsObject) -> None:
        self._storage = storage

    def exec(self, sql: LiteralString, *parameters: SqlValue) -> list[Row]:
        from pyodide.ffi import JsException

        try:
            cursor = self._storage.sql.exec(sql, *map(_crossing, parameters))
            # A write that returns nothing has no columns, and no rows to bring over.
            rows = _rows(cursor.raw().toArray()) if cursor.columnNames.length else []
        except JsException as error:
            raise SqlError(_message(error)) from error
        self._count(cursor)
        return rows

    def long_text(self, sql: LiteralString, *parameters: SqlValue) -> str:
        from js import TextEncoder
        from pyodide.ffi import JsException

        encoder = TextEncoder.new()
        try:
            cursor = self._storage.sql.exec(sql, *map(_crossing, parameters))
            [row] = cursor.raw().toArray()
        except JsException as error:
            raise SqlError(_message(error)) from error
        self._count(cursor)
        # Bytes are copied in one go, text character by character: a tenth of the time for 100 KB.
        return cast("str", row.map(encoder.encode.bind(encoder))[0].to_bytes().decode())

    def transaction(self, body: Callable[[], T]) -> T:
        outcome: list[T] = []
        # The result stays on this side; an exception passes through the synchronous JavaScript frame as the same object.
        self._storage.transactionSync(lambda: outcome.append(body()))
        return outcome[0]

    def _count(self, cursor: JsObject) -> None:
        count = current_row_count()
        if count is not None:
            count.add(read=int(cursor.rowsRead), written=int(cursor.rowsWritten))

    # The runtime keeps these in a hidden table of the same database, which it makes at its own cost. It tells no rows of these calls:
    # they are counted as they are billed, https://developers.cloudflare.com/durable-objects/platform/pricing/.

    def get_text(self, key: str) -> str | None:
        count_rows(read=1)
        return cast("str | None", self._storage.kv.get(key))

    def put_text(self, key: str, text: str) -> None:
        count_rows(written=1)
        self._storage.kv.put(key, text)

    def delete_text(self, key: str) -> None:
        if self._storage.kv.delete(key):
            count_rows(written=1)

    def list_texts(self, prefix: str, *, after: str, limit: int) -> list[tuple[str, str]]:
        from js import Array, Object
        from pyodide.ffi import to_js

        options = to_js({"prefix": prefix, "startAfter": after, "limit": limit}, dict_converter=Object.fromEntries)
        found = [(key, text) for key, text in Array.from_(self._storage.kv.list(options)).to_py()]
        count_rows(read=len(found))
        return found


class CloudflareHost:
    """The platform of one Durable Object, from its `ctx`."""

    def __init__(self, ctx: JsObject, env: JsObject = None) -> None:
        self._ctx = ctx
        self._env = env
        self._storage = _raw(ctx.storage)
        self.sql: ObjectSql = _CloudflareSql(self._storage)

    def now_ms(self) -> int:
        """`ObjectHost.now_ms`. The same clock as JavaScript's, without the way there."""
        return system_now_ms()

    def set_alarm(self, at_ms: int | None) -> None:
        """`ObjectHost.set_alarm`. The write is part of the current event: the output gate holds replies until it is durable."""
        count_rows(written=1)
        if at_ms is None:
            self._storage.deleteAlarm()
        else:
            # Beyond its range the platform refuses, in a promise that nobody awaits.
            self._storage.setAlarm(max(1, min(at_ms, _LAST_ALARM_MS)))

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        """`ObjectHost.call_later`, by setTimeout: unlike asyncio's, a cancelled timer is gone and lets the object hibernate."""
        from js import clearTimeout, setTimeout
        from pyodide.ffi import create_proxy

        pending = True

        def fire() -> None:
            nonlocal pending
            pending = False
            try:
                callback()
            finally:
                # Destroying a proxy while JavaScript is inside it is an error: leave it to the next turn.
                _destroy_later(proxy)

        def cancel() -> None:
            nonlocal pending
            if pending:
                pending = False
                clearTimeout(handle)
                proxy.destroy()

        proxy: JsObject = create_proxy(fire)
        handle: JsObject = setTimeout(proxy, delay_ms)
        return cancel

    def siblings(self) -> ObjectNamespace:
        """`ObjectHost.siblings`: the binding, under whatever name, that knows this object's id as one of its own.

        Raises:
            RuntimeError: there is none.
        """
        from js import Object
        from pyodide.ffi import JsException

        raw = getattr(self._env, "_env", self._env)
        for binding in Object.values(raw):
            if hasattr(binding, "idFromString"):
                try:
                    binding.idFromString(self._ctx.id.toString())
                except JsException:
                    continue  # another class's namespace
                return CloudflareNamespace(binding)
        raise RuntimeError("no binding of this Worker leads to the object's own class")

    def outbound(self) -> Outbound:
        """`ObjectHost.outbound`."""
        from agents_store_cloudflare.durable_objects.outbound import CloudflareOutbound

        return CloudflareOutbound()

    def event_body(self) -> EventBody:
        """`ObjectHost.event_body`."""
        from agents_store_cloudflare.durable_objects.sse_body import SseBody

        return SseBody()

    def accept_socket(self) -> tuple[ObjectSocket, object]:
        """`ObjectHost.accept_socket`, by the hibernation API."""
        from js import WebSocketPair, WebSocketRequestResponsePair

        from agents_store_cloudflare.durable_objects.web_socket import CloudflareSocket

        pair = WebSocketPair.new()
        client, server = getattr(pair, "0"), getattr(pair, "1")
        self._ctx.setWebSocketAutoResponse(WebSocketRequestResponsePair.new("ping", "pong"))
        self._ctx.acceptWebSocket(server)
        return CloudflareSocket(server), client

    def sockets(self) -> list[ObjectSocket]:
        """`ObjectHost.sockets`."""
        from agents_store_cloudflare.durable_objects.web_socket import CloudflareSocket

        return [CloudflareSocket(socket) for socket in self._ctx.getWebSockets()]


def _destroy_later(proxy: JsObject) -> None:
    from js import queueMicrotask
    from pyodide.ffi import create_once_callable

    queueMicrotask(create_once_callable(proxy.destroy))
