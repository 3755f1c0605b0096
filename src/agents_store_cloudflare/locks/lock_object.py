"""The logic of a lock's Durable Object: its leases, and the requests that wait for them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.locks.ended_requests import EndedRequests
from agents_store_cloudflare.locks.lease import Grant, LeaseRequest
from agents_store_cloudflare.locks.lease_table import LeaseTable
from agents_store_cloudflare.locks.wait_queue import Reply, Waiter, WaitQueue
from agents_store_cloudflare.objects import ObjectHost
from agents_store_cloudflare.objects.rpc_text import decode_request, encode_error, encode_reply
from agents_store_cloudflare.objects.wiring import DESCRIBE, check_addressed, describe

__all__ = ["LockObject"]

MAX_SPAN_MS: Final = 86_400_000
KEYS_PER_PAGE: Final = 500

Arguments: TypeAlias = "Mapping[str, Any]"


class LockObject:
    """The leases of one object as an `ObjectLogic`. A grant awaits nothing, so no other call runs during a grant.

    Waiting requests stand in a queue in memory. A release or an expiry gives the key to the first of them, without polling. A
    restart of the object empties the queues: the waiting calls fail, and their callers ask again with the same request id.

    Args:
        host: the object's platform.
        logger: gets errors that are not the package's own. Their text never leaves the object.
    """

    def __init__(self, host: ObjectHost, *, logger: logging.Logger | None = None) -> None:
        self._host = host
        self._logger = logger or logging.getLogger("agents_store_cloudflare.locks")
        self._leases = LeaseTable(host.sql)
        self._ended = EndedRequests()
        self._queues: dict[str, WaitQueue] = {}
        self._expiry_timers: dict[str, Callable[[], None]] = {}
        self._operations: dict[str, Callable[[Arguments], JsonValue]] = {
            "refresh": self._refresh,
            "release": self._release,
            "abandon": self._abandon,
            "is_locked": self._is_locked,
            "get_holder": self._get_holder,
            "delete": self._delete,
            "clean_up": self._clean_up,
        }

    async def call(self, request: str) -> str:
        """Answer one request: acquire, refresh, release, abandon, is_locked, get_holder, delete or clean_up."""
        reply = self.answer(request)
        return reply if isinstance(reply, str) else await reply

    def answer(self, request: str) -> str | Awaitable[str]:
        """Return the reply of `call`, or an awaitable of it for a request that waits."""
        try:
            return self._answer(decode_request(request).head)
        except Exception as error:  # noqa: BLE001 - no traceback may leave the object
            return encode_error(error, self._logger)

    async def alarm(self) -> None:
        """Do nothing. Locks set no alarm: an expiry matters only to callers who ask or wait."""

    def frees_at(self, key: str) -> int | None:
        """Return when the key becomes free (milliseconds since 1970), or None if it is free. Waiting requests come first."""
        self._serve(key)
        return self._leases.frees_at(key, now_ms=self._host.now_ms())

    def _answer(self, arguments: Arguments) -> str | Awaitable[str]:
        op = arguments["op"]
        if op == DESCRIBE:
            return describe("lock", self._host.sql)
        check_addressed("lock", arguments, "key")
        if op == "acquire":
            return self._acquire(arguments)
        operation = self._operations.get(op)
        if operation is None:
            raise InvalidArgumentError(f"a lock has no operation {op!r}; does the Worker run an older version?")
        return encode_reply(operation(arguments))

    def _acquire(self, arguments: Arguments) -> str | Awaitable[str]:
        _check_spans(arguments)
        arrived_ms = self._host.now_ms()
        request = LeaseRequest(
            key=arguments["key"],
            owner=arguments["owner"],
            request_id=arguments["requestId"],
            ttl_ms=arguments["ttlMs"],
            delay_ms=arguments.get("delayMs", 0),
        )
        # Waiting requests come first. If one waits, it holds the key after this line.
        self._serve(request.key)
        if request.request_id in self._ended:
            return _granted(None, arrived_ms)
        grant = self._leases.acquire(request, now_ms=arrived_ms)
        wait_ms = min(arguments["waitMs"], MAX_SPAN_MS)
        if grant is None and wait_ms > 0 and not self._leases.is_given_back(request):
            return self._acquire_later(request, wait_ms, arrived_ms)
        if grant is None:
            self._drop(request.key, request.request_id)
        return _granted(grant, arrived_ms)

    async def _acquire_later(self, request: LeaseRequest, wait_ms: int, arrived_ms: int) -> str:
        try:
            return _granted(await self._wait(request, wait_ms), arrived_ms)
        except Exception as error:  # noqa: BLE001 - whatever it is, a traceback must not leave the object
            return encode_error(error, self._logger)

    async def _wait(self, request: LeaseRequest, wait_ms: int) -> Grant | None:
        queue = self._queues.setdefault(request.key, WaitQueue())
        waiter, reply = queue.join(request)
        cancel_timer = self._host.call_later(wait_ms, lambda: self._time_is_up(waiter, reply))
        self._watch_expiry(request.key)
        try:
            return await reply
        finally:
            cancel_timer()
            self._leave(waiter, reply)

    def _time_is_up(self, waiter: Waiter, reply: Reply) -> None:
        self._serve(waiter.request.key)
        # The call leaves the queue before its reply. Otherwise it could get a lease that nobody uses.
        self._leave(waiter, reply)
        if not reply.done():
            reply.set_result(None)

    def _refresh(self, arguments: Arguments) -> JsonValue:
        _check_spans(arguments)
        key, token, now_ms = arguments["key"], arguments["fencingToken"], self._host.now_ms()
        expires_at = self._leases.refresh(key, fencing_token=token, ttl_ms=arguments["ttlMs"], now_ms=now_ms)
        self._serve(key)
        return expires_at

    def _release(self, arguments: Arguments) -> JsonValue:
        key, token, now_ms = arguments["key"], arguments["fencingToken"], self._host.now_ms()
        if (request_id := arguments.get("requestId")) is not None:
            self._ended.add(request_id)
        is_released = self._leases.release(key, fencing_token=token, now_ms=now_ms)
        self._serve(key)
        return is_released

    def _abandon(self, arguments: Arguments) -> JsonValue:
        """Forget the request of a caller that has gone away.

        It no longer waits for the key or holds it, even if its acquire arrives later.
        """
        key, request_id, now_ms = arguments["key"], arguments["requestId"], self._host.now_ms()
        self._ended.add(request_id)
        self._drop(key, request_id)
        is_abandoned = self._leases.abandon(key, request_id=request_id, now_ms=now_ms)
        self._serve(key)
        return is_abandoned

    def _is_locked(self, arguments: Arguments) -> JsonValue:
        return self.frees_at(arguments["key"]) is not None

    def _get_holder(self, arguments: Arguments) -> JsonValue:
        key = arguments["key"]
        self._serve(key)
        lease = self._leases.live_lease(key, now_ms=self._host.now_ms())
        if lease is None:
            return None
        return {"owner": lease.owner, "fencingToken": lease.fencing_token, "expiresAt": lease.expires_at}

    def _delete(self, arguments: Arguments) -> JsonValue:
        # Waiting requests come first. If one waits, it holds the key after this line.
        self._serve(arguments["key"])
        return self._leases.delete(arguments["key"], now_ms=self._host.now_ms())

    def _clean_up(self, arguments: Arguments) -> JsonValue:
        page = self._leases.clean_up(
            idle_ms=arguments["idleMs"],
            after=arguments["after"],
            limit=KEYS_PER_PAGE,
            now_ms=self._host.now_ms(),
        )
        return {"removed": page.removed, "nextAfter": page.next_after}

    def _serve(self, key: str) -> None:
        """Give a free key to the first waiting request. If the key is not free, look again when it becomes free."""
        queue = self._queues.get(key)
        if not queue:
            return
        try:
            grant = self._leases.acquire(queue.first().request, now_ms=self._host.now_ms())
        except Exception as error:  # noqa: BLE001 - a timer has no caller, so the waiting calls get the error
            queue.fail(error)
            return
        if grant is not None:
            queue.pop_first().answer(grant)
        self._watch_expiry(key)

    def _drop(self, key: str, request_id: str) -> None:
        queue = self._queues.get(key)
        if queue is not None:
            queue.drop(request_id)
            self._watch_expiry(key)

    def _leave(self, waiter: Waiter, reply: Reply) -> None:
        queue = self._queues.get(waiter.request.key)
        if queue is not None:
            queue.leave(waiter, reply)
            self._watch_expiry(waiter.request.key)

    def _watch_expiry(self, key: str) -> None:
        """If a request waits, set a timer for the moment at which the key becomes free. A timer keeps the object awake."""
        cancel_timer = self._expiry_timers.pop(key, None)
        if cancel_timer is not None:
            cancel_timer()
        if not self._queues.get(key):
            self._queues.pop(key, None)
            return
        now_ms = self._host.now_ms()
        frees_at = self._leases.frees_at(key, now_ms=now_ms)
        delay_ms = 1 if frees_at is None else max(1, frees_at - now_ms)
        self._expiry_timers[key] = self._host.call_later(delay_ms, lambda: self._expired(key))

    def _expired(self, key: str) -> None:
        del self._expiry_timers[key]
        self._serve(key)


def _check_spans(arguments: Arguments) -> None:
    """Refuse spans that no lock manager sends: stored in a lease, they would close the key for ever.

    Raises:
        InvalidArgumentError: a span is no whole number of milliseconds, or longer than a day.
    """
    for name in ("ttlMs", "delayMs"):
        span_ms = arguments.get(name, 0)
        if type(span_ms) is not int or not 0 <= span_ms <= MAX_SPAN_MS:
            raise InvalidArgumentError(f"{name} must be a whole number of milliseconds, at most a day")


def _granted(grant: Grant | None, arrived_ms: int) -> str:
    """Return the reply to an acquire."""
    if grant is None:
        return encode_reply(None)
    # The ttl counts here from the arrival of the request. The caller counts it from the sending, which was earlier.
    valid_for_ms = grant.expires_at - arrived_ms
    return encode_reply(
        {"fencingToken": grant.fencing_token, "expiresAt": grant.expires_at, "validForMs": valid_for_ms}
    )
