"""Checks requests and makes answers. Every error is `{"error": {"code", "message"}}`."""

import json
import logging
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

from workers import Request, Response

from agents_store_cloudflare import AgentsStoreError, InvalidArgumentError
from agents_store_cloudflare.contract.json_values import encode_json, parse_json

__all__ = ["MethodNotAllowedError", "NotFoundError", "error_response", "json_response", "question_of"]

MAX_BODY_BYTES = 64 * 1024
_logger = logging.getLogger("research_agent")


class NotFoundError(AgentsStoreError):
    """No endpoint has this path."""

    code = "not_found"
    http_status = 404


class MethodNotAllowedError(AgentsStoreError):
    """The endpoint does not allow this method."""

    code = "method_not_allowed"
    http_status = 405


class BodyTooLargeError(AgentsStoreError):
    """The body is over `MAX_BODY_BYTES`."""

    code = "body_too_large"
    http_status = 413


def json_response(body: Mapping[str, object], *, status: int = 200) -> Response:
    """Return a JSON answer that no cache keeps."""
    headers = {"content-type": "application/json; charset=utf-8", "cache-control": "no-store"}
    return Response(json.dumps(body, ensure_ascii=False), status=status, headers=headers)


def error_response(error: Exception) -> Response:
    """Return the answer for an exception. An unexpected one is logged under an id, and the answer has only the id."""
    if isinstance(error, AgentsStoreError):
        return json_response(error.to_dict(), status=error.http_status)
    incident = secrets.token_hex(6)
    _logger.error("internal error %s", incident, exc_info=error)
    told = {"code": "internal", "message": f"something broke; the log has it under {incident}"}
    return json_response({"error": told}, status=HTTPStatus.INTERNAL_SERVER_ERROR)


async def question_of(request: Request) -> str:
    """Return the question in a request's JSON body.

    Raises:
        BodyTooLargeError: the body is over `MAX_BODY_BYTES`. No more bytes than this are read.
        InvalidArgumentError: it is not a JSON object with a question.
    """
    body = await _body(request)
    if not body:
        raise InvalidArgumentError('the body is empty; send {"question": "…"}')
    value = parse_json(body, name="the body")
    question = value.get("question") if isinstance(value, dict) else None
    if not isinstance(question, str) or not question.strip():
        raise InvalidArgumentError('the body must be {"question": "…"} with some text')
    encode_json(question, name="the question")  # JSON can name lone surrogates, which no text can hold
    return question


async def _body(request: Request) -> bytes:
    """Read the body piece by piece, so that a body without a length cannot fill the memory."""
    stream = cast("Any", request).js_object.body
    if not stream:
        return b""
    reader, body = stream.getReader(), b""
    while not (piece := await reader.read()).done:
        body += cast("bytes", piece.value.to_bytes())
        if len(body) > MAX_BODY_BYTES:
            await reader.cancel()
            raise BodyTooLargeError(f"the body is over {MAX_BODY_BYTES:,} bytes")
    return body
