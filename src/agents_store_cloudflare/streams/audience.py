"""Who listens to a stream right now: push for those who are caught up, pages from the log for those who are not.

An append costs one encoding for all listeners and one push each: no coroutine, future or timer per listener. A sink
that is full takes nothing: its listener is behind from then on, and reads the log page by page when the sink asks
(`pull`). So a slow listener neither holds the others nor grows memory; and one that fails is let go alone: its client
comes back with the position it has.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Final, Protocol

from agents_store_cloudflare.objects import ObjectHost
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.sse import KEEP_ALIVE, caught_up_frame, chunk_frames, outcome_frame

__all__ = ["Audience", "FrameSink", "Subscription"]

KEEP_ALIVE_MS: Final = 15_000
PAGE_BYTES: Final = 64 * 1024


class FrameSink(Protocol):
    """Where frames go. From inside these methods it may cancel its subscription, nothing else."""

    def push(self, frames: bytes) -> bool:
        """Take the frames; False where it is full or gone, and has taken nothing."""
        ...

    def close(self) -> None:
        """Nothing follows."""
        ...


class Audience:
    """The live listeners of one stream. What it says to them never raises."""

    def __init__(self, host: ObjectHost, logger: logging.Logger) -> None:
        self._host = host
        self._logger = logger
        self._listeners: set[Subscription] = set()
        self._cancel_timer: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, log: StreamLog, from_sequence: int, sink: FrameSink) -> Subscription:
        """A listener that has everything up to `from_sequence`; it is behind until its first `pull`."""
        listener = Subscription(self, log, from_sequence, sink)
        self._listeners.add(listener)
        if self._cancel_timer is None:
            self._cancel_timer = self._host.call_later(KEEP_ALIVE_MS, self._keep_alive)
        return listener

    def remove(self, listener: Subscription) -> None:
        """Forget a listener; with the last one goes the timer, so that the object may sleep."""
        self._listeners.discard(listener)
        if not self._listeners and self._cancel_timer is not None:
            self._cancel_timer()
            self._cancel_timer = None

    def appended(self, first_sequence: int, body: str, last_sequence: int) -> None:
        """Push a new block to everybody who is caught up."""
        live = [listener for listener in self._listeners if listener.is_live]
        if live:
            frames = chunk_frames(first_sequence, body).encode()
            for listener in live:
                listener.offer(frames, first_sequence, last_sequence)

    def closed(self, head: StreamHead) -> None:
        """Tell everybody who is caught up how the stream ended."""
        frames = outcome_frame(head).encode()
        for listener in [listener for listener in self._listeners if listener.is_live]:
            listener.finish(frames, head.last_sequence)

    @contextmanager
    def serving(self, listener: Subscription, sink: FrameSink) -> Generator[None, None, None]:
        """Whatever fails in here is logged, and the listener let go; nobody else is touched."""
        try:
            yield
        except Exception:
            self._logger.exception("a listener was let go: incident %s", secrets.token_hex(6))
            self.remove(listener)
            with suppress(Exception):
                sink.close()

    def _keep_alive(self) -> None:
        self._cancel_timer = self._host.call_later(KEEP_ALIVE_MS, self._keep_alive)
        for listener in [listener for listener in self._listeners if listener.is_live]:
            listener.keep_alive()


class Subscription:
    """One listener's place in the stream.

    Attributes:
        sequence: the last chunk handed to the sink.
        is_live: everything stored has been handed over; what is appended comes by push.
    """

    def __init__(self, audience: Audience, log: StreamLog, from_sequence: int, sink: FrameSink) -> None:
        self._audience = audience
        self._log = log
        self._sink = sink
        self._was_caught_up = False
        self.sequence: int = from_sequence
        self.is_live: bool = False

    def pull(self) -> None:
        """The sink has room: hand it the next page of the log, where it is behind. Never raises."""
        if not self.is_live:
            with self._audience.serving(self, self._sink):
                self._push_page()

    def offer(self, frames: bytes, first_sequence: int, last_sequence: int) -> None:
        """Push a block; a full sink falls behind."""
        with self._audience.serving(self, self._sink):
            self._check_place(first_sequence - 1)
            if self._sink.push(frames):
                self.sequence = last_sequence
            else:
                self.is_live = False

    def keep_alive(self) -> None:
        """Push a comment: it shows whether the client is still there. A full sink has enough to show that."""
        with self._audience.serving(self, self._sink):
            self._sink.push(KEEP_ALIVE.encode())

    def finish(self, frames: bytes, last_sequence: int) -> None:
        """Push the last frames and close; a full sink gets them when it pulls."""
        with self._audience.serving(self, self._sink):
            self._check_place(last_sequence)
            self._push_last(frames)

    def cancel(self) -> None:
        """The client is gone."""
        self._audience.remove(self)

    def _check_place(self, sequence: int) -> None:
        if self.sequence != sequence:
            raise RuntimeError(f"a live listener is at {self.sequence}, not at {sequence}: a block has passed it by")

    def _push_page(self) -> None:
        head = self._log.existing_head()
        page = self._log.read(self.sequence, max_bytes=PAGE_BYTES)
        frames = chunk_frames(page.first_sequence, page.body) if page.count else ""
        is_at_end = page.last_sequence == head.last_sequence
        if is_at_end and not self._was_caught_up:
            frames += caught_up_frame(head.last_sequence)
        if is_at_end and head.status != "active":
            self._push_last((frames + outcome_frame(head)).encode())
        elif not frames or self._sink.push(frames.encode()):
            self.sequence = page.last_sequence
            self.is_live = is_at_end
            self._was_caught_up |= is_at_end

    def _push_last(self, frames: bytes) -> None:
        if self._sink.push(frames):
            self.cancel()
            self._sink.close()
        else:
            self.is_live = False
