"""A D1 database over Cloudflare's HTTP API, as a `Database`."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.database import MAX_VALUE_BYTES, Row, SqlError, SqlValue, Statement

__all__ = ["API_URL", "RemoteDatabase"]

API_URL = "https://api.cloudflare.com/client/v4"
TIMEOUT_S = 60.0
"""The limit of one read of the connection. D1 itself ends a query after 30 s."""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)
_TOKEN = re.compile(r"[!-~]+", re.ASCII)
_WORTH_ANOTHER_TRY = frozenset({408, 429})
_HINTS: Mapping[int, str] = {
    401: "; is CLOUDFLARE_API_TOKEN a valid token?",
    403: "; the token needs the permission D1 of this account: Read, and Edit for migrate",
    404: "; `npx wrangler d1 list` gives the ids of the account's databases",
    429: "; the API takes 1,200 requests in five minutes: wait a while",
}


class _RemoteSqlError(SqlError):
    """An error of the API, or no answer from it. The HTTP status shows whether a retry may help."""

    def __init__(self, message: str, *, transient: bool, outcome_unknown: bool) -> None:
        super().__init__(message)
        self.transient = transient
        self.outcome_unknown = outcome_unknown


class _NoRedirects(HTTPRedirectHandler):
    """Follows no redirect, so that the token goes only to the given address."""

    def redirect_request(  # noqa: PLR0917
        self,
        req: Request,  # noqa: ARG002 - urllib passes all of these
        fp: IO[bytes],  # noqa: ARG002
        code: int,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        headers: HTTPMessage,  # noqa: ARG002
        newurl: str,  # noqa: ARG002
    ) -> None:
        """Follow no redirect: the answer counts as an error."""
        return


class RemoteDatabase:
    """A `Database` over `POST /accounts/{account}/d1/database/{database}/raw`: one request, one transaction.

    The token is sent only to `base_url`. Redirects are errors, and every address except this machine's must be https. No message
    contains the token.

    Args:
        base_url: the address of the API, without a slash at the end.
        timeout_s: the most seconds that one read of the connection may take.

    Raises:
        InvalidArgumentError: an id, the token or the address is malformed.
    """

    def __init__(
        self, account_id: str, database_id: str, token: str, *, base_url: str = API_URL, timeout_s: float = TIMEOUT_S
    ) -> None:
        for name, value in (("account id", account_id), ("database id", database_id)):
            if not _ID.fullmatch(value):
                raise InvalidArgumentError(f"the {name} must be letters, digits and hyphens")
        if not _TOKEN.fullmatch(token):
            raise InvalidArgumentError("the token holds characters that no token has; nothing was sent")
        self._url = f"{base_url}/accounts/{account_id}/d1/database/{database_id}/raw"
        self._token = token
        self._timeout_s = timeout_s
        self._opener = _opener_for(base_url)

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run the statements as one transaction and return the rows of each. urllib blocks, so it runs in a thread."""
        body = {"batch": [{"sql": _compact(each.sql), "params": [*map(_sent, each.parameters)]} for each in statements]}
        reply = await asyncio.to_thread(self._post, json.dumps(body, ensure_ascii=False).encode())
        return [_rows(result) for result in self._results(reply, len(statements))]

    def _post(self, body: bytes) -> bytes:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = Request(self._url, body, headers, method="POST")  # noqa: S310 - the scheme was checked
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                return cast("bytes", response.read())
        except HTTPError as answer:
            with answer:
                raise self._refusal(answer.code, _body_of(answer)) from None
        except (OSError, HTTPException) as error:
            raise self._unheard(error) from None

    def _results(self, reply: bytes, expected: int) -> list[Mapping[str, Any]]:
        body = _document(reply)
        if body.get("success") is not True:
            raise self._refusal(200, reply)
        results = body.get("result")
        if not isinstance(results, list) or len(cast("list[object]", results)) != expected:
            raise self._error(
                f"the API's reply does not have the results of {expected} statements", outcome_unknown=True
            )
        for result in cast("list[Mapping[str, Any]]", results):
            if result.get("success") is not True:
                raise self._error("the API says that a statement failed, but not why", outcome_unknown=True)
        return cast("list[Mapping[str, Any]]", results)

    def _refusal(self, status: int, reply: bytes) -> SqlError:
        words = _words(_document(reply))
        # The API leaves out the constraint, but the database's own text names it.
        if "UNIQUE constraint failed" in words and "SQLITE_CONSTRAINT_" not in words:
            words += " (extended: SQLITE_CONSTRAINT_UNIQUE)"
        plain = SqlError(words)
        broken = status >= 500
        refused = 300 <= status < 500 and status != 408
        return self._error(
            f"D1 over HTTP answered {status}: {words or 'without a message'}{_HINTS.get(status, '')}",
            transient=plain.transient or ((broken or status in _WORTH_ANOTHER_TRY) and "SQLITE_" not in words),
            outcome_unknown=plain.outcome_unknown and (plain.transient or not refused),
        )

    def _unheard(self, error: Exception) -> SqlError:
        reason = error.reason if isinstance(error, URLError) else error
        never_sent = isinstance(reason, ssl.SSLCertVerificationError | ConnectionRefusedError)
        return self._error(
            f"Network connection lost: D1 over HTTP could not be reached: {reason or type(reason).__name__}",
            transient=not isinstance(reason, ssl.SSLCertVerificationError),
            outcome_unknown=not never_sent,
        )

    def _error(self, message: str, *, transient: bool = False, outcome_unknown: bool) -> SqlError:
        hidden = message.replace(self._token, "(the token)")
        return _RemoteSqlError(hidden, transient=transient, outcome_unknown=outcome_unknown)


def _opener_for(base_url: str) -> OpenerDirector:
    parts = urlsplit(base_url)
    local = parts.hostname in _LOOPBACK
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise InvalidArgumentError("the address of the API must be https: the token travels with every request")
    # An address of this machine needs no proxy.
    return build_opener(_NoRedirects, *([ProxyHandler({})] if local else []))


def _compact(sql: str) -> str:
    return "\n".join(map(str.strip, sql.split("\n"))).strip()


def _sent(value: SqlValue) -> SqlValue:
    if isinstance(value, str):
        if (size_bytes := len(value.encode())) > MAX_VALUE_BYTES:
            raise SqlError(f"string or blob too big: {size_bytes:,} bytes: SQLITE_TOOBIG")
    elif value is not None and abs(value) > MAX_SAFE_INTEGER:
        raise SqlError(f"{value} would change on its way through JavaScript; pass it as text: SQLITE_MISMATCH")
    return int(value) if isinstance(value, bool) else value


def _rows(result: Mapping[str, Any]) -> list[Row]:
    rows = cast("list[Row]", result["results"]["rows"])
    return [[int(value) if isinstance(value, float) and value.is_integer() else value for value in row] for row in rows]


def _body_of(answer: HTTPError) -> bytes:
    try:
        return answer.read()
    except (OSError, HTTPException):
        return b""


def _document(reply: bytes) -> Mapping[str, Any]:
    """Return the reply's JSON object; an empty one if the reply is something else, such as a proxy's page."""
    try:
        body = json.loads(reply)
    except ValueError:
        return {}
    return cast("Mapping[str, Any]", body) if isinstance(body, dict) else {}


def _words(body: Mapping[str, Any]) -> str:
    errors = cast("list[object]", body.get("errors")) if isinstance(body.get("errors"), list) else []
    said = [cast("Mapping[str, object]", each) for each in errors if isinstance(each, Mapping)]
    return "; ".join(f"{each.get('message')} (code {each.get('code')})" for each in said)
