"""One listener: its place in the stream, and how it is brought forward."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final, Protocol

from agents_store_cloudflare.contract.errors import StreamTruncatedError
from agents_store_cloudflare.streams.frames import (
    FrameWriter,
    caught_up_frame,
    chunk_frames,
    outcome_frame,
    truncated_frame,
)
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.native_view import native_lines
from agents_store_cloudflare.streams.socket_sink import Place
from agents_store_cloudflare.streams.sse import KEEP_ALIVE

__all__ = ["FrameSink", "Serves", "Subscription"]

PAGE_BYTES: Final = 64 * 1024


class FrameSink(Protocol):
    """Where frames go. From inside these methods it may cancel its subscription, nothing else."""

    def push(self, frames: str) -> bool:
        """Take the frames; False where it is full or gone, and has taken nothing."""
        ...

    def remember(self, place: Place) -> None:
        """Note where the listener stands now, where that must outlive the object's memory."""
        ...

    def close(self) -> None:
        """Nothing follows."""
        ...


class Serves(Protocol):
    """Who a listener belongs to."""

    def serving(self, listener: Subscription, sink: FrameSink, /) -> AbstractContextManager[None]:
        """Whatever fails in here is logged, and the listener let go."""
        ...

    def remove(self, listener: Subscription, /) -> None:
        """Forget a listener."""
        ...


class Subscription:
    """One listener's place in the stream.

    Attributes:
        sink: where its frames go.
        write: how its wire writes a frame.
    """

    def __init__(self, audience: Serves, log: StreamLog, sink: FrameSink, write: FrameWriter, place: Place) -> None:
        self._audience = audience
        self._log = log
        self._place = place
        self._is_over = False
        self.sink: FrameSink = sink
        self.write: FrameWriter = write

    @property
    def sequence(self) -> int:
        """The last chunk handed to the sink."""
        return self._place.sequence

    @property
    def is_live(self) -> bool:
        """Everything stored has been handed over; what is appended comes by push."""
        return self._place.is_live

    def pull(self) -> None:
        """The sink has room: hand it the next page of the log, where it is behind. Never raises."""
        self._pull()

    def pull_all(self) -> None:
        """Hand over pages until the sink is full or has everything. Never raises."""
        while self._pull():
            pass

    def offer(self, frames: str, first_sequence: int, last_sequence: int) -> None:
        """Push a block; a full sink falls behind."""
        with self._audience.serving(self, self.sink):
            self._check_place(first_sequence - 1)
            if self.sink.push(frames):
                self._stand(last_sequence, is_live=True)
            else:
                self._fall_behind()

    def keep_alive(self) -> None:
        """Push a comment: it shows whether the client is still there. A full sink has enough to show that."""
        with self._audience.serving(self, self.sink):
            self.sink.push(KEEP_ALIVE)

    def finish(self, frames: str, last_sequence: int) -> None:
        """Push the last frames and close; a full sink gets them when it pulls."""
        with self._audience.serving(self, self.sink):
            self._check_place(last_sequence)
            self._push_last(frames)

    def begin_anew(self, first_sequence: int) -> None:
        """Push word of a reset."""
        with self._audience.serving(self, self.sink):
            self.sink.push(truncated_frame(self.write, from_sequence=self.sequence, first_sequence=first_sequence))
            self.sink.remember(self._place)

    def leave(self) -> None:
        """The stream is gone."""
        with self._audience.serving(self, self.sink):
            self.cancel()
            self.sink.close()

    def cancel(self) -> None:
        """The client is gone."""
        self._is_over = True
        self._audience.remove(self)

    def remember(self) -> None:
        """Have the sink note where the listener stands. Never raises."""
        with self._audience.serving(self, self.sink):
            self.sink.remember(self._place)

    def _check_place(self, sequence: int) -> None:
        if self.sequence != sequence:
            raise RuntimeError(f"a live listener is at {self.sequence}, not at {sequence}: a block has passed it by")

    def _stand(self, sequence: int, *, is_live: bool) -> None:
        self._place = Place(sequence, is_live, self._place.was_caught_up or is_live)
        self.sink.remember(self._place)

    def _fall_behind(self) -> None:
        self._stand(self.sequence, is_live=False)

    def _pull(self) -> bool:
        """Hand over a page; whether there may be more to hand over."""
        moved = False
        if not self.is_live and not self._is_over:
            with self._audience.serving(self, self.sink):
                moved = self._push_page()
        return moved

    def _push_page(self) -> bool:
        head = self._log.existing_head()
        try:
            page = self._log.read(self.sequence, max_bytes=PAGE_BYTES)
        except StreamTruncatedError as gap:
            return self._push_gap(gap)
        body = native_lines(head.facts, page.body)
        frames = chunk_frames(self.write, page.first_sequence, body) if page.count else ""
        is_at_end = page.last_sequence == head.last_sequence
        if is_at_end and not self._place.was_caught_up:
            frames += caught_up_frame(self.write, head.last_sequence)
        if is_at_end and head.status in ("ended", "failed"):
            self._push_last(frames + outcome_frame(self.write, head))
            return False
        if frames and not self.sink.push(frames):
            self._fall_behind()
            return False
        self._stand(page.last_sequence, is_live=is_at_end)
        return not is_at_end

    def _push_gap(self, gap: StreamTruncatedError) -> bool:
        frame = truncated_frame(self.write, from_sequence=self.sequence, first_sequence=gap.first_sequence)
        if not self.sink.push(frame):
            self._fall_behind()
            return False
        self._stand(gap.first_sequence - 1, is_live=False)
        return True

    def _push_last(self, frames: str) -> None:
        if self.sink.push(frames):
            self.cancel()
            self.sink.close()
        else:
            self._fall_behind()
