"""The live listeners of a stream. New chunks are pushed to listeners that are caught up; the others get pages from the log.

An append is encoded once for each wire (Server-Sent Events, WebSocket) and pushed once to each listener. No listener has a
coroutine, a future or a timer of its own. A full sink takes nothing: its listener is then behind, and gets the log page by page
when the sink asks (`pull`). So a slow listener delays nobody and needs little memory. When a listener fails, it alone is closed,
and its client comes back with the position that it has.

Sockets outlive the object's memory. An object that has slept looks up its sockets and their places before it pushes anything.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from typing import Final

from agents_store_cloudflare.objects import ObjectHost, ObjectSocket
from agents_store_cloudflare.streams.frames import FramePage, FrameWriter, chunk_pages, outcome_frame
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.native_view import native_texts
from agents_store_cloudflare.streams.socket_sink import SocketSink, socket_frame
from agents_store_cloudflare.streams.sse import sse_frame
from agents_store_cloudflare.streams.subscription import FrameSink, Place, Subscription

__all__ = ["Audience"]

KEEP_ALIVE_MS: Final = 15_000
POLICY_VIOLATION: Final = 1008
UNKNOWN_SOCKET: Final = 1012
"""The close code "service restart": the client comes back with the position that it has."""


class Audience:
    """The live listeners of one stream. Calls that push to listeners never raise."""

    def __init__(self, host: ObjectHost, logger: logging.Logger, log_of: Callable[[str], StreamLog]) -> None:
        self._host = host
        self._logger = logger
        self._log_of = log_of
        self._listeners: set[Subscription] = set()
        self._sockets: dict[str, Subscription] | None = None
        self._cancel_timer: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._listeners) + len(self._by_socket())

    def add(self, log: StreamLog, place: Place, sink: FrameSink, write: FrameWriter = sse_frame) -> Subscription:
        """Add a listener over Server-Sent Events at `place`. It is behind until its first `pull`."""
        listener = Subscription(self, log, sink, write, place)
        self._listeners.add(listener)
        if self._cancel_timer is None:
            self._cancel_timer = self._host.call_later(KEEP_ALIVE_MS, self._keep_alive)
        return listener

    def add_socket(self, stream_id: str, place: Place) -> object:
        """Add a listener on a new socket at `place`, and send it the chunks after `place` at once.

        Returns:
            The client's end.
        """
        # This stands before the accept of the new socket: an object that has slept looks up its sockets here, and the new socket
        # has no listener yet.
        sockets = self._by_socket()
        socket, client = self._host.accept_socket()
        listener = self._socket_listener(SocketSink.fresh(socket, stream_id, place), sockets)
        listener.remember()
        listener.pull_all()
        return client

    def acknowledged(self, socket: ObjectSocket) -> None:
        """Note the acknowledgement of a client, and send it more."""
        listener = self._listener_of(socket)
        if listener is None:
            socket.close(UNKNOWN_SOCKET, "not listening any more; connect again")
            return
        sink = listener.sink
        if not isinstance(sink, SocketSink):
            return
        if sink.acknowledge():
            listener.remember()
            listener.pull_all()
        elif sink.is_pestering():
            listener.cancel()
            socket.close(POLICY_VIOLATION, "send an ack only when you are asked for it")
        else:
            listener.remember()

    def left(self, socket: ObjectSocket) -> None:
        """Forget the listener of a socket that is closed."""
        listener = self._listener_of(socket)
        if listener is not None:
            listener.cancel()

    def remove(self, listener: Subscription) -> None:
        """Forget a listener. The timer ends with the last listener who needs it, so that the object may sleep."""
        self._listeners.discard(listener)
        if isinstance(listener.sink, SocketSink):
            self._by_socket().pop(listener.sink.key, None)
        if not self._listeners and self._cancel_timer is not None:
            self._cancel_timer()
            self._cancel_timer = None

    def has_expired(self, listener: Subscription, until_ms: int) -> bool:
        """Return whether this time is over. If so, end the listener, which gets no more frames.

        A socket has no timer for this, so that its object may sleep: it is closed in place of the next frame.
        """
        if self._host.now_ms() < until_ms:
            return False
        self.remove(listener)
        sink = listener.sink
        sink.refuse() if isinstance(sink, SocketSink) else sink.close()
        return True

    def appended(self, head: StreamHead, first_sequence: int, lines: str) -> None:
        """Push new chunks (JSON texts joined by newlines) to every listener that is caught up."""
        by_wire: dict[FrameWriter, list[Subscription]] = {}
        for listener in self._live():
            by_wire.setdefault(listener.write, []).append(listener)
        for write, listeners in by_wire.items():
            self._push(
                chunk_pages(write, first_sequence, native_texts(head.facts, lines)), listeners, head.last_sequence
            )

    @staticmethod
    def _push(pages: Iterable[FramePage], listeners: list[Subscription], last_sequence: int) -> None:
        """Push pages of new chunks, made one at a time, to all listeners of a wire; stop when none has room."""
        for page in pages:
            for listener in listeners:
                listener.offer(page, is_last=page.last_sequence == last_sequence)
            listeners = [each for each in listeners if each.sequence == page.last_sequence]
            if not listeners:
                return

    def closed(self, head: StreamHead) -> None:
        """Tell every listener that is caught up how the stream ended."""
        for listener in self._live():
            listener.finish(outcome_frame(listener.write, head), head.last_sequence)

    def reset(self) -> None:
        """Tell every listener that is caught up that the stream begins anew. The others learn it at their next pull."""
        for listener in self._live():
            listener.begin_anew()

    def gone(self) -> None:
        """Close all listeners: the stream is deleted."""
        for listener in [*self._listeners, *self._by_socket().values()]:
            listener.leave()

    @contextmanager
    def serving(self, listener: Subscription, sink: FrameSink) -> Generator[None, None, None]:
        """Run a step for one listener. A failure is logged and ends this listener alone."""
        try:
            yield
        except Exception:
            self._logger.exception("a listener was disconnected: incident %s", secrets.token_hex(6))
            self.remove(listener)
            with suppress(Exception):
                sink.close()

    def _keep_alive(self) -> None:
        self._cancel_timer = self._host.call_later(KEEP_ALIVE_MS, self._keep_alive)
        for listener in list(self._listeners):
            listener.keep_alive()

    def _live(self) -> list[Subscription]:
        return [listener for listener in (*self._listeners, *self._by_socket().values()) if listener.is_live]

    def _listener_of(self, socket: ObjectSocket) -> Subscription | None:
        try:
            key = SocketSink.restored(socket).key
        except (ValueError, KeyError, TypeError):
            return None
        return self._by_socket().get(key)

    def _by_socket(self) -> dict[str, Subscription]:
        if self._sockets is None:
            self._sockets = {}
            for socket in self._host.sockets():
                self._restore(socket, self._sockets)
        return self._sockets

    def _restore(self, socket: ObjectSocket, sockets: dict[str, Subscription]) -> None:
        try:
            sink = SocketSink.restored(socket)
        except (ValueError, KeyError, TypeError):
            # Another version of this code has written the attachment. The client comes back with its position.
            socket.close(UNKNOWN_SOCKET, "the service has changed; connect again")
        else:
            self._socket_listener(sink, sockets)

    def _socket_listener(self, sink: SocketSink, sockets: dict[str, Subscription]) -> Subscription:
        listener = Subscription(self, self._log_of(sink.stream_id), sink, socket_frame, sink.place)
        sockets[sink.key] = listener
        return listener
