"""The path of a stream. The stream and its forks hold it. The forks still hold it after the stream's deletion."""

from __future__ import annotations

from dataclasses import replace

from agents_store_cloudflare.database import ObjectSql
from agents_store_cloudflare.durable_streams.fork_names import ForkNames
from agents_store_cloudflare.durable_streams.incoming import IncomingPages
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.protocol_state import ForkSource

__all__ = ["StreamPath"]


class StreamPath:
    """The path of one stream: its holders, and the source of the stream.

    Attributes:
        forks: the streams that were forked from this one.
        incoming: the pages of a fork that is being copied to this path.
    """

    def __init__(self, log: StreamLog, sql: ObjectSql) -> None:
        self._log = log
        self.forks: ForkNames = ForkNames(sql)
        self.incoming: IncomingPages = IncomingPages(sql, log.stream_id)

    def is_soft_deleted(self) -> bool:
        """Return whether the stream is deleted and its forks still hold the path."""
        last = self._log.last_known()
        return last is not None and last.is_deleted and self.forks.are_there()

    def check_free(self) -> None:
        """Check that no forks of a deleted stream hold the path.

        Raises:
            Refusal: 409.
        """
        if self.is_soft_deleted():
            raise Refusal(409, "stream_gone", "a deleted stream had this path, and its forks are still there")

    def check_unused(self) -> None:
        """Check that no stream of the path has ever used numbers, because a fork keeps the numbers of its source.

        Raises:
            Refusal: 409.
        """
        self.check_free()
        last = self._log.last_known()
        if last is not None and last.last_sequence > 0:
            raise Refusal(409, "path_used", "a deleted stream has used this path's offsets; fork to a path of its own")

    def release_fork(self, fork_id: str) -> str | None:
        """Forget a fork. Return the new `held_source`: a deleted stream without forks has to tell its source."""
        self.forks.remove(fork_id)
        return self.held_source()

    def source_id(self) -> str | None:
        """Return the source of this fork while the source must keep its path for it."""
        last = self._log.last_known()
        if last is None or last.facts is None or last.facts.source is None:
            return None if self.incoming.latest_ms() is None else self.incoming.origin().source_id
        return last.facts.source.stream_id if not last.is_deleted or self.forks.are_there() else None

    def was_made(self) -> bool:
        """Return whether there ever was a stream at this path."""
        return self._log.last_known() is not None

    def made_by(self, token: str) -> StreamHead | None:
        """Return the head of the fork that this attempt has made, even if the fork was deleted since."""
        last = self._log.last_known()
        source = None if last is None or last.facts is None else last.facts.source
        return last if source is not None and source.token == token else None

    def owed_release(self) -> ForkSource | None:
        """Return the source of a deleted fork until the source has confirmed the message."""
        last = self._log.last_known()
        if last is None or not last.is_deleted or last.facts is None or self.forks.are_there():
            return None
        return last.facts.source

    def released(self) -> None:
        """Note that the source of this deleted fork has confirmed the message."""
        last = self._log.last_known()
        if last is not None and last.is_deleted and last.facts is not None:
            self._log.change_facts(replace(last.facts, source=None))

    def held_source(self) -> str | None:
        """Return the source that must hear that this fork is gone. None while the stream exists or a fork holds it."""
        last = self._log.last_known()
        if last is None or not last.is_deleted or last.facts is None or self.forks.are_there():
            return None
        return None if last.facts.source is None else last.facts.source.stream_id
