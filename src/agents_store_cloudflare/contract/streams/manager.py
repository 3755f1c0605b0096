"""The contract of a stream manager, its writers and its readers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, Seconds
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue
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
    """Writes chunks to one stream, in order. A retry never stores a chunk twice. Several writers may share a stream."""

    @property
    def pending(self) -> Sequence[JsonObject]:
        """The chunks that `write` has taken and the stream has not stored yet, in order; those on their way too."""
        ...

    async def write(self, chunk: Mapping[str, object], *, expected_sequence: int | None = None) -> None:
        """Take one chunk into the buffer. The next flush stores it: when `await flush()` has returned, it is durable.

        A write that raises or is cancelled has not taken its chunk: write it again. There is one exception: the chunk is in
        `pending`. Then it may have been sent, and the next write, flush or close stores it, once, or raises.

        Writes from several tasks are taken in the order of the calls.

        Args:
            chunk: a JSON object with a text `type`.
            expected_sequence: the sequence it must get; then everything buffered and this chunk are stored at once.

        Raises:
            StreamClosedError: the stream takes no chunks.
            StreamChunkTooLargeError: the chunk is over the size limit.
            SequenceConflictError: the chunk would get another sequence than the expected one.
            StaleFencingTokenError: a higher fencing token has been seen.
            StreamConnectionError: the stream could not be reached, or the buffer stayed full.
        """
        ...

    async def flush(self) -> int:
        """Store all chunks taken so far. Returns the last stored sequence.

        Raises:
            StreamError: in adaptive mode, a restart has lost chunks that were shown. Other errors: as `write`.
        """
        ...

    async def close(self) -> int:
        """Flush, and take no more chunks. Returns the last stored sequence. The stream stays open.

        When it raises, the writer stays open and keeps its chunks. Leaving `async with` closes the writer in any case.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class StreamReader(Protocol):
    """Yields a stream's chunks: the stored ones, then new ones as they come. A dropped connection resumes by itself.

    The iteration stops when the stream is ended or paused. On a failed stream it yields everything, then it raises
    `StreamFailedError`. If the next chunk is no longer kept, or the stream was reset, it raises `StreamTruncatedError`. Tasks
    may share a reader: each chunk goes to one of them.
    """

    @property
    def sequence(self) -> int:
        """The sequence of the chunk yielded last; before the first chunk, the position where reading began."""
        ...

    @property
    def status(self) -> ResumableStreamStatus:
        """The stream's status when this reader last heard of it."""
        ...

    def __aiter__(self) -> AsyncIterator[JsonObject]: ...

    async def close(self) -> None:
        """Stop reading. An iteration that waits stops too."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


ResumableStreamReader: TypeAlias = StreamReader


class OpensWriter(Awaitable[StreamWriter], AbstractAsyncContextManager[StreamWriter], Protocol):
    """The result of `create_writer`: `await` it, or use it in `async with`."""


class OpensReader(Awaitable[StreamReader], AbstractAsyncContextManager[StreamReader], Protocol):
    """The result of `create_reader`: `await` it, or use it in `async with`."""


class StreamManager(Protocol):
    """Streams of chunks, numbered 1, 2, 3 …; a number is never used again. Reads of unknown ids create nothing.

    A call that changes a stream's life takes effect once, however often it is sent under its `commit_id`, and whatever
    others do in between. Without a `commit_id` each call has a name of its own, for the manager's own repetitions. A
    stream remembers the last 32 names.
    """

    def create_writer(
        self, stream_id: str, agent_id: str, agent_type: str, *, fencing_token: FencingToken = UNSET
    ) -> OpensWriter:
        """A writer. It creates the stream if there is none. Chunks that lack `agentId` and `agentType` get the writer's."""
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
        self,
        stream_id: str,
        from_sequence: int = 0,
        *,
        wait: Seconds | None = None,
        until_turn: str | tuple[str, str] | None = None,
    ) -> OpensReader:
        """A reader of the chunks after `from_sequence` ("I have n").

        Args:
            from_sequence: the last sequence that was read; 0 for none.
            wait: seconds to wait for the stream to exist.
            until_turn: stop after the chunk that closes this turn (type `turn-end` or `turn-failed`, with its `turnId`). A turn
                id means whichever attempt of it closes: at the closing chunk of the newest closed attempt the reader stops at once.
                `Turn.attempt` means one attempt: the closing chunk of an earlier one at the position does not stop the reader. A
                position behind the closing chunk of a turn before the newest closed one waits.

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
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> None:
        """End the stream, after storing what this manager's writers of it have taken.

        Ending it again with the same outcome does nothing.

        Raises:
            StreamClosedError: the stream has another outcome; the error names it.
            StreamNotFoundError: the stream does not exist.
            StaleFencingTokenError: a higher fencing token has been seen.
            StreamConnectionError: a writer or the call got no answer.
        """
        ...

    async def fail_stream(
        self, stream_id: str, error: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> None:
        """Fail the stream, after storing what this manager's writers of it have taken. Raises as `end_stream` does.

        Readers get every chunk, then `StreamFailedError` with this text.
        """
        ...

    async def pause_stream(
        self, stream_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> None:
        """Pause the stream, after storing what this manager's writers of it have taken. A paused stream stays paused.

        Writing raises `StreamClosedError`; readers get every chunk and stop.

        Raises:
            StreamClosedError: the stream has ended or failed.
            StreamNotFoundError: the stream does not exist.
            StaleFencingTokenError: a higher fencing token has been seen.
        """
        ...

    async def resume_stream(
        self, stream_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> None:
        """Have a paused stream take chunks again. An active stream stays as it is. Raises as `pause_stream` does."""
        ...

    async def reset_stream(
        self, stream_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> None:
        """Make the stream active and empty, whatever its status is. Its numbers go on.

        Open readers are told once, by `StreamTruncatedError`. When iterated again, a reader that had everything goes on.
        Chunks that writers have taken and not stored come after the reset.

        Raises:
            StreamNotFoundError: the stream does not exist.
            StaleFencingTokenError: a higher fencing token has been seen.
        """
        ...

    async def delete_stream(
        self, stream_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> None:
        """Delete the stream: from now on it is unknown. When it is created again, its numbers go on and its fence holds.

        Raises:
            StreamNotFoundError: the stream does not exist.
            StaleFencingTokenError: a higher fencing token has been seen.
        """
        ...

    async def truncate_stream(
        self,
        stream_id: str,
        first_sequence: int,
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> None:
        """Drop the chunks before `first_sequence`. Readers below it get `StreamTruncatedError`. The floor never sinks.

        Raises:
            StreamNotFoundError: the stream does not exist.
            StaleFencingTokenError: a higher fencing token has been seen.
        """
        ...

    async def reset_fence(self, stream_id: str) -> None:
        """Forget the highest fencing token of a stream, of a deleted one too: any token is good again.

        For operators: after a wrong token, or after a lock service has lost its count. An unknown stream stays unknown.
        """
        ...

    async def get_info(self, stream_id: str) -> StreamInfo | None:
        """The stream's status, numbers and outcome; None if it does not exist. `writers` counts those whose chunks are kept."""
        ...

    def on(
        self, event: Literal["buffer_overflow"], callback: Callable[[BufferOverflowEvent], None]
    ) -> Callable[[], None]:
        """Call `callback` at each event. Returns a function that unsubscribes it.

        If a callback raises, that is logged, and the work goes on.
        """
        ...
