"""The calls to a lock's object. Each is safe to repeat, and is sent again when no reply comes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agents_store_cloudflare.contract.errors import AgentsStoreError, LockError
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.database.backoff import backoff_s
from agents_store_cloudflare.database.finishing import Finishing
from agents_store_cloudflare.locks.options import LockOptions
from agents_store_cloudflare.objects import ObjectCallError, ObjectNamespace
from agents_store_cloudflare.objects.rpc_text import decode_reply, encode_request

__all__ = ["Answer", "LockCalls", "request_text", "value_of"]

ATTEMPTS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An object's reply. `sent_s` is the time at which its request was sent: a grant in the reply was made later."""

    value: Any
    sent_s: float


class LockCalls:
    """Calls to the objects of one namespace."""

    def __init__(self, namespace: ObjectNamespace, options: LockOptions) -> None:
        self._namespace = namespace
        self._object_name: Callable[[str], str] = options.object_name
        self.sleep: Callable[[float], Awaitable[None]] = options.sleep
        self.now_s: Callable[[], float] = options.now_s
        self.finishing: Finishing = Finishing(options.sleep)
        self.logger: logging.Logger = options.logger or logging.getLogger("agents_store_cloudflare.locks")

    async def call(self, key: str, op: str, arguments: Mapping[str, JsonValue], *, name: str | None = None) -> Answer:
        """Return the answer of the key's object, or of the object called `name`.

        If no reply comes, the call is sent again, after growing random pauses (50 ms to 2 s).

        Raises:
            LockError: four attempts brought no reply, or the object is overloaded or failed; the call may have worked.
        """
        return await self.call_until(key, op, lambda: arguments, self.now_s(), name=name)

    async def call_until(
        self,
        key: str,
        op: str,
        arguments: Callable[[], Mapping[str, JsonValue]],
        deadline_s: float,
        *,
        name: str | None = None,
    ) -> Answer:
        """Call as `call` does, with fresh arguments for each attempt: at least four attempts, and more until the deadline."""
        attempt = 1
        while True:
            sent_s = self.now_s()
            request = request_text(key, op, arguments())
            try:
                reply = await self._namespace.call(name or self._object_name(key), request)
            except ObjectCallError as error:
                if error.is_final() or (attempt >= ATTEMPTS and self.now_s() >= deadline_s):
                    raise LockError(
                        f"lock {key!r} gave no reply to {op!r} in {attempt} attempts ({error})", outcome_unknown=True
                    ) from error
            else:
                return Answer(value=value_of(key, reply), sent_s=sent_s)
            await self.sleep(backoff_s(attempt))
            attempt += 1


def request_text(key: str, op: str, arguments: Mapping[str, JsonValue]) -> str:
    """Return the text of a call."""
    return encode_request(op, {"key": key, **arguments})


def value_of(key: str, reply: str) -> Any:
    """Return the value of a reply.

    Raises:
        AgentsStoreError: the error that the lock's object raised.
        LockError: something else failed in the object.
    """
    try:
        return decode_reply(reply).head["ok"]
    except AgentsStoreError as error:
        if type(error) is not AgentsStoreError:
            raise
        raise LockError(f"lock {key!r}: {error}", outcome_unknown=True) from error
