"""The open Durable Streams protocol at /v1/stream/{path}, and the same streams as native events at /streams/{id}/events."""

from typing import Any

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    DURABLE_STREAMS_REQUEST_HEADERS,
    DURABLE_STREAMS_RESPONSE_HEADERS,
    CorsPolicy,
    DurableStreams,
    StreamAction,
    StreamGateway,
    StreamServer,
    SubscriptionOptions,
)

__all__ = ["Default", "StreamServer"]


SUBSCRIPTIONS = {"on": SubscriptionOptions(), "development": SubscriptionOptions(allow_loopback=True)}


class Default(WorkerEntrypoint):
    """Everybody may do everything: put your own rule into `may` before you deploy this."""

    env: Any

    async def fetch(self, request: Request) -> Any:
        """Let the gateway answer."""
        face = DurableStreams(
            self.env.STREAMS,
            long_poll_timeout=float(self.env.LONG_POLL_S),
            subscriptions=SUBSCRIPTIONS.get(self.env.SUBSCRIPTIONS),
        )
        gateway = StreamGateway(
            self.env.STREAMS,
            authorize=may,
            faces=[face],
            cors=CorsPolicy(
                allowed_origins=["*"],
                allowed_headers=DURABLE_STREAMS_REQUEST_HEADERS,
                exposed_headers=DURABLE_STREAMS_RESPONSE_HEADERS,
            ),
        )
        answer = await gateway.handle(request)
        return Response("streams are at /v1/stream/{path}\n", status=404) if answer is None else answer


def may(_request: Request, _stream_id: str, _action: StreamAction) -> bool:
    """Return whether the request may do this with the stream: look at its session or token here."""
    return True
