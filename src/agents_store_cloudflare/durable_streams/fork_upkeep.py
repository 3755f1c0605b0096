"""Upkeep in the object of a fork: tell the source that the fork is gone, and drop an incomplete copy."""

from __future__ import annotations

import logging
from typing import Final

from agents_store_cloudflare.contract.errors import AgentsStoreError
from agents_store_cloudflare.durable_streams.core import ProtocolLog
from agents_store_cloudflare.durable_streams.incoming import IDLE_MS
from agents_store_cloudflare.durable_streams.operations import PREFIX
from agents_store_cloudflare.objects import ObjectCallError, ObjectHost
from agents_store_cloudflare.objects.rpc_text import decode_reply, encode_request

__all__ = ["ForkUpkeep"]

RELEASE_MS: Final = 60_000
"""The time after which the alarm tells a source that its fork is gone. A deletion over the protocol tells the source at once."""


class ForkUpkeep:
    """The upkeep of one fork. It runs in the alarm of the stream's object."""

    def __init__(self, host: ObjectHost, logger: logging.Logger) -> None:
        self._host = host
        self._logger = logger

    def gone(self, rules: ProtocolLog) -> None:
        """Note that the stream was deleted or has expired. If it was a fork, set an alarm to tell its source."""
        if rules.path.owed_release() is not None:
            self._host.set_alarm(self._host.now_ms() + RELEASE_MS)

    async def alarm(self, rules: ProtocolLog) -> int | None:
        """Do the due work. Return the time of the next alarm in ms, or None if none is needed."""
        copied_ms = rules.path.incoming.latest_ms()
        if copied_ms is not None and self._host.now_ms() < copied_ms + IDLE_MS:
            return copied_ms + IDLE_MS
        if copied_ms is not None:
            origin = rules.path.incoming.origin()
            rules.path.incoming.drop()
            if rules.path.source_id() != origin.source_id:
                await self._release(origin.source_id, origin.fork_id)
        owed = rules.path.owed_release()
        if owed is not None:
            if not await self._release(owed.stream_id, owed.fork_id):
                return self._host.now_ms() + RELEASE_MS
            rules.path.released()
        return None

    async def _release(self, source_id: str | None, fork_id: str) -> bool:
        """Tell a source that its fork is gone, then the sources above it as far as needed. Return whether all of them were told."""
        while source_id is not None:
            arguments = encode_request(PREFIX + "release", {"streamId": source_id, "forkId": fork_id})
            try:
                reply = decode_reply(await self._host.siblings().call(source_id, arguments))
            except (AgentsStoreError, ObjectCallError) as error:
                self._logger.warning("stream %r was not told that its fork %r is gone: %s", source_id, fork_id, error)
                return False
            fork_id, source_id = source_id, reply.head["ok"]["sourceId"]
        return True
