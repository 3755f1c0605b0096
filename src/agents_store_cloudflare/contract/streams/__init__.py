"""The contract of a stream manager: its protocols and its records."""

from agents_store_cloudflare.contract.streams.manager import (
    OpensReader,
    OpensWriter,
    ResumableReaderOptions,
    ResumableStreamReader,
    ResumableStreamStatus,
    StreamManager,
    StreamReader,
    StreamWriter,
)
from agents_store_cloudflare.contract.streams.records import BufferOverflowEvent, StreamChunk, StreamInfo

__all__ = [
    "BufferOverflowEvent",
    "OpensReader",
    "OpensWriter",
    "ResumableReaderOptions",
    "ResumableStreamReader",
    "ResumableStreamStatus",
    "StreamChunk",
    "StreamInfo",
    "StreamManager",
    "StreamReader",
    "StreamWriter",
]
