"""An HTTP request and its answer as plain values, the same on every platform."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from agents_store_cloudflare.contract.errors import AgentsStoreError
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.objects.incidents import log_incident

__all__ = ["HttpRequest", "HttpResponse"]

RETRY_AFTER_S = "1"
_JSON_HEADERS = {
    "content-type": "application/json; charset=utf-8",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """An HTTP request.

    Attributes:
        method: in capitals.
        url: the absolute URL, percent-encoded as it came.
        headers: the values under names in lower case. `header` takes a name in any case.
        body: the whole body if it was read, otherwise b"".
    """

    method: str = "GET"
    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", {name.lower(): value for name, value in self.headers.items()})

    def header(self, name: str) -> str | None:
        """Return the value of a header, or None."""
        return self.headers.get(name.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """An HTTP answer.

    Attributes:
        headers: the values under names in lower case.
        body: text, bytes, an object from which the platform streams (a JavaScript `ReadableStream`, a `LocalEvents`), or None.
        web_socket: the client's end of a WebSocket when the status is 101.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: object = None
    web_socket: object = None

    @classmethod
    def of_json(cls, text: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        """Return an answer with JSON text, which no cache keeps."""
        return cls(status=status, headers={**_JSON_HEADERS, **(headers or {})}, body=text)

    @classmethod
    def refusal(cls, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> Self:
        """Return an error as a JSON answer: `{"error": {"code", "message"}}`."""
        error: JsonValue = {"error": {"code": code, "message": message}}
        return cls.of_json(json.dumps(error), status=status, headers=headers)

    @classmethod
    def of_error(cls, error: AgentsStoreError) -> Self:
        """Return an error of the package as an answer with its status. A 503 says when to try again."""
        headers = {"retry-after": RETRY_AFTER_S} if error.http_status == 503 else None
        return cls.of_json(json.dumps(error.to_dict()), status=error.http_status, headers=headers)

    @classmethod
    def of_failure(cls, error: Exception, logger: logging.Logger) -> Self:
        """Return the answer to an error that is not the package's own. The log gets the cause; the client gets an id only."""
        incident = log_incident(error, logger)
        return cls.refusal(500, "internal", f"something broke; the log has it under {incident}")

    def with_headers(self, headers: Mapping[str, str]) -> Self:
        """Return the same answer with more headers."""
        return replace(self, headers={**self.headers, **headers})

    def without_body(self) -> Self:
        """Return the same answer without its body, as HEAD needs it."""
        return replace(self, body=None)
