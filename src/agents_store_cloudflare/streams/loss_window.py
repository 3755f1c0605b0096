"""Stores the chunks that an adaptive stream has shown, when its loss window has passed."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from agents_store_cloudflare.objects import ObjectHost
from agents_store_cloudflare.streams.log import StreamLog

__all__ = ["LossWindow"]


class LossWindow:
    """The timer of one stream's object.

    It stores the chunks that the object holds in memory, and runs only while there are such chunks.

    Args:
        stored: called after chunks were stored.
    """

    def __init__(self, host: ObjectHost, logger: logging.Logger, *, stored: Callable[[StreamLog], None]) -> None:
        self._host = host
        self._logger = logger
        self._stored = stored
        self._cancel: Callable[[], None] | None = None

    def store_within(self, log: StreamLog, window_ms: int) -> None:
        """Store the chunks in memory when the window has passed. The timer runs again until no chunk is in memory."""
        if self._cancel is None:
            self._cancel = self._host.call_later(window_ms, lambda: self._store(log, window_ms))

    def _store(self, log: StreamLog, window_ms: int) -> None:
        self._cancel = None
        try:
            log.store_held(now_ms=self._host.now_ms())
            self._stored(log)
        except Exception:
            self._logger.exception("chunks that were shown could not be stored yet: incident %s", secrets.token_hex(6))
        if log.has_held():
            self.store_within(log, window_ms)
