"""Runs calls of the lock, batches, and calls of the stream of one home as one transaction of its object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, cast

from agents_store_cloudflare.database import SqlError
from agents_store_cloudflare.homes.own_parts import OwnParts
from agents_store_cloudflare.homes.wire import split
from agents_store_cloudflare.objects.rpc_text import WireMessage, decode_request, encode_request, is_error

__all__ = ["BatchDone", "Together"]

TOKEN: Final = "token"  # noqa: S105 - the name of a number
SEQUENCE: Final = "sequence"


class BatchDone(NamedTuple):
    """The outcome of a batch.

    Attributes:
        is_write: True if it may have changed rows; None if it did not run to its end.
        adds_run: True if a turn may have entered.
        fault: the text of the database's refusal.
    """

    reply: str
    is_write: bool | None = None
    adds_run: bool = False
    delay_ms: int = 0
    fault: SqlError | None = None

    @property
    def counts(self) -> bool:
        """Whether the batch has taken place, now or at an earlier call with the same commit id."""
        if self.fault is not None:
            return self.fault.guard is not None and self.fault.guard["fault"] == "replay"
        return self.is_write is not None


RunBatch: TypeAlias = Callable[[WireMessage, "Mapping[str, int]"], BatchDone]
Transaction: TypeAlias = "Callable[[Callable[[], None]], None]"


class _RefusedError(Exception):
    """A part was refused, so the earlier parts must be undone."""


class Together:
    """Runs one call of several parts: an acquire may come first, then a batch, then calls of the stream and of the lock.

    If one part of a commit is refused, all parts are undone. There is no await, so no other call runs in between.

    Args:
        own: the lock and the stream of the home.
        run_batch: runs one batch.

    Attributes:
        done: the outcome of the batch; None before it and after a refusal.
        frees_at: the end of the lease that the call has acquired for a turn, in ms; None if it has acquired none.
    """

    def __init__(self, own: OwnParts, run_batch: RunBatch) -> None:
        self._own = own
        self._run_batch = run_batch
        self._replies: list[str] = []
        self.done: BatchDone | None = None
        self.frees_at: int | None = None

    def work(self, message: WireMessage, transaction: Transaction) -> list[str]:
        """Run all parts, and return the replies up to the first refusal."""
        parts = split(message.head["lengths"], message.payload)
        try:
            transaction(lambda: self._enter(parts) if message.head["acquires"] else self._commit(parts))
        except _RefusedError:
            self.done = None
            self._own.stream.forget()
        return self._replies

    def _enter(self, parts: list[str]) -> None:
        """Acquire the lock, and go on with its token if it was free. The caller keeps the lock even if the batch is refused."""
        acquire, batch, *others = parts
        reply = cast("str", self._own.lock.answer(acquire))  # this acquire does not wait, so the reply comes at once
        self._replies.append(reply)
        granted = decode_request(reply).head.get("ok")
        if granted is None:
            return
        numbers = {TOKEN: cast("int", granted["fencingToken"])}
        if self._batch(batch, numbers):
            self.frees_at = granted["expiresAt"]
            for request in others:
                message = decode_request(request)
                self._ask(_with_token(message, numbers[TOKEN]), is_stream="streamId" in message.head)

    def _commit(self, parts: list[str]) -> None:
        batch, *others = parts
        heads = [decode_request(request).head for request in others]
        append = next((request for request, head in zip(others, heads, strict=True) if head["op"] == "append"), None)
        numbers = {} if append is None else {SEQUENCE: self._own.stream.sequence_after(append)}
        if not self._batch(batch, numbers):
            return
        for request, head in zip(others, heads, strict=True):
            if not self._ask(request, is_stream="streamId" in head):
                raise _RefusedError

    def _batch(self, text: str, numbers: Mapping[str, int]) -> bool:
        self.done = self._run_batch(decode_request(text), numbers)
        self._replies.append(self.done.reply)
        return self.done.counts

    def _ask(self, request: str, *, is_stream: bool) -> bool:
        """Send a request to the stream or to the lock. Return whether it was accepted."""
        # A release does not wait, so its reply comes at once too.
        reply = self._own.stream.answer_part(request) if is_stream else cast("str", self._own.lock.answer(request))
        self._replies.append(reply)
        return not is_error(reply)


def _with_token(message: WireMessage, token: int) -> str:
    head: dict[str, Any] = {**message.head, "fencingToken": token}
    return encode_request(head.pop("op"), head, message.payload)
