"""The errors of streams."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from agents_store_cloudflare.contract.errors.base import AgentsStoreError

__all__ = [
    "SequenceConflictError",
    "StreamChunkTooLargeError",
    "StreamClosedError",
    "StreamConnectionError",
    "StreamError",
    "StreamFailedError",
    "StreamNotFoundError",
    "StreamTruncatedError",
]


class StreamError(AgentsStoreError):
    """A stream call failed."""

    code = "stream_error"


class StreamConnectionError(StreamError):
    """The stream's Durable Object could not be reached, or its buffer stayed full too long."""

    code = "stream_connection"
    http_status = 503


@dataclass(eq=False, repr=False)
class StreamNotFoundError(StreamError):
    """The stream does not exist."""

    code = "stream_not_found"
    http_status = 404

    stream_id: str

    def _describe(self) -> str:
        return f"stream {self.stream_id!r} does not exist; create_writer makes it"


@dataclass(eq=False, repr=False)
class StreamClosedError(StreamError):
    """The stream takes no chunks: it is ended, failed or paused.

    Attributes:
        status: "ended", "failed" or "paused".
        end_status: how the stream ended ("completed" or the caller's word); None if it has not ended.
    """

    code = "stream_closed"
    http_status = 409

    stream_id: str
    _: KW_ONLY
    status: str
    end_status: str | None = None

    def _describe(self) -> str:
        outcome = f" ({self.end_status})" if self.end_status else ""
        advice = "resume it first" if self.status == "paused" else "write to another one"
        return f"stream {self.stream_id!r} is {self.status}{outcome} and takes no chunks; {advice}"


@dataclass(eq=False, repr=False)
class StreamFailedError(StreamError):
    """The stream was failed by its writer; readers get this error after the last chunk.

    Attributes:
        error: the text that the caller gave to `fail_stream`.
    """

    code = "stream_failed"
    http_status = 502

    stream_id: str
    _: KW_ONLY
    error: str | None = None

    def _describe(self) -> str:
        return f"stream {self.stream_id!r} was failed by its writer; see .error"


@dataclass(eq=False, repr=False)
class StreamTruncatedError(StreamError):
    """The chunks after the reader's position are gone, or the whole stream that the reader knew is gone.

    Attributes:
        from_sequence: the reader's position.
        first_sequence: the oldest chunk that is kept, or the first one to come.
        was_reset: the stream was reset, or deleted and made again, since the reader got its position. Read it anew with
            `create_reader`: the chunks that the reader has are not part of it.
    """

    code = "stream_truncated"
    http_status = 410

    stream_id: str
    _: KW_ONLY
    from_sequence: int
    first_sequence: int
    was_reset: bool = False

    def _describe(self) -> str:
        what = f"asked for what follows {self.from_sequence}"
        if self.was_reset:
            return (
                f"stream {self.stream_id!r} was reset, {what}, its chunks begin with {self.first_sequence}; "
                "read it anew with create_reader"
            )
        return (
            f"stream {self.stream_id!r} keeps nothing before sequence {self.first_sequence}, {what}; "
            f"read again from_sequence={self.first_sequence - 1}"
        )


@dataclass(eq=False, repr=False)
class StreamChunkTooLargeError(StreamError):
    """The chunk is over the size limit; no sequence was taken."""

    code = "stream_chunk_too_large"
    http_status = 413

    stream_id: str
    _: KW_ONLY
    limit_bytes: int
    size_bytes: int

    def _describe(self) -> str:
        return (
            f"a chunk for stream {self.stream_id!r} has {self.size_bytes:,} bytes, the limit is "
            f"{self.limit_bytes:,}; split it"
        )


@dataclass(eq=False, repr=False)
class SequenceConflictError(StreamError):
    """The caller's sequence is not the stream's.

    Attributes:
        expected: the caller's sequence.
        actual: the stream's sequence.
    """

    code = "sequence_conflict"
    http_status = 409

    stream_id: str
    _: KW_ONLY
    expected: int
    actual: int

    def _describe(self) -> str:
        return f"stream {self.stream_id!r}: expected sequence {self.expected}, the stream is at {self.actual}"
