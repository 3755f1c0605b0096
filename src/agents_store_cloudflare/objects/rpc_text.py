r"""The texts that cross to a Durable Object and back: one request, one reply.

The first line is a JSON object, the head. The lines after it are the payload, one JSON text each; JSON text holds no raw newline. So the
writer encodes chunks once, and nobody parses them on their way into a block row.

```text
request  {"op": "append", …arguments}\n{"type":"text",…}\n{"type":"text",…}
reply    {"ok": …}\n…payload            or   {"error": {"code": "stream_closed", "facts": {…}}}
```

An error of the package reaches the caller as the same class with the same facts. Any other error leaves the object as
`{"code": "internal", "id": …}`. The object's log has the id beside the cause, which never leaves the object.

While a meter counts the cost of calls, the head of the request begins with `"countRows":true`, and the head of the reply with
`"rows":[read,written]`. Both are added and removed as text, so the code of calls does not see them.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from agents_store_cloudflare.contract.errors import ERRORS_BY_CODE, AgentsStoreError, InvalidArgumentError
from agents_store_cloudflare.contract.json_values import MAX_DEPTH, JsonValue, parse_json
from agents_store_cloudflare.objects.incidents import log_incident

__all__ = [
    "WireMessage",
    "ask_for_rows",
    "asks_for_rows",
    "decode_reply",
    "decode_request",
    "encode_error",
    "encode_reply",
    "encode_request",
    "is_error",
    "split_rows",
    "with_rows",
]

ASK_FOR_ROWS: Final = '{"countRows":true,'
_ROWS = re.compile(r'\{"rows":\[(\d+),(\d+)\],')

_ERROR: Final = '{"error":'

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class WireMessage(NamedTuple):
    """A decoded text: the object of the head, and the text of the payload or ""."""

    head: Mapping[str, Any]
    payload: str


def encode_request(op: str, arguments: Mapping[str, JsonValue], payload: str = "") -> str:
    return _join({"op": op, **arguments}, payload)


def decode_request(text: str) -> WireMessage:
    """Return the arguments and the payload of a request.

    Raises:
        InvalidArgumentError: the first line is no JSON object, or nests so deeply that parsing it would end the isolate.
    """
    head = text.partition("\n")[0]
    if head.count("[") + head.count("{") > MAX_DEPTH:
        parse_json(head, name="request")
    return _split(text)


def encode_reply(value: JsonValue, payload: str = "") -> str:
    return _join({"ok": value}, payload)


def is_error(reply: str) -> bool:
    """Return whether a reply is that of a call that raised an error. It must not count rows."""
    return reply.startswith(_ERROR)


def encode_error(error: Exception, logger: logging.Logger) -> str:
    """Return the reply of a call that raised an error. An error that is not the package's own is logged here and leaves as an id."""
    if isinstance(error, AgentsStoreError):
        return _join({"error": {"code": error.code, "facts": error.facts()}}, "")
    return _join({"error": {"code": "internal", "facts": {"id": log_incident(error, logger)}}}, "")


def decode_reply(text: str) -> WireMessage:
    """Return the value (`head["ok"]`) and the payload of a reply.

    Raises:
        AgentsStoreError: the error that the object raised, as its own class.
    """
    message = _split(text)
    error = message.head.get("error")
    if error is not None:
        raise _error_from(error)
    return message


def ask_for_rows(request: str) -> str:
    """Return the request with the question for its rows."""
    return ASK_FOR_ROWS + request[1:]


def asks_for_rows(request: str) -> bool:
    return request.startswith(ASK_FOR_ROWS)


def with_rows(reply: str, rows_read: int, rows_written: int) -> str:
    """Return the reply with the rows that the call cost."""
    return f'{{"rows":[{rows_read},{rows_written}],{reply[1:]}'


def split_rows(reply: str) -> tuple[str, tuple[int, int] | None]:
    """Return the reply without its rows, and the rows read and written; None for an object that does not count them."""
    found = _ROWS.match(reply)
    if found is None:
        return reply, None
    return "{" + reply[found.end() :], (int(found.group(1)), int(found.group(2)))


def _error_from(error: Mapping[str, Any]) -> AgentsStoreError:
    code, facts = cast("str", error["code"]), cast("dict[str, Any]", error["facts"])
    known = ERRORS_BY_CODE.get(code)
    if known is None:
        return AgentsStoreError(
            f"the object failed; its log has the cause under id {facts.get('id', code)!r}", outcome_unknown=True
        )
    return known(**facts)


def _join(head: Mapping[str, JsonValue], payload: str) -> str:
    return f"{_encode(head)}\n{payload}" if payload else _encode(head)


def _split(text: str) -> WireMessage:
    first, _, payload = text.partition("\n")
    head: dict[str, Any] = json.loads(first)
    if type(head) is not dict:
        raise InvalidArgumentError("a request's first line must be a JSON object")
    return WireMessage(head, payload)
