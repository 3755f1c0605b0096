"""The refusal of a request, with the status and the headers of the protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping

from agents_store_cloudflare.contract.json_types import JsonObject, JsonValue
from agents_store_cloudflare.objects.http_messages import HttpResponse

__all__ = ["Refusal"]


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a failure
    """An answer that refuses a request. The request had no effect.

    Attributes:
        status: the HTTP status.
        code: a stable name for programs.
        headers: the answer's headers, with names in lower case.
        details: the other members of the JSON error, beside `code` and `message`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        details: Mapping[str, JsonValue] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers: Mapping[str, str] = headers or {}
        self.details: Mapping[str, JsonValue] = details or {}

    def response(self) -> HttpResponse:
        """Return `{"error": {"code", "message"}}` with the status and headers."""
        error: JsonObject = {"code": self.code, "message": self.message, **self.details}
        return HttpResponse.of_json(json.dumps({"error": error}), status=self.status, headers=self.headers)
