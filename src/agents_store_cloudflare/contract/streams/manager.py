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
    """The position after which a resumable reader begins, and the seconds for which it waits until the stream exists."""

    from_sequence: int = 0
    wait: Seconds | None = None


class StreamWriter(Protocol):
    """Writes chunks to one stream in order. A retry never stores a chunk twice. Several writers may write to the same stream."""

    @property
    def pending(self) -> Sequence[JsonObject]:
        """The chunks that `write` has taken and the stream has not confirmed yet, in order. Chunks that were sent count too."""
        ...

    async def write(self, chunk: Mapping[str, object], *, expected_sequence: int | None = None) -> None:
        """Take one chunk into the buffer. The next flush stores it: the chunk is durable when `await flush()` has returned.

        A write that raises or is cancelled has not taken its chunk, so write it again. There is one exception: when the chunk is in
        `pending`, it may have been sent. Then the next write, flush or close stores it once, or raises.

        When several tasks write, the chunks stand in the order of the calls.

        Args:
            chunk: a JSON object with a text `type`.
            expected_sequence: the sequence that this chunk must get. With it, the call stores the buffered chunks and this chunk
                before it returns.

        Raises:
            StreamClosedError: the stream takes no chunks.
            StreamChunkTooLargeError: the chunk is over the size limit.
            SequenceConflictError: the chunk would get another sequence than the expected one.
            StaleFencingTokenError: a higher fencing token has been seen.
            StreamConnectionError: the stream could not be reached, or the buffer stayed full.

        Cost: 0-1 object calls (0-1 rows read, 0-1 written).
        """
        ...

    async def flush(self) -> int:
        """Store all chunks that were taken so far. Return the last stored sequence.

        Raises:
            StreamError: the writer is in adaptive mode, and a restart has lost chunks that readers have seen. `flush` also raises
                the errors of `write`.

        Cost: 0-1 object calls (0-3 rows read, 0-1 written).
        """
        ...

    async def close(self) -> int:
        """Flush, and take no more chunks. Return the last stored sequence. The stream stays open.

        When the call raises, the writer stays open and keeps its chunks. The end of an `async with` block closes the writer in any
        case.

        Cost: 0-1 object calls (0-1 rows read, 0-1 written).
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class StreamReader(Protocol):
    """Yields a stream's chunks: the stored chunks first, then new chunks as they come. It reconnects by itself.

    The iteration stops when the stream is ended or paused. On a failed stream the reader yields all chunks, then it raises
    `StreamFailedError`. It raises `StreamTruncatedError` when the next chunk is no longer kept, or when the stream was reset. Tasks
    may share a reader: each chunk goes to one of them.
    """

    @property
    def sequence(self) -> int:
        """The sequence of the last chunk that the reader has yielded. Before the first chunk it is the position where reading began."""
        ...

    @property
    def status(self) -> ResumableStreamStatus:
        """The newest status of the stream that this reader knows."""
        ...

    def __aiter__(self) -> AsyncIterator[JsonObject]: ...

    async def close(self) -> None:
        """Stop reading. An iteration that is waiting stops too.

        Cost: nothing is sent.
        """
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
    """Streams of chunks.

    The chunks are numbered 1, 2, 3 …, and a number is never used again. Reading an unknown id creates nothing.

    A call that ends, fails, pauses, resumes, resets or deletes a stream takes effect once. This holds however often the call is
    sent under its `commit_id`, and whatever others do in between. When the caller gives no `commit_id`, the manager makes one for
    its own retries. A stream remembers the last 32 commit ids.
    """

    def create_writer(
        self, stream_id: str, agent_id: str, agent_type: str, *, fencing_token: FencingToken = UNSET
    ) -> OpensWriter:
        """Return a writer. It creates the stream if there is none. Chunks without `agentId` and `agentType` get the writer's.

        Args:
            stream_id: any id of a stream.
            agent_id: who writes.
            agent_type: the kind of that agent.
            fencing_token: a lock or its token, for every chunk. A writer with a lower one than the stream has seen is refused.

        Cost: 1 object call (0-2 rows read, 0-4 written).
        """
        ...

    def create_reader(self, stream_id: str, *, wait: Seconds | None = None, follow: bool = True) -> OpensReader:
        """Return a reader that begins at the oldest chunk that is kept.

        Args:
            stream_id: any id of a stream.
            wait: seconds to wait for the stream to exist.
            follow: wait for new chunks until the stream ends. With False the iteration stops after the stored chunks. A second
                iteration yields the chunks that were stored since.

        Raises:
            StreamNotFoundError: the stream does not exist when the wait is over.

        Cost: 1 object call (22 rows read).
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
        """Return a reader of the chunks after `from_sequence`.

        Args:
            stream_id: any id of a stream.
            from_sequence: the sequence of the last chunk that the caller has; 0 for none.
            wait: seconds to wait for the stream to exist.
            until_turn: stop after the chunk that closes this turn (type `turn-end` or `turn-failed`, with its `turnId`). A turn id
                means any attempt: the reader stops at the first closing chunk of this turn. When `from_sequence` is at or after the
                closing chunk of the newest closed attempt, the reader stops at once. `Turn.attempt` names one attempt: when
                `from_sequence` is the closing chunk of an earlier attempt, the reader goes on. A stream remembers its 32 newest
                closed turns. When `from_sequence` is at or after the closing chunk of an older turn, the reader waits for new
                chunks.

        Raises:
            SequenceConflictError: the position is above the last sequence.
            StreamTruncatedError: chunks after the position are no longer kept. `was_reset` is True when the stream was reset, or
                deleted and made again: then read it anew with `create_reader`.
            StreamNotFoundError: the stream does not exist when the wait is over.

        Cost: 1 object call (7 rows read).
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
        """End the stream. The chunks in this manager's writers are stored first.

        Ending it again with the same outcome does nothing.

        Args:
            stream_id: any id of a stream.
            output: JSON that readers and `get_info` get.
            status: a word for the outcome, for readers.
            fencing_token: a lock or its token. A lower one than the stream has seen is refused.
            commit_id: a name of this call. Repeated with it, the call has one effect.

        Raises:
            StreamClosedError: the stream has another outcome; the error names it.
            StreamNotFoundError: the stream does not exist.
            StaleFencingTokenError: a higher fencing token has been seen.
            StreamConnectionError: a writer or the call got no answer.

        Cost: 1 object call (0-1 rows read, 0-1 written).
        """
        ...

    async def fail_stream(
        self, stream_id: str, error: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> None:
        """Fail the stream. The chunks in this manager's writers are stored first. It raises the errors of `end_stream`.

        Readers get every chunk, then `StreamFailedError` with this text.

        Args:
            stream_id: any id of a stream.
            error: the text for readers.
            fencing_token: a lock or its token. A lower one than the stream has seen is refused.
            commit_id: a name of this call. Repeated with it, the call has one effect.

        Cost: 1 object call (1 row read, 1 written).
        """
        ...

    async def pause_stream(
        self, stream_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> None:
        """Pause the stream. The chunks in this manager's writers are stored first. A paused stream stays paused.

        Then writing raises `StreamClosedError`. Readers get every chunk and stop.

        Args:
            stream_id: any id of a stream.
            fencing_token: a lock or its token. A lower one than the stream has seen is refused.
            commit_id: a name of this call. Repeated with it, the call has one effect.

        Raises:
            StreamClosedError: the stream has ended or failed.
            StreamNotFoundError: the stream does not exist.
            StaleFencingTokenError: a higher fencing token has been seen.

        Cost: 1 object call (1 row read, 1 written).
        """
        ...

    async def resume_stream(
        self, stream_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> None:
        """Make a paused stream take chunks again. An active stream stays unchanged. It raises the errors of `pause_stream`.

        Args:
            stream_id: any id of a stream.
            fencing_token: a lock or its token. A lower one than the stream has seen is refused.
            commit_id: a name of this call. Repeated with it, the call has one effect.

        Cost: 1 object call (0-1 rows read, 0-1 written).
        """
        ...

    async def reset_stream(
        self, stream_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> None:
        """Make the stream active and empty, whatever its status is. The numbers of its chunks go on.

        Each open reader raises `StreamTruncatedError` once. A reader that had yielded all chunks goes on when it is iterated again.
        Chunks that writers have taken and not stored come after the reset.

        Args:
            stream_id: any id of a stream.
            fencing_token: a lock or its token. A lower one than the stream has seen is refused.
            commit_id: a name of this call. Repeated with it, the call has one effect.

        Raises:
            StreamNotFoundError: the stream does not exist.
            StaleFencingTokenError: a higher fencing token has been seen.

        Cost: 1 object call (4 rows read, 4 written).
        """
        ...

    async def delete_stream(
        self, stream_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> None:
        """Delete the stream. If it is created again, its numbers go on, and old fencing tokens stay refused.

        Args:
            stream_id: any id of a stream.
            fencing_token: a lock or its token. A lower one than the stream has seen is refused.
            commit_id: a name of this call. Repeated with it, the call has one effect.

        Raises:
            StreamNotFoundError: the stream does not exist.
            StaleFencingTokenError: a higher fencing token has been seen.

        Cost: 1 object call (6 rows read, 6 written).
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
        """Delete the chunks before `first_sequence`.

        Readers that want an earlier chunk get `StreamTruncatedError`. A lower `first_sequence` later brings no chunks back.

        Args:
            stream_id: any id of a stream.
            fencing_token: a lock or its token. A lower one than the stream has seen is refused.
            commit_id: a name of this call. Repeated with it, the call has one effect.

        Raises:
            StreamNotFoundError: the stream does not exist.
            StaleFencingTokenError: a higher fencing token has been seen.

        Cost: 1 object call (7 rows read, 3 written).
        """
        ...

    async def reset_fence(self, stream_id: str) -> None:
        """Forget the highest fencing token of a stream, also of a deleted stream. Then any token is accepted again.

        This is for operators, after somebody used a wrong token or the lock service lost its count. An unknown stream stays
        unknown.

        Args:
            stream_id: any id of a stream.

        Cost: 1 object call (1 row read, 1 written).
        """
        ...

    async def get_info(self, stream_id: str) -> StreamInfo | None:
        """Return the stream's status, numbers and outcome, or None if it does not exist.

        `writers` counts the writers of the chunks that are kept.

        Args:
            stream_id: any id of a stream.

        Cost: 1 object call.
        """
        ...

    def on(
        self, event: Literal["buffer_overflow"], callback: Callable[[BufferOverflowEvent], None]
    ) -> Callable[[], None]:
        """Call `callback` at each event. Return a function that unsubscribes it.

        An exception of the callback is logged and has no other effect.
        """
        ...
