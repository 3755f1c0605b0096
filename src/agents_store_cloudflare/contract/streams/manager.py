"""The contract of a stream manager, its writers and its readers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias

from agents_store_cloudflare.contract.arguments import Seconds
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue
from agents_store_cloudflare.contract.locks import Lock
from agents_store_cloudflare.contract.streams.records import BufferOverflowEvent, StreamInfo

__all__ = [
    "OpensReader",
    "OpensWriter",
    "ResumableReaderOptions",
    "ResumableStreamReader",
    "ResumableStreamStatus",
    "StreamManager",
    "StreamReader",
    "StreamWriter",
]

ResumableStreamStatus: TypeAlias = Literal["active", "paused", "ended", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumableReaderOptions:
    """Where a resumable reader begins (`from_sequence` is exclusive: "I have n") and how many seconds it waits for the stream to exist."""

    from_sequence: int = 0
    wait: Seconds | None = None


class StreamWriter(Protocol):
    """Writes chunks to one stream in order. A retry never stores a chunk twice; several writers may share a stream."""

    @property
    def pending(self) -> Sequence[JsonObject]:
        """Chunks taken by `write` and not stored yet, in order."""
        ...

    async def write(self, chunk: Mapping[str, object], *, expected_sequence: int | None = None) -> None:
        """Take one chunk: buffered, stored by the next flush (`await flush()` = stored).

        A write that raises or is cancelled has not taken its chunk: write it again. Unless the chunk is in `pending`: then it may
        have left already, and the next write, flush or close stores it, once, or raises.

        Args:
            chunk: a JSON object with a text `type`.
            expected_sequence: the sequence it must get; then everything buffered and this chunk are stored at once.

        Raises:
            StreamClosedError, StreamChunkTooLargeError, SequenceConflictError, StaleFencingTokenError, StreamConnectionError.
        """
        ...

    async def flush(self) -> int:
        """Store everything taken so far; the last stored sequence."""
        ...

    async def close(self) -> int:
        """Flush and take no more chunks; the last stored sequence. The stream stays open."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class StreamReader(Protocol):
    """Yields a stream's chunks: stored ones, then live ones, to the end. A dropped connection resumes by itself.

    Iteration stops when the stream is ended or paused; a failed one yields everything and raises `StreamFailedError`; one that
    has lost the position to retention raises `StreamTruncatedError`.
    """

    @property
    def sequence(self) -> int:
        """The sequence of the chunk yielded last (or where reading began)."""
        ...

    @property
    def status(self) -> ResumableStreamStatus:
        """The stream's status as this reader last heard it."""
        ...

    def __aiter__(self) -> AsyncIterator[JsonObject]: ...

    async def close(self) -> None:
        """Stop reading."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


ResumableStreamReader: TypeAlias = StreamReader


class OpensWriter(Awaitable[StreamWriter], AbstractAsyncContextManager[StreamWriter], Protocol):
    """What `create_writer` returns: `await` it, or use it in `async with`."""


class OpensReader(Awaitable[StreamReader], AbstractAsyncContextManager[StreamReader], Protocol):
    """What `create_reader` returns: `await` it, or use it in `async with`."""


class StreamManager(Protocol):
    """Streams of chunks, numbered 1, 2, 3 …; a number is never used again. Reads of unknown ids create nothing.

    A call that changes a stream's life takes effect once, however often it is sent under its `commit_id`, and whatever
    others do in between. Without a `commit_id` each call has a name of its own, for the manager's own repetitions. A
    stream remembers the last 32 names.
    """

    def create_writer(
        self, stream_id: str, agent_id: str, agent_type: str, *, fencing_token: int | Lock | None = None
    ) -> OpensWriter:
        """A writer; the stream is created with it. `agent_id` and `agent_type` are added to chunks that do not name theirs."""
        ...

    def create_reader(self, stream_id: str, *, wait: Seconds | None = None, follow: bool = True) -> OpensReader:
        """A reader from the first chunk kept.

        Args:
            wait: seconds to wait for the stream to exist.
            follow: wait for chunks to come, until the stream ends. False: stop when everything stored was yielded;
                iterating again yields what has come since.

        Raises:
            StreamNotFoundError: the stream does not exist, after the wait.
        """
        ...

    def create_resumable_reader(
        self, stream_id: str, from_sequence: int = 0, *, wait: Seconds | None = None, until_turn: str | None = None
    ) -> OpensReader:
        """A reader of the chunks after `from_sequence` ("I have n").

        Args:
            from_sequence: the last sequence that was read; 0 for none.
            wait: seconds to wait for the stream to exist.
            until_turn: stop after the chunk that closes this turn (type `turn-end` or `turn-failed`, with its `turnId`).

        Raises:
            SequenceConflictError: the position is above the last sequence.
            StreamTruncatedError: chunks after the position are no longer kept; or the stream was reset, or deleted and made
                again, since (`was_reset`): then read it anew with `create_reader`.
            StreamNotFoundError: the stream does not exist, after the wait.
        """
        ...

    async def end_stream(
        self,
        stream_id: str,
        output: JsonValue = None,
        *,
        status: str = "completed",
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> None:
        """End the stream. Ending it twice alike is a no-op; differently raises `StreamClosedError` with the first outcome."""
        ...

    async def fail_stream(
        self, stream_id: str, error: str, *, fencing_token: int | Lock | None = None, commit_id: str | None = None
    ) -> None:
        """Fail the stream: readers get everything, then `StreamFailedError` with this text."""
        ...

    async def pause_stream(
        self, stream_id: str, *, fencing_token: int | Lock | None = None, commit_id: str | None = None
    ) -> None:
        """Take no chunks for a while: writing raises `StreamClosedError`, readers get everything and stop. Twice is once.

        Raises:
            StreamClosedError: it has ended or failed.
            StreamNotFoundError, StaleFencingTokenError.
        """
        ...

    async def resume_stream(
        self, stream_id: str, *, fencing_token: int | Lock | None = None, commit_id: str | None = None
    ) -> None:
        """Take chunks again; an active stream stays as it is. Raises as `pause_stream` does."""
        ...

    async def reset_stream(
        self, stream_id: str, *, fencing_token: int | Lock | None = None, commit_id: str | None = None
    ) -> None:
        """Make the stream active and empty, whatever it was; its numbers go on.

        Readers that were open are told once, by `StreamTruncatedError`; iterating again, those who had everything go on.

        Raises:
            StreamNotFoundError, StaleFencingTokenError.
        """
        ...

    async def delete_stream(
        self, stream_id: str, *, fencing_token: int | Lock | None = None, commit_id: str | None = None
    ) -> None:
        """Delete the stream: from now on it is unknown. Created again, its numbers go on, and its fence still holds.

        Raises:
            StreamNotFoundError: there is none.
            StaleFencingTokenError.
        """
        ...

    async def truncate_stream(
        self,
        stream_id: str,
        first_sequence: int,
        *,
        fencing_token: int | Lock | None = None,
        commit_id: str | None = None,
    ) -> None:
        """Drop the chunks before `first_sequence`; readers below it get `StreamTruncatedError`. The floor never sinks.

        Raises:
            StreamNotFoundError, StaleFencingTokenError.
        """
        ...

    async def reset_fence(self, stream_id: str) -> None:
        """Forget the highest fencing token of a stream, of a deleted one too: any token is good again.

        For operators: after a wrong token, or after a lock service has lost its count. An unknown stream stays unknown.
        """
        ...

    async def get_info(self, stream_id: str) -> StreamInfo | None:
        """The stream as it stands; None when unknown."""
        ...

    def on(
        self, event: Literal["buffer_overflow"], callback: Callable[[BufferOverflowEvent], None]
    ) -> Callable[[], None]:
        """Call `callback` at each event; the result unsubscribes."""
        ...
