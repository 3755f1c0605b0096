"""Why a request of the protocol is not served, with the status and headers that its clients act on."""

from __future__ import annotations

from collections.abc import Mapping

from agents_store_cloudflare.http_messages import HttpResponse

__all__ = ["Refusal"]


class Refusal(Exception):  # noqa: N818 - it is an answer, not a failure
    """An answer that nothing was done for.

    Attributes:
        status: of HTTP.
        code: stable, for programs.
        headers: in lower case.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers: Mapping[str, str] = headers or {}

    def response(self) -> HttpResponse:
        """`{"error": {"code", "message"}}` with the status and headers."""
        return HttpResponse.refusal(self.status, self.code, self.message, headers=self.headers)
