"""The open Durable Streams HTTP protocol over the same streams.

A Worker mounts `DurableStreams` on its gateway. `StreamObject` is the object behind it; tests run it on CPython with
`testing.LocalObjects`. Each name loads its module when it is first used, because the object needs no gateway.
"""

from typing import TYPE_CHECKING

from agents_store_cloudflare.contract.lazy_names import lazy_names

if TYPE_CHECKING:
    from agents_store_cloudflare.durable_streams.face import (
        DURABLE_STREAMS_REQUEST_HEADERS,
        DURABLE_STREAMS_RESPONSE_HEADERS,
        DurableStreams,
    )
    from agents_store_cloudflare.durable_streams.stream_object import StreamObject
    from agents_store_cloudflare.durable_streams.subscriptions.routes import SubscriptionOptions
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "face": ("DURABLE_STREAMS_REQUEST_HEADERS", "DURABLE_STREAMS_RESPONSE_HEADERS", "DurableStreams"),
            "stream_object": ("StreamObject",),
            "subscriptions.routes": ("SubscriptionOptions",),
        },
    )

__all__ = [
    "DURABLE_STREAMS_REQUEST_HEADERS",
    "DURABLE_STREAMS_RESPONSE_HEADERS",
    "DurableStreams",
    "StreamObject",
    "SubscriptionOptions",
]
