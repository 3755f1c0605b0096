"""`OperatorConsole`: the pages of the console below one path of a Worker."""

from __future__ import annotations

import inspect
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, TypeAlias

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.cloudflare.http import http_request, js_response
from agents_store_cloudflare.console.acting import ForbiddenError, act_of, confirmation, performed
from agents_store_cloudflare.console.acts import Act
from agents_store_cloudflare.console.asking import Asked, Shown, asked_of, page_of
from agents_store_cloudflare.console.assets import asset
from agents_store_cloudflare.console.html import document, element as h
from agents_store_cloudflare.console.layout import whole_page
from agents_store_cloudflare.console.pages import FILES, PAGES
from agents_store_cloudflare.console.sources import Sources
from agents_store_cloudflare.contract.errors import AgentsStoreError
from agents_store_cloudflare.database import Database, SqlError
from agents_store_cloudflare.gateway.routes import check_prefix, is_below
from agents_store_cloudflare.metering.meter import Meter
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.store import CloudflareStore

__all__ = ["Action", "AuthorizeConsole", "OperatorConsole"]

Action: TypeAlias = Literal["read", "act"]
"""The purpose of a request to the console: "read" to look, "act" to change something."""

AuthorizeConsole: TypeAlias = Callable[[Any, Action], "bool | Awaitable[bool]"]
"""`authorize(request, action)`, sync or async. It gets the same request object as `handle`."""

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

_HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # without a referrer the Origin of a form would be "null"
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_NOT_KEPT: Final = {"cache-control": "no-store"}


class PageNotFoundError(AgentsStoreError):
    """The console has no such page."""

    code = "not_found"
    http_status = 404


class MethodNotAllowedError(AgentsStoreError):
    """The page does not allow this method."""

    code = "method_not_allowed"
    http_status = 405


class OperatorConsole:
    """Shows sessions, usage and budgets to operators below its prefix, and lets them change sessions.

    The pages work without JavaScript and load nothing from other servers. Make one console for each request, like the store.

    Example:
        >>> console = OperatorConsole(store, authorize=may_operate)
        >>> if (answer := await console.handle(request)) is not None:
        ...     return answer

    Args:
        store: the request's store. On the host it may be a database alone. Then pages and acts that need a Durable Object are not
            offered.
        authorize: `authorize(request, action)`, sync or async. It gets the same request object as `handle`, and `read` or `act`.
            Only `True` admits. An exception is logged and denies.
        prefix: the path below which it answers.
        logger: gets acts and failures; `agents_store_cloudflare.console` by default.

    Raises:
        TypeError: `store` or `authorize` has a wrong type.
        InvalidArgumentError: the prefix is not a path.
    """

    def __init__(
        self,
        store: CloudflareStore | Database,
        *,
        authorize: AuthorizeConsole,
        prefix: str = "/console",
        logger: logging.Logger | None = None,
    ) -> None:
        if not callable(authorize):
            raise TypeError("authorize must be callable: authorize(request, action) -> bool")
        self._sources = (
            Sources.of_store(store) if isinstance(store, CloudflareStore) else Sources.of_database(as_database(store))
        )
        self._authorize = authorize
        self._prefix = check_prefix(prefix)
        self._logger = logger or logging.getLogger("agents_store_cloudflare.console")

    async def handle(self, request: object) -> Any:
        """Return the answer to a request below the prefix, or None for any other request.

        Args:
            request: the argument of the Worker's `fetch`, raw or as the SDK wraps it, or an `HttpRequest`.

        Returns:
            A raw JavaScript `Response`, or an `HttpResponse` if the request is an `HttpRequest`.

        Raises:
            TypeError: the argument is no request. Every other failure becomes an error page.

        Cost: 0-7 D1 batches (0-25 rows read), 0-3 object calls (0-22 rows read).
        """
        value = http_request(request)
        if not is_below(value.url, self._prefix):
            return None
        answer = await self._answer(value, request)
        if not isinstance(answer, HttpResponse):
            return answer
        answer = answer.with_headers({**_NOT_KEPT, **_HEADERS, **answer.headers})
        if value.method == "HEAD":
            answer = answer.without_body()
        return answer if request is value else js_response(answer)

    async def _answer(self, value: HttpRequest, request: object) -> object:
        is_api = page_of(value.url, self._prefix)[1]
        try:
            return await self._dispatched(value, request)
        except AgentsStoreError as error:
            return HttpResponse.of_error(error) if is_api else _failed(error.http_status, error.code, str(error))
        except SqlError as error:
            message = f"the database did not answer: {error}"
            return HttpResponse.refusal(503, "database", message) if is_api else _failed(503, "database", message)
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes an answer
            answer = HttpResponse.of_failure(error, self._logger)
            if is_api:
                return answer
            said = json.loads(str(answer.body))["error"]
            return _failed(500, said["code"], said["message"])

    async def _dispatched(self, value: HttpRequest, request: object) -> object:
        is_post = value.method == "POST"
        if not is_post and value.method not in ("GET", "HEAD"):
            raise MethodNotAllowedError("pages are read with GET; forms of acts are sent with POST")
        asked = asked_of(value, self._prefix, self._sources)
        found = act_of(asked)
        if is_post and found is None:
            raise MethodNotAllowedError("this page is read with GET")
        action: Action = "read" if found is None else "act"
        if not await self._admits(request, action):
            raise ForbiddenError(f"this request may not {action} here")
        if found is not None:
            return await self._act(asked, request, *found)
        return await self._read(asked)

    async def _read(self, asked: Asked) -> object:
        if asked.page.startswith("assets/") and (file := asset(asked.page.removeprefix("assets/"))) is not None:
            return file
        if (answer := FILES.get(f"api/{asked.page}" if asked.is_api else asked.page)) is not None:
            return await answer(asked)
        page = PAGES.get("" if asked.is_api and asked.page == "sessions" else asked.page)
        if page is None:
            raise PageNotFoundError("there is no such page")
        with self._sources.meter() as meter:
            shown = await page(asked)
        return _answer(asked, shown, meter)

    async def _act(self, asked: Asked, request: object, name: str, act: Act) -> object:
        with self._sources.meter() as meter:
            if asked.request.method != "POST":
                shown = await confirmation(asked, name, act)
            else:
                done = await performed(asked, request, name, act, self._logger)
                if isinstance(done, HttpResponse):
                    return done
                shown = done
        return _answer(asked, shown, meter)

    async def _admits(self, request: object, action: Action) -> bool:
        try:
            answer: object = self._authorize(request, action)
            if inspect.isawaitable(answer):
                answer = await answer
        except Exception:
            self._logger.exception("authorize failed, so the request is denied: incident %s", secrets.token_hex(6))
            return False
        return answer is True


def _answer(asked: Asked, shown: Shown, meter: Meter) -> HttpResponse:
    return _as_json(shown, meter) if asked.is_api else _as_html(asked, shown, meter)


def _as_html(asked: Asked, shown: Shown, meter: Meter) -> HttpResponse:
    headers = {"content-type": "text/html; charset=utf-8", **shown.headers}
    return HttpResponse(status=shown.status, headers=headers, body=whole_page(asked, shown, meter.cost()))


def _as_json(shown: Shown, meter: Meter) -> HttpResponse:
    body = {"data": shown.data, "cost": meter.cost().to_dict()}
    return HttpResponse.of_json(json.dumps(body, ensure_ascii=False), status=shown.status, headers=shown.headers)


def _failed(status: int, code: str, message: str) -> HttpResponse:
    """Return a page that shows only the error, because its reader may not be an operator."""
    head = h("head", h("meta", charset="utf-8"), h("title", f"{status}"))
    body = h("body", h("main", h("h1", f"{status}"), h("p", message), h("p", h("code", code))))
    return HttpResponse(
        status=status,
        headers={"content-type": "text/html; charset=utf-8"},
        body=document(head, body),
    )
