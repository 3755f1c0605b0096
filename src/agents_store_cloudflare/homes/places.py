"""Finds the place of a lock or a stream: the home of its name, or an object of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.homes import home_of
from agents_store_cloudflare.homes.wire import APART, ASK_FIRST, ELSEWHERE, FOUND, HERE, UNASKED, WHERE, with_place
from agents_store_cloudflare.objects import KeepsLines, ObjectCallError, ObjectNamespace, with_retry
from agents_store_cloudflare.objects.http_messages import HttpRequest
from agents_store_cloudflare.objects.rpc_text import decode_reply, encode_request

__all__ = ["MOST_NAMES", "HomeParts", "Places"]

MOST_NAMES = 10_000
"""The number of names of each kind that are remembered. When there are more, all are forgotten, and each place is asked for again."""


class _AnswersHttp(Protocol):
    async def fetch(self, name: str, url: str, headers: Mapping[str, str]) -> object: ...

    async def forward(self, name: str, request: HttpRequest, original: object) -> object: ...


class Places:
    """The places of locks and streams that one store knows. A home decides once for both, and keeps its decision for ever.

    Args:
        sessions: the binding of `SessionServer`.
        streams, locks: the bindings of the objects outside homes.
        in_homes: True when a new home gets its lock and its stream.
        asks: True when the caller of a new home first checks whether objects outside homes have the name.
    """

    def __init__(
        self,
        sessions: ObjectNamespace,
        streams: ObjectNamespace,
        locks: ObjectNamespace | None,
        *,
        in_homes: bool,
        asks: bool,
    ) -> None:
        self.sessions: ObjectNamespace = sessions
        self._keeps_lines = sessions if isinstance(sessions, KeepsLines) else None
        self._streams = streams
        self._locks = locks
        self._asked: set[str] = set()
        self._default = (UNASKED if asks else HERE) if in_homes else APART
        self._apart: set[str] = set()

    def may_be_home(self, name: str) -> bool:
        """Return whether a home may have this name."""
        if name in self._apart:
            return False
        try:
            return home_of(name) == name
        except InvalidArgumentError:
            return False

    async def call(self, home: str, request: str, *, is_last: bool = False) -> str | None:
        """Return the home's reply, or None if its lock and stream live in objects of their own.

        Args:
            is_last: no other call to the home follows soon.

        Raises:
            ObjectCallError: no reply came.
        """
        if is_last and self._keeps_lines is not None:
            self._keeps_lines.open_no_line(home)
        place = HERE if home in self._asked else self._default
        while True:
            reply = await self.sessions.call(home, with_place(request, place))
            if reply == ELSEWHERE:
                _remember(self._apart, home)
                return None
            if reply != ASK_FIRST:
                return reply
            place = await self._look(home)
            if place == HERE:
                _remember(self._asked, home)

    async def is_here(self, home: str) -> bool:
        """Return whether the home has its lock and its stream.

        Raises:
            ObjectCallError: no reply came.
        """
        return await self.call(home, encode_request(WHERE, {"home": home})) is not None

    async def _look(self, home: str) -> str:
        """Return whether objects outside homes have a stream or a live lease of this name."""
        info = await _asked(self._streams, home, encode_request("info", {"streamId": home}))
        if info is not None:
            return FOUND
        if self._locks is None:
            return HERE
        return FOUND if await _asked(self._locks, home, encode_request("is_locked", {"key": home})) else HERE


def _remember(names: set[str], name: str) -> None:
    if len(names) >= MOST_NAMES:
        names.clear()
    names.add(name)


async def _asked(namespace: ObjectNamespace, name: str, request: str) -> Any:
    return decode_reply(await with_retry(lambda: namespace.call(name, request))).head["ok"]


class HomeParts(ObjectNamespace, KeepsLines):
    """The streams, or the locks, of a store with homes as one namespace."""

    def __init__(self, places: Places, apart: ObjectNamespace) -> None:
        self._places = places
        self._apart = apart

    async def call(self, name: str, request: str) -> str:
        """Send one text to the object called `name` and return its reply."""
        if self._places.may_be_home(name):
            reply = await self._places.call(name, request)
            if reply is not None:
                return reply
        return await self._apart.call(name, request)

    def hang_up(self, name: str) -> None:
        """Close the line to the object called `name`. The line to a home stays open, because sessions use it too. It ends by itself."""
        if isinstance(self._apart, KeepsLines) and not self._places.may_be_home(name):
            self._apart.hang_up(name)

    def open_no_line(self, name: str) -> None:
        """Do nothing, because writers and readers make many calls."""

    async def fetch(self, name: str, url: str, headers: Mapping[str, str]) -> object:
        """Return the object's answer to an HTTP GET."""
        return await (await self._http(name)).fetch(name, url, headers)

    async def forward(self, name: str, request: HttpRequest, original: object) -> object:
        """Return the object's answer to an HTTP request."""
        return await (await self._http(name)).forward(name, request, original)

    async def _http(self, name: str) -> _AnswersHttp:
        is_home = self._places.may_be_home(name) and await with_retry(lambda: self._places.is_here(name))
        namespace = self._places.sessions if is_home else self._apart
        if not hasattr(namespace, "fetch"):
            raise ObjectCallError("these objects answer no HTTP")
        return cast("_AnswersHttp", namespace)
