"""An HTTP request and its answer as plain values, the same on every platform."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from agents_store_cloudflare.contract.errors import AgentsStoreError
from agents_store_cloudflare.contract.json_values import JsonValue

__all__ = ["HttpRequest", "HttpResponse"]

RETRY_AFTER_S = "1"
_JSON_HEADERS = {
    "content-type": "application/json; charset=utf-8",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request.

    Attributes:
        method: in capitals.
        url: absolute, as it came: percent-encoded.
        headers: kept with their names in lower case; `header` asks in any case.
        body: the whole body, if it was read; b"" otherwise.
    """

    method: str = "GET"
    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", {name.lower(): value for name, value in self.headers.items()})

    def header(self, name: str) -> str | None:
        """The header's value; None if it is absent."""
        return self.headers.get(name.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """An answer.

    Attributes:
        headers: their names in lower case.
        body: text or bytes, or what the platform streams from (a JavaScript `ReadableStream`, a `LocalEvents`); None for none.
        web_socket: the client's end, where the status is 101.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: object = None
    web_socket: object = None

    @classmethod
    def of_json(cls, text: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        """An answer of JSON text, which no cache keeps."""
        return cls(status=status, headers={**_JSON_HEADERS, **(headers or {})}, body=text)

    @classmethod
    def refusal(cls, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> Self:
        """An error as JSON: `{"error": {"code", "message"}}`."""
        error: JsonValue = {"error": {"code": code, "message": message}}
        return cls.of_json(json.dumps(error), status=status, headers=headers)

    @classmethod
    def of_error(cls, error: AgentsStoreError) -> Self:
        """An error of the package with its status. A 503 says when to come again."""
        headers = {"retry-after": RETRY_AFTER_S} if error.http_status == 503 else None
        return cls.of_json(json.dumps(error.to_dict()), status=error.http_status, headers=headers)

    @classmethod
    def of_failure(cls, error: Exception, logger: logging.Logger) -> Self:
        """The answer to an error that is not the package's own: the log gets the traceback, and the client an id alone."""
        incident = secrets.token_hex(6)
        logger.error("internal error %s", incident, exc_info=error)
        return cls.refusal(500, "internal", f"something broke; the log has it under {incident}")

    def with_headers(self, headers: Mapping[str, str]) -> Self:
        """The same answer with more headers."""
        return replace(self, headers={**self.headers, **headers})

    def without_body(self) -> Self:
        """The answer to HEAD."""
        return replace(self, body=None)
