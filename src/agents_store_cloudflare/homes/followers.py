"""The followers of a home's sessions. Each gets the newest summary of its session after each commit.

Nothing is stored for them, because the session's row is the news. A commit is read and encoded once for all followers of a session.
A slow follower skips summaries, and never gets an older one. An open socket lets the home sleep.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, LiteralString, Protocol, cast
from urllib.parse import parse_qs, urlsplit

from agents_store_cloudflare.contract.errors import InvalidArgumentError, StateNotFoundError
from agents_store_cloudflare.homes.tables import HomeTables
from agents_store_cloudflare.objects import EventBody, ObjectHost, ObjectSocket
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.objects.rpc_text import encode_reply
from agents_store_cloudflare.streams.body_ends import BodyEnds
from agents_store_cloudflare.streams.changes import Changes
from agents_store_cloudflare.streams.sse import HEADERS, KEEP_ALIVE, sse_frame

__all__ = ["Followers"]

KEEP_ALIVE_MS: Final = 15_000
PATIENCE: Final = 4
"""The number of unread keep-alives after which a follower is closed."""

MAX_WAIT_MS: Final = 60_000
NORMAL_CLOSURE: Final = 1000
POLICY_VIOLATION: Final = 1008
_FOLLOWS: Final = "follows "
"""The beginning of the attachment of a follower's socket. The session id comes after it."""

# ?1 session id -> (version, status, step count, message count, updated at), or no row. Primary key.
_SUMMARY: LiteralString = """
    SELECT version, status, step_count, message_count, updated_at
    FROM __agents_states
    WHERE session_id = ?1
"""

# ?1 session id -> how many sessions of this id were deleted, or no row. Primary key.
_LIVES: LiteralString = """
    SELECT lives
    FROM __agents_fences
    WHERE session_id = ?1
"""


class _Follower(Protocol):
    def show(self, summary: str | None) -> None:
        """Show the newest summary. None means that the session is deleted."""
        ...


class Followers:
    """The followers of one home.

    Args:
        logger: gets the error of a follower, which is then closed.
    """

    def __init__(self, host: ObjectHost, tables: HomeTables, logger: logging.Logger) -> None:
        self._host = host
        self._tables = tables
        self._logger = logger
        self._changes = Changes(host)
        self._ends = BodyEnds(host)
        self._bodies: dict[_EventFollower, str] = {}
        self._sockets: dict[str, list[ObjectSocket]] | None = None
        self._cancel_timer: Callable[[], None] | None = None
        self._watched = 0

    @staticmethod
    def has(socket: ObjectSocket) -> bool:
        """Return whether a socket belongs to a follower."""
        return socket.attachment().startswith(_FOLLOWS)

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a follower: over a WebSocket if the request asks for one, otherwise with Server-Sent Events.

        Raises:
            InvalidArgumentError: the request names no session.
            StateNotFoundError: there is no such session.
        """
        named = parse_qs(urlsplit(request.url).query).get("session")
        if not named:
            raise InvalidArgumentError("the request names no session")
        session_id, summary = named[0], self._existing(named[0])
        if (request.header("Upgrade") or "").lower() == "websocket":
            return HttpResponse(status=101, web_socket=self._socket(session_id, summary))
        body = self._host.event_body()
        follower = _EventFollower(body, self._ends, lambda: self.summary(session_id), self._left)
        self._bodies[follower] = session_id
        body.feed_from(follower)
        if self._cancel_timer is None:
            self._cancel_timer = self._host.call_later(KEEP_ALIVE_MS, self._keep_alive)
        return HttpResponse(status=200, headers=dict(HEADERS), body=body.stream)

    async def watch(self, head: Mapping[str, Any]) -> str:
        """Return the summary of a session as soon as it differs from the one that the caller has, or when the time is up.

        The reply also names the life of the session. A caller that has a summary sends it with the next call.

        Raises:
            StateNotFoundError: there is no such session, or it was deleted meanwhile, even if another one has its id now.
        """
        session_id, known = head["session"], head["known"]
        self._existing(session_id)
        life = self._life(session_id) if head["life"] is None else head["life"]

        def is_news() -> bool:
            return self.summary(session_id) != known or self._life(session_id) != life

        if not is_news():
            self._watched += 1
            try:
                await self._changes.until(is_news, min(head["waitMs"], MAX_WAIT_MS))
            finally:
                self._watched -= 1
        if self._life(session_id) != life:
            raise StateNotFoundError(session_id)
        return encode_reply(life, self._existing(session_id))

    def changed(self) -> None:
        """Show the followers the changes of a batch. Without followers it reads nothing. It never raises."""
        if self._watched:
            self._changes.wake()
        if not self._bodies and not self._by_session():
            return
        followed: dict[str, list[_Follower]] = {}
        for body, session_id in self._bodies.items():
            followed.setdefault(session_id, []).append(body)
        for session_id, sockets in self._by_session().items():
            followed.setdefault(session_id, []).extend(map(_SocketFollower, sockets))
        for session_id, followers in followed.items():
            summary = self.summary(session_id)
            for follower in followers:
                self._show(follower, summary)
            if summary is None:
                self._by_session().pop(session_id, None)

    def summary(self, session_id: str) -> str | None:
        """Return the summary of a session as JSON, or None if there is no such session."""
        rows = self._tables.query(_SUMMARY, session_id)
        if not rows:
            return None
        names = ("version", "status", "stepCount", "messageCount", "updatedAt")
        return json.dumps(
            {"sessionId": session_id, **dict(zip(names, rows[0], strict=True))},
            separators=(",", ":"),
            ensure_ascii=False,
        )

    def message(self, socket: ObjectSocket) -> None:
        """Close the socket of a follower that sends something: every message wakes the home."""
        socket.close(POLICY_VIOLATION, "a follower sends 'ping', nothing else")
        self.closed(socket)

    def closed(self, socket: ObjectSocket) -> None:
        """Forget a socket, and close this side of it."""
        socket.close(NORMAL_CLOSURE, "")
        self._sockets = (
            None  # looks up the open sockets again, because the platform may have another object for this socket now
        )

    def _life(self, session_id: str) -> int:
        rows = self._tables.query(_LIVES, session_id)
        return cast("int", rows[0][0]) if rows else 0

    def _existing(self, session_id: str) -> str:
        summary = self.summary(session_id)
        if summary is None:
            raise StateNotFoundError(session_id)
        return summary

    def _socket(self, session_id: str, summary: str) -> object:
        sockets = self._by_session()
        socket, client = self._host.accept_socket()
        socket.attach(_FOLLOWS + session_id)
        sockets.setdefault(session_id, []).append(socket)
        _SocketFollower(socket).show(summary)
        return client

    def _by_session(self) -> dict[str, list[ObjectSocket]]:
        if self._sockets is None:
            self._sockets = {}
            for socket in self._host.sockets():
                if self.has(socket):
                    self._sockets.setdefault(socket.attachment().removeprefix(_FOLLOWS), []).append(socket)
        return self._sockets

    def _show(self, follower: _Follower, summary: str | None) -> None:
        try:
            follower.show(summary)
        except Exception:
            self._logger.exception("a follower was let go: incident %s", secrets.token_hex(6))
            if isinstance(follower, _EventFollower):
                with suppress(Exception):
                    follower.cancel()

    def _left(self, follower: _EventFollower) -> None:
        self._bodies.pop(follower, None)
        if not self._bodies and self._cancel_timer is not None:
            self._cancel_timer()
            self._cancel_timer = None

    def _keep_alive(self) -> None:
        self._cancel_timer = self._host.call_later(KEEP_ALIVE_MS, self._keep_alive)
        for follower in list(self._bodies):
            follower.keep_alive()


class _EventFollower:
    """A follower over Server-Sent Events, which fills its body with the newest summary when there is room."""

    def __init__(
        self,
        body: EventBody,
        ends: BodyEnds,
        newest: Callable[[], str | None],
        left: Callable[[_EventFollower], None],
    ) -> None:
        self._body = body
        self._ends = ends
        self._newest = newest
        self._left = left
        self._shown: str | None = ""
        self._unread = 0

    def pull(self) -> None:
        """Push the newest summary unless it was pushed, because the body has room."""
        self.show(self._newest())

    def show(self, summary: str | None) -> None:
        if summary == self._shown:
            return
        if summary is None:
            self._body.push(sse_frame("deleted", "{}"))
            self.cancel()
            self._ends.end(self._body)
        else:
            before, self._shown = self._shown, summary  # first, because the platform may pull while it takes the frame
            if not self._body.push(sse_frame("state", summary)):
                self._shown = before

    def cancel(self) -> None:
        """Stop, because the client is gone or nothing follows."""
        self._left(self)

    def keep_alive(self) -> None:
        """Push a comment, so that proxies keep the connection. A client that reads nothing is closed."""
        self._unread = 0 if self._body.has_read() else self._unread + 1
        if self._unread >= PATIENCE:
            self._body.break_off()
            self.cancel()
        else:
            self._body.push(KEEP_ALIVE)


class _SocketFollower:
    """A follower over a WebSocket."""

    def __init__(self, socket: ObjectSocket) -> None:
        self._socket = socket

    def show(self, summary: str | None) -> None:
        if summary is None:
            self._socket.send('{"event":"deleted","data":{}}')
            self._socket.close(NORMAL_CLOSURE, "the session is deleted")
        else:
            self._socket.send(f'{{"event":"state","data":{summary}}}')
