"""A Worker with a gateway, and streams that count how often their object was constructed."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from workers import Request, Response, WorkerEntrypoint

import agents_store_cloudflare
from agents_store_cloudflare import CorsPolicy, DurableObjectStreamManager, StreamGateway, StreamUrlSigner

__all__ = ["Default", "StreamServer"]

SIGNER_KEY = "a key for tests only"


class StreamServer(agents_store_cloudflare.StreamServer):
    """The package's class, which also counts its constructions."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self._constructed = self.ctx.storage._binding.sql
        self._constructed.exec("CREATE TABLE IF NOT EXISTS constructed (at INTEGER)")
        self._constructed.exec("INSERT INTO constructed VALUES (1)")

    async def constructions(self) -> int:
        """Return how often the object was constructed, this time included."""
        return int(self._constructed.exec("SELECT COUNT(*) FROM constructed").raw().toArray().to_py()[0][0])


class Default(WorkerEntrypoint):
    """/streams is the gateway's; the rest is for tests."""

    env: Any

    async def fetch(self, request: Request) -> Any:
        """Answer one request."""
        gateway = StreamGateway(
            self.env.STREAMS,
            authorize=_may,
            signer=StreamUrlSigner({"k1": SIGNER_KEY}),
            cors=CorsPolicy(allowed_origins=["https://app.example"]),
        )
        if (answer := await gateway.handle(request)) is not None:
            return answer
        url = urlsplit(request.url)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/manager":
            manager = DurableObjectStreamManager(self.env.STREAMS)
            return await manager.sse_response(query["stream"], last_event_id=request.headers.get("last-event-id"))
        return Response(json.dumps(await _test(self.env, gateway, url.path, query)))


def _may(request: Request, stream_id: str, _action: str) -> bool:
    if stream_id == "broken":
        raise RuntimeError("cannot say who may")
    return bool(request.headers.get("x-user") == "ada")


async def _test(env: Any, gateway: StreamGateway, path: str, query: dict[str, str]) -> object:
    stream_id = query.get("stream", "")
    manager = DurableObjectStreamManager(env.STREAMS)
    if path == "/write":
        async with manager.create_writer(stream_id, "a", "t") as writer:
            for number in range(int(query["first"]), int(query["first"]) + int(query["count"])):
                await writer.write({"type": "text", "n": number, "text": "x" * int(query.get("size", "0"))})
            return await writer.flush()
    if path == "/end":
        await manager.end_stream(stream_id, {"done": True})
    if path == "/sign":
        return gateway.signed_path(
            stream_id,
            wire="socket" if query["wire"] == "socket" else "events",
            expires_in=float(query.get("expires_in", "300")),
        )
    if path == "/constructions":
        return int(await env.STREAMS.getByName(stream_id).constructions())
    return None
