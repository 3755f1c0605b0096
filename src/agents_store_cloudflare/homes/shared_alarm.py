"""One alarm for all parts of a home: its sessions and its stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agents_store_cloudflare.database import ObjectSql
from agents_store_cloudflare.objects import EventBody, ObjectHost, ObjectNamespace, ObjectSocket, Outbound

__all__ = ["SharedAlarm", "SharedHost"]


class SharedAlarm:
    """The alarm of one object. It rings at the earliest time that a part has asked for. Then every part does its due work.

    The parts' times are not stored. When a part sets the alarm in an object that has slept, the object first asks each part for its
    time. So a late time of one part never delays another part.

    Args:
        waits: one function for each part. It returns the time in ms at which the part needs the alarm, or None.
    """

    def __init__(self, host: ObjectHost) -> None:
        self._host = host
        self._at_ms: int | None = None
        self._set_at_ms = 0
        self._is_known = False
        self._soon_ms: int | None = None
        self.waits: Sequence[Callable[[], int | None]] = ()

    def set(self, at_ms: int) -> None:
        """Let the alarm ring at this time at the latest."""
        if not self._is_known:
            self._is_known = True
            at_ms = min([at_ms, *self._due()])
        if self._soon_ms is not None:  # so a later time, of another part, costs no setting of its own
            at_ms, self._soon_ms = min(at_ms, self._soon_ms), None
        if self._at_ms is None or at_ms < self._at_ms:
            self._at_ms, self._set_at_ms = at_ms, self._host.now_ms()
            self._host.set_alarm(at_ms)

    def check(self) -> None:
        """Set the alarm anew if the clock was set back since it was set. Otherwise it would ring that much too late."""
        if self._at_ms is not None and self._host.now_ms() < self._set_at_ms:
            self._at_ms = None
            for at_ms in self._due():
                self.set(at_ms)

    def _due(self) -> list[int]:
        return [due for waits in self.waits if (due := waits()) is not None]

    def begins(self, due_ms: int | None) -> None:
        """Note that the object is new. So no part waits, but a part will soon ask for the alarm at `due_ms`, if that is given."""
        self._is_known = True
        self._soon_ms = due_ms

    def rang(self) -> None:
        """Forget the alarm that has rung. The parts set it again."""
        self._is_known = True
        self._at_ms = self._soon_ms = None


class SharedHost:
    """The platform for one part of an object. It is the object's platform, but the alarm is shared with other parts."""

    def __init__(
        self, host: ObjectHost, alarm: SharedAlarm, *, owns: Callable[[ObjectSocket], bool] = lambda _: True
    ) -> None:
        self._host = host
        self._alarm = alarm
        self._owns = owns

    @property
    def sql(self) -> ObjectSql:
        """The object's own database."""
        return self._host.sql

    def now_ms(self) -> int:
        """Return the time of the object's clock, in milliseconds since 1970."""
        return self._host.now_ms()

    def set_alarm(self, at_ms: int | None) -> None:
        """Wake the part at this time. None does nothing: a part cannot take the alarm away, because others may wait for it."""
        if at_ms is not None:
            self._alarm.set(at_ms)

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call a function once after a delay, and return a function that cancels the call."""
        return self._host.call_later(delay_ms, callback)

    def siblings(self) -> ObjectNamespace:
        """Return the object's namespace, for calls to its siblings."""
        return self._host.siblings()

    def outbound(self) -> Outbound:
        """Return the way to other servers."""
        return self._host.outbound()

    def event_body(self) -> EventBody:
        """Return a new response body. The object cannot hibernate while it is open."""
        return self._host.event_body()

    def accept_socket(self) -> tuple[ObjectSocket, object]:
        """Make a WebSocket that lets the object hibernate, and return the server's end and the client's end."""
        return self._host.accept_socket()

    def sockets(self) -> Sequence[ObjectSocket]:
        """Return the open WebSockets of the object."""
        return [socket for socket in self._host.sockets() if self._owns(socket)]
