"""Shows sessions that live in homes over HTTP, as they change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol, cast
from urllib.parse import quote, unquote, urlsplit

from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import D1StateError, InvalidArgumentError
from agents_store_cloudflare.contract.homes import home_of
from agents_store_cloudflare.gateway.faces import Admits
from agents_store_cloudflare.gateway.routes import check_prefix
from agents_store_cloudflare.objects import ObjectCallError, with_retry
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.objects.wiring import FOLLOW_PATH

__all__ = ["SessionStates"]

METHODS: Final = "GET, OPTIONS"


class _AnswersHttp(Protocol):
    async def fetch(self, name: str, url: str, headers: Mapping[str, str]) -> object: ...


class SessionStates:
    """A face of `StreamGateway` that shows people the newest summary of a session after each commit.

    ```text
    GET {prefix}/{session id}/state    Server-Sent Events `state` and `deleted`; a WebSocket if the request asks for one
    ```

    The data of `state` is a `SessionSummary` as JSON. The first one comes at once. A follower that is slow skips summaries, and never
    gets an older one. `authorize` is asked for the action `follow` with the session id; a signed URL needs
    `signer.sign(session_id, "follow")`. Sessions in D1 cannot be followed.

    Example:
        >>> states = SessionStates(env.SESSIONS)
        >>> gateway = StreamGateway(store.stream_namespace, authorize=may, faces=[states])

    Args:
        sessions: the binding of `SessionServer`, raw or as the SDK wraps it, or `LocalObjects` in tests.
        prefix: the path of all sessions' states.
        sleep: waits between attempts.
    """

    def __init__(
        self,
        sessions: object,
        *,
        prefix: str = "/sessions",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._sessions = as_namespace(sessions)
        self._prefix = check_prefix(prefix)
        self._sleep = sleep

    @property
    def prefix(self) -> str:
        """The path of all sessions' states."""
        return self._prefix

    @property
    def methods(self) -> str:
        """The methods that preflights allow."""
        return METHODS

    def path(self, session_id: str) -> str:
        """Return the path of a session's state."""
        return f"{self._prefix}/{quote(check_id(session_id, 'session_id'), safe='')}/state"

    async def answer(self, request: HttpRequest, original: object, admits: Admits) -> object:
        """Return the answer to a request below the prefix.

        Raises:
            InvalidArgumentError: the session id in the path breaks the rules for ids.
            D1StateError: the home gave no answer.
        """
        del original  # a GET has no body
        session_id = self._session_of(request)
        if session_id is None:
            return HttpResponse.refusal(404, "not_found", f"there is nothing at this path, only {self._prefix}/…/state")
        if request.method != "GET":
            return HttpResponse.refusal(
                405, "method_not_allowed", "a session is followed with GET", headers={"allow": METHODS}
            )
        if not await admits(session_id, "follow"):
            return HttpResponse.refusal(403, "forbidden", "this request may not follow this session")
        return await self._followed(session_id, request)

    def _session_of(self, request: HttpRequest) -> str | None:
        match urlsplit(request.url).path[len(self._prefix) + 1 :].split("/"):
            case [segment, "state"] if segment:
                try:
                    return check_id(unquote(segment, errors="strict"), "session_id")
                except UnicodeDecodeError:
                    raise InvalidArgumentError("the session id in the path is not UTF-8") from None
            case _:
                return None

    async def _followed(self, session_id: str, request: HttpRequest) -> object:
        if not hasattr(self._sessions, "fetch"):
            raise InvalidArgumentError("SessionStates needs the binding of SessionServer (or LocalObjects)")
        namespace, home = cast("_AnswersHttp", self._sessions), home_of(session_id)
        url = f"https://home.invalid{FOLLOW_PATH}?session={quote(session_id, safe='')}"
        upgrade = request.header("Upgrade")
        headers = {} if upgrade is None else {"Upgrade": upgrade}
        try:
            return await with_retry(lambda: namespace.fetch(home, url, headers), sleep=self._sleep)
        except ObjectCallError as error:
            raise D1StateError(f"home {home!r} gave no answer ({error})", outcome_unknown=True) from error
