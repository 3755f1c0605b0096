"""The streams that subscriptions cover: the end of each stream, and the position of each subscription in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self, cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.database import ObjectSql
from agents_store_cloudflare.durable_streams.subscriptions import sql as q
from agents_store_cloudflare.durable_streams.subscriptions.config import SubscriptionConfig
from agents_store_cloudflare.durable_streams.subscriptions.globs import matches
from agents_store_cloudflare.durable_streams.subscriptions.records import EXPLICIT, GLOB, Link, Subscription

__all__ = ["CHECKED_AT_ONCE", "LONGEST_UNCHECKED_MS", "SeenStream", "StreamLinks"]

LONGEST_UNCHECKED_MS: Final = 7 * 86_400_000
"""A stream without new chunks for this time is asked whether it still exists."""

REMEMBERED_MS: Final = 3_600_000
"""A stream that is gone is remembered so long, to recognise late news of it. Every caller has given up by then."""

CHECKED_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class SeenStream:
    """The state of a path when a request looked at it: of its stream, or of its next stream if there is none now.

    Attributes:
        due_ms: the time at which the stream expires unless somebody reads or writes it; None if it does not expire.
        life: the number of the stream's life.
        begun: the last sequence before this life; `tail` is never below it.
        is_gone: there is no stream in this life yet.
    """

    path: str
    tail: int
    due_ms: int | None = None
    life: int = 0
    begun: int = 0
    is_gone: bool = False

    @classmethod
    def gone(cls, path: str, *, life: int, begun: int) -> Self:
        """Return the state of a path without a stream, before this life."""
        return cls(path, begun, life=life, begun=begun, is_gone=True)

    def is_older_than(self, known: SeenStream) -> bool:
        """Return whether the index knows a later state."""
        return self.life < known.life or (self.is_gone and self.life == known.life)

    def check_at(self, now_ms: int) -> int:
        """Return the time of the index's next check. It then asks whether the stream still exists, or forgets a stream that is gone."""
        if self.is_gone:
            return now_ms + REMEMBERED_MS
        latest = now_ms + LONGEST_UNCHECKED_MS
        return latest if self.due_ms is None else min(self.due_ms, latest)


class StreamLinks:
    """The rows of streams and links. There is a row for each stream, and a row for each stream of each subscription."""

    def __init__(self, sql: ObjectSql) -> None:
        self._sql = sql

    def links(self, subscription_id: str) -> list[Link]:
        """Return the streams of a subscription, by path."""
        rows = cast("list[tuple[str, int, int, int, int]]", self._sql.exec(q.SELECT_LINKS, subscription_id))
        return [
            Link(path=path, kinds=kinds, acked=acked, tail=tail, begun=begun)
            for path, kinds, acked, tail, begun in rows
        ]

    def note(self, stream: SeenStream, now_ms: int) -> None:
        """Remember the state of a stream, unless a later one is known."""
        check_at, is_gone = stream.check_at(now_ms), int(stream.is_gone)
        self._sql.exec(q.UPSERT_STREAM, stream.path, stream.tail, stream.begun, stream.life, is_gone, check_at)

    def link(self, subscription_id: str, streams: Iterable[SeenStream], now_ms: int) -> None:
        """Add streams by name, from their end on. A stream that is linked already keeps its position."""
        present = {link.path: link for link in self.links(subscription_id)}
        for stream in streams:
            self.note(stream, now_ms)
            known = present.get(stream.path)
            kinds, acked = (EXPLICIT, stream.tail) if known is None else (known.kinds | EXPLICIT, known.acked)
            self._sql.exec(q.UPSERT_LINK, subscription_id, stream.path, kinds, acked)

    def link_pattern(self, subscription_id: str, pattern: str | None) -> None:
        """Add the known streams that match a pattern, from their end on."""
        if pattern is not None:
            for stream in self._all():
                if not stream.is_gone and matches(pattern, stream.path):
                    self._sql.exec(q.UPSERT_LINK, subscription_id, stream.path, GLOB, stream.tail)

    def of_config(self, config: SubscriptionConfig) -> list[Link]:
        """Return the streams, by path, that a new subscription with this configuration would have now."""
        seen, pattern = {stream.path: stream for stream in self._all()}, config.pattern
        living = [path for path, stream in seen.items() if not stream.is_gone]
        matched = {path: GLOB for path in living if pattern is not None and matches(pattern, path)}
        kinds = {**matched, **{path: matched.get(path, 0) | EXPLICIT for path in config.streams}}
        streams = [seen.get(path, SeenStream(path, 0)) for path in sorted(kinds)]
        return [Link(path=s.path, kinds=kinds[s.path], acked=s.tail, tail=s.tail, begun=s.begun) for s in streams]

    def unlink(self, subscription_id: str, path: str) -> None:
        """Remove a stream that was added by name. A link by the pattern stays."""
        for link in self.links(subscription_id):
            if link.path == path and link.kinds == EXPLICIT:
                self._sql.exec(q.DELETE_LINK, subscription_id, path)
            elif link.path == path and link.kinds & EXPLICIT:
                self._sql.exec(q.UPSERT_LINK, subscription_id, path, GLOB, link.acked)

    def unlink_all(self, subscription_id: str) -> None:
        """Remove every stream of a subscription."""
        self._sql.exec(q.DELETE_LINKS, subscription_id)

    def gone(self, stream: SeenStream, subscriptions: Iterable[Subscription], now_ms: int) -> None:
        """Forget a stream that is gone. A subscription that names it waits for a new stream at this path."""
        path = stream.path
        self.note(stream, now_ms)
        for each in subscriptions:
            if each.config.pattern is not None and matches(each.config.pattern, path):
                self._sql.exec(q.DELETE_PATTERN_LINK, each.id, path)
                self._sql.exec(q.UPDATE_LINK_KINDS, each.id, path, EXPLICIT)

    def names(self, subscription: Subscription, path: str) -> bool:
        """Return whether a stream at this path belongs to the subscription, or would belong to it."""
        is_matched = subscription.config.pattern is not None and matches(subscription.config.pattern, path)
        return is_matched or bool(self._sql.exec(q.SELECT_LINK, subscription.id, path))

    def covers(self, subscription: Subscription, path: str, before: int) -> bool:
        """Return whether a subscription covers a stream. If its pattern matches a new stream, the link begins at `before`."""
        if self._sql.exec(q.SELECT_LINK, subscription.id, path):
            return True
        if subscription.config.pattern is None or not matches(subscription.config.pattern, path):
            return False
        self._sql.exec(q.UPSERT_LINK, subscription.id, path, GLOB, before)
        return True

    def has_pending(self, subscription_id: str) -> bool:
        """Return whether a stream of the subscription has grown since the last acknowledgement."""
        return bool(self._sql.exec(q.SELECT_PENDING, subscription_id))

    def move(self, subscription: Subscription, acks: Iterable[tuple[str, int]]) -> None:
        """Acknowledge each stream up to its sequence. A position never moves back.

        A stream of the pattern that was deleted since the wake has no position. Its acknowledgement has no effect, and the others have
        theirs.

        Raises:
            InvalidArgumentError: a stream does not belong to the subscription, or the sequence is past its end.
        """
        links = {link.path: link for link in self.links(subscription.id)}
        for path, sequence in acks:
            link = links.get(path)
            if link is None:
                if not self.names(subscription, path):
                    raise InvalidArgumentError(f"{path!r} is not among the subscription's streams")
                continue
            if sequence > link.tail:
                raise InvalidArgumentError(f"the offset is past the end of {path!r}")
            if sequence > link.acked:
                self._sql.exec(q.UPSERT_LINK, subscription.id, path, link.kinds, sequence)

    def known(self, path: str) -> SeenStream | None:
        """Return the state of a path that the index knows; None if it does not know the path."""
        rows = cast("list[tuple[int, int, int, int]]", self._sql.exec(q.SELECT_STREAM, path))
        for tail, begun, life, is_gone in rows:
            return SeenStream(path, tail, life=life, begun=begun, is_gone=bool(is_gone))
        return None

    def note_telling(self, path: str, *, is_telling: bool) -> None:
        """Note whether a stream's object reports its changes by itself."""
        self._sql.exec(q.UPDATE_TELLING, path, int(is_telling))

    def silent(self) -> list[str]:
        """Return a few covered streams whose objects still have to be asked to report changes."""
        return [path for [path] in cast("list[list[str]]", self._sql.exec(q.SELECT_SILENT, CHECKED_AT_ONCE))]

    def unchecked(self, now_ms: int) -> list[str]:
        """Return a few streams that have to be asked whether they still exist."""
        rows = cast("list[list[str]]", self._sql.exec(q.SELECT_UNCHECKED, now_ms, CHECKED_AT_ONCE))
        return [path for [path] in rows]

    def checked(self, stream: SeenStream, now_ms: int) -> None:
        """Note that a stream was asked whether it still exists."""
        self._sql.exec(q.UPDATE_CHECK, stream.path, stream.check_at(now_ms))

    def forget_gone(self, now_ms: int) -> None:
        """Forget the streams that are gone for long."""
        self._sql.exec(q.DELETE_GONE, now_ms)

    def _all(self) -> list[SeenStream]:
        rows = cast("list[tuple[str, int, int, int, int]]", self._sql.exec(q.SELECT_STREAMS))
        return [SeenStream(path, tail, None, life, begun, bool(is_gone)) for path, tail, begun, life, is_gone in rows]
