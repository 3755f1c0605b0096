"""One listener: its place in the stream, and the steps that send it more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Final, Protocol

from agents_store_cloudflare.contract.errors import StreamTruncatedError
from agents_store_cloudflare.streams.frames import (
    PAGE_BYTES,
    FramePage,
    FrameWriter,
    caught_up_frame,
    chunk_pages,
    outcome_frame,
    truncated_frame,
)
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.log import Page, StreamLog
from agents_store_cloudflare.streams.native_view import native_texts
from agents_store_cloudflare.streams.sse import KEEP_ALIVE

__all__ = ["FrameSink", "Place", "Serves", "Subscription", "place_at"]

PATIENCE: Final = 4
"""The number of unread keep-alives after which a listener is closed."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a listener in its stream.

    Attributes:
        sequence: the sequence of the last chunk that its sink has taken.
        incarnation: the life of the stream that this chunk belongs to; None for an earlier life.
        is_live: its sink has taken all stored chunks, and new chunks come by push.
        was_caught_up: the listener was told that it is caught up.
        until_ms: the time at which its permission is over; None for no such time.
    """

    sequence: int
    incarnation: str | None = ""
    is_live: bool = False
    was_caught_up: bool = False
    until_ms: int | None = None


def place_at(head: StreamHead, from_sequence: int) -> Place:
    """Return the place of a new listener that has all chunks up to `from_sequence`. With 0 it begins at the oldest chunk that is kept."""
    if from_sequence == 0:
        return Place(head.first_sequence - 1, head.incarnation)
    return Place(from_sequence, None if head.is_of_earlier_life(from_sequence) else head.incarnation)


class FrameSink(Protocol):
    """Sends frames to one client. Its methods may cancel their own subscription and no other."""

    def push(self, frames: str) -> bool:
        """Take the frames. Return False if the sink is full or gone and has taken nothing."""
        ...

    def has_read(self) -> bool:
        """Return whether the client has read a frame since the last call of this method, or has no frame to read."""
        ...

    def remember(self, place: Place) -> None:
        """Keep the listener's place if the connection outlives the object's memory."""
        ...

    def close(self) -> None:
        """End the connection after the frames that it holds."""
        ...

    def break_off(self) -> None:
        """End the connection at once, and drop the frames that the client has not taken."""
        ...


class Serves(Protocol):
    """The owner of listeners."""

    def serving(self, listener: Subscription, sink: FrameSink, /) -> AbstractContextManager[None]:
        """Log a failure of the block, and end the listener."""
        ...

    def remove(self, listener: Subscription, /) -> None:
        """Forget a listener."""
        ...

    def has_expired(self, listener: Subscription, until_ms: int, /) -> bool:
        """Return whether this time is over. If so, end the listener, which gets no more frames."""
        ...


class Subscription:
    """One listener of a stream, with its place.

    Every push is one page of frames, and a full sink refuses it. So a sink holds at most its window and one more page. A listener
    with a full sink is behind, and its sink asks for the rest (`pull`) when there is room again.

    Attributes:
        sink: takes the listener's frames.
        write: writes a frame for the listener's wire.
    """

    def __init__(self, audience: Serves, log: StreamLog, sink: FrameSink, write: FrameWriter, place: Place) -> None:
        self._audience = audience
        self._log = log
        self._place = place
        self._is_over = False
        self._unread_ticks = 0
        self._was_pulled = False
        self.sink: FrameSink = sink
        self.write: FrameWriter = write

    @property
    def sequence(self) -> int:
        """The sequence of the last chunk that the sink has taken."""
        return self._place.sequence

    @property
    def _has_expired(self) -> bool:
        """Whether the permission is over. Then the listener is ended."""
        until_ms = self._place.until_ms
        if until_ms is None or not self._audience.has_expired(self, until_ms):
            return False
        self._is_over = True
        return True

    @property
    def is_live(self) -> bool:
        """True when the sink has taken all stored chunks. Then new chunks come by push."""
        return self._place.is_live

    def pull(self) -> None:
        """Push the next block of the log, as far as the sink has room. It never raises."""
        self._was_pulled = True
        self._pull()

    def pull_all(self) -> None:
        """Push blocks until the sink is full or has all chunks. It never raises."""
        while self._pull():
            pass

    def offer(self, page: FramePage, *, is_last: bool) -> None:
        """Push new chunks. If the sink is full, the listener falls behind, and `sequence` stays. It never raises.

        Args:
            is_last: the page ends with the stream's last chunk.
        """
        with self._audience.serving(self, self.sink):
            self._check_place(page.first_sequence - 1)
            if not self._has_expired:
                self._push_chunks(page, is_last=is_last)

    def keep_alive(self) -> None:
        """Push a comment to a listener that is caught up. The comment shows whether the client is still there.

        A client that has read nothing for a minute is closed. It comes back with the position that it has.
        """
        with self._audience.serving(self, self.sink):
            if self._has_expired:
                return
            has_read = self.sink.has_read() if self.is_live else self._was_pulled
            self._was_pulled = False
            self._unread_ticks = 0 if has_read else self._unread_ticks + 1
            if self._unread_ticks > PATIENCE:
                self.cancel()
                self.sink.break_off()
            elif self.is_live:
                self.sink.push(KEEP_ALIVE)

    def finish(self, frame: str, last_sequence: int) -> None:
        """Push the last frame and close. A full sink gets the frame when it pulls."""
        with self._audience.serving(self, self.sink):
            self._check_place(last_sequence)
            if not self._has_expired:
                self._push_last(frame)

    def begin_anew(self) -> None:
        """Tell the listener that the stream was reset: at once, or after the frames that its sink still holds."""
        with self._audience.serving(self, self.sink):
            self._fall_behind()
        self.pull_all()

    def leave(self) -> None:
        """Close the listener's connection: the stream is gone."""
        with self._audience.serving(self, self.sink):
            self.cancel()
            self.sink.close()

    def cancel(self) -> None:
        """Forget the listener: its client is gone."""
        self._is_over = True
        self._audience.remove(self)

    def remember(self) -> None:
        """Let the sink keep the listener's place. It never raises."""
        with self._audience.serving(self, self.sink):
            self.sink.remember(self._place)

    def _check_place(self, sequence: int) -> None:
        if self.sequence != sequence:
            raise RuntimeError(f"a live listener is at {self.sequence}, not at {sequence}: a block has passed it by")

    def _stand(self, sequence: int, *, is_live: bool) -> None:
        was_caught_up = self._place.was_caught_up or is_live
        self._place = replace(self._place, sequence=sequence, is_live=is_live, was_caught_up=was_caught_up)
        self.sink.remember(self._place)

    def _fall_behind(self) -> None:
        self._place = replace(self._place, is_live=False)
        self.sink.remember(self._place)

    def _pull(self) -> bool:
        """Push a block of the log. Return whether more blocks may follow."""
        moved = False
        if not self.is_live and not self._is_over:
            with self._audience.serving(self, self.sink):
                moved = not self._has_expired and self._push_block()
        return moved

    def _push_block(self) -> bool:
        head = self._log.existing_head()
        if self._place.incarnation != head.incarnation:
            return self._push_gap(head, head.first_sequence)
        try:
            block = self._log.read(self.sequence, max_bytes=PAGE_BYTES)
        except StreamTruncatedError as gap:
            return self._push_gap(head, gap.first_sequence)
        for page, is_last in self._pages(head, block):
            if not self._push_chunks(page, is_last=is_last):
                return False
        if self.is_live and head.status in ("ended", "failed"):
            self._push_last(outcome_frame(self.write, head))
            return False
        return not self.is_live

    def _pages(self, head: StreamHead, block: Page) -> Iterator[tuple[FramePage, bool]]:
        """Yield the pages of frames of a block. The second value of each says whether the page reaches the end of the stream."""
        if not block.count:
            yield FramePage("", block.first_sequence, block.last_sequence), True
            return
        for page in chunk_pages(self.write, block.first_sequence, native_texts(head.facts, block.body)):
            yield page, page.last_sequence == head.last_sequence

    def _push_chunks(self, page: FramePage, *, is_last: bool) -> bool:
        """Push a page. Return False if the sink is full: then the listener is behind."""
        frames = page.text
        if is_last and not self._place.was_caught_up:
            frames += caught_up_frame(self.write, page.last_sequence)
        if frames and not self.sink.push(frames):
            self._fall_behind()
            return False
        self._stand(page.last_sequence, is_live=is_last)
        return True

    def _push_gap(self, head: StreamHead, first_sequence: int) -> bool:
        frame = truncated_frame(self.write, from_sequence=self.sequence, first_sequence=first_sequence)
        if not self.sink.push(frame):
            self._fall_behind()
            return False
        self._place = replace(self._place, incarnation=head.incarnation)
        self._stand(first_sequence - 1, is_live=False)
        return True

    def _push_last(self, frame: str) -> None:
        if self.sink.push(frame):
            self.cancel()
            self.sink.close()
        else:
            self._fall_behind()
