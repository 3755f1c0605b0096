"""Who listens to a stream right now: push for those who are caught up, pages from the log for those who are not.

An append costs one encoding for all listeners and one push each: no coroutine, future or timer per listener. A sink
that is full takes nothing: its listener is behind from then on, and reads the log page by page when the sink asks
(`pull`). So a slow listener neither holds the others nor grows memory.
"""

from __future__ import annotations

from collections.abc import Callable
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
    """The live listeners of one stream."""

    def __init__(self, host: ObjectHost) -> None:
        self._host = host
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
                listener.offer(frames, last_sequence)

    def closed(self, head: StreamHead) -> None:
        """Tell everybody who is caught up how the stream ended."""
        frames = outcome_frame(head).encode()
        for listener in [listener for listener in self._listeners if listener.is_live]:
            listener.finish(frames)

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
        """The sink has room: hand it the next page of the log, where it is behind."""
        if self.is_live:
            return
        head = self._log.existing_head()
        page = self._log.read(self.sequence, max_bytes=PAGE_BYTES)
        frames = chunk_frames(page.first_sequence, page.body) if page.count else ""
        is_at_end = page.last_sequence == head.last_sequence
        if is_at_end and not self._was_caught_up:
            frames += caught_up_frame(head.last_sequence)
        if is_at_end and head.status != "active":
            self.finish((frames + outcome_frame(head)).encode())
        elif not frames or self._sink.push(frames.encode()):
            self.sequence = page.last_sequence
            self.is_live = is_at_end
            self._was_caught_up |= is_at_end

    def offer(self, frames: bytes, last_sequence: int) -> None:
        """Push frames up to `last_sequence`; a full sink falls behind."""
        if self._sink.push(frames):
            self.sequence = last_sequence
        else:
            self.is_live = False

    def keep_alive(self) -> None:
        """Push a comment: it shows whether the client is still there. A full sink has enough to show that."""
        self._sink.push(KEEP_ALIVE.encode())

    def finish(self, frames: bytes) -> None:
        """Push the last frames and close; a full sink gets them when it pulls."""
        if self._sink.push(frames):
            self.cancel()
            self._sink.close()
        else:
            self.is_live = False

    def cancel(self) -> None:
        """The client is gone."""
        self._audience.remove(self)
