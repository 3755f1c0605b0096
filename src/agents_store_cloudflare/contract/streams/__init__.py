"""The contract of a stream manager: its protocols and its records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents_store_cloudflare.contract.lazy_names import lazy_names

if TYPE_CHECKING:
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
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "manager": (
                "OpensReader",
                "OpensWriter",
                "ResumableReaderOptions",
                "ResumableStreamReader",
                "ResumableStreamStatus",
                "StreamManager",
                "StreamReader",
                "StreamWriter",
            ),
            "records": ("BufferOverflowEvent", "StreamChunk", "StreamInfo"),
        },
    )

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
