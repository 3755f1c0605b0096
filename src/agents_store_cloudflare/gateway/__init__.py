"""Streams over HTTP in a user's Worker: routes, permissions, CORS, signed URLs."""

from agents_store_cloudflare.gateway.admission import Authorize, StreamAction
from agents_store_cloudflare.gateway.cors import CorsPolicy
from agents_store_cloudflare.gateway.faces import Admits, GatewayFace
from agents_store_cloudflare.gateway.gateway import StreamGateway
from agents_store_cloudflare.gateway.session_states import SessionStates
from agents_store_cloudflare.gateway.signing import StreamUrlSigner
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse

__all__ = [
    "Admits",
    "Authorize",
    "CorsPolicy",
    "GatewayFace",
    "HttpRequest",
    "HttpResponse",
    "SessionStates",
    "StreamAction",
    "StreamGateway",
    "StreamUrlSigner",
]
