"""Idempotent producers: the stored requests of each producer, read from the stream's blocks."""

from __future__ import annotations

from typing import Final

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.requests import Producer
from agents_store_cloudflare.streams.head import Flushes
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.protocol_state import ProtocolState

__all__ = ["Producers"]

PREFIX: Final = "producer "


class Producers:
    """The producers of a stream's current life. A block names its producer as `producer {life} {epoch} {id}`."""

    def __init__(self, log: StreamLog) -> None:
        self._log = log
        self._flushes: Flushes | None = None
        self._index: dict[tuple[str, str], tuple[int, int]] = {}

    def key(self, facts: ProtocolState, producer: Producer | None) -> tuple[str, int] | None:
        """Return the name under which a block stores a request; its numbers begin at 1. None for a request without a producer."""
        if producer is None:
            return None
        return f"{PREFIX}{facts.life} {producer.epoch} {producer.id}", producer.seq + 1

    def check(self, facts: ProtocolState, producer: Producer) -> int | None:
        """Return None for the next request of a producer, and the highest number of its epoch for a repetition.

        Raises:
            Refusal: 403, the epoch is over; 409, numbers are missing.
            InvalidArgumentError: a new epoch does not begin at 0.
        """
        epoch, newest = self._newest(facts, producer.id)
        if producer.epoch < epoch:
            headers = {"producer-epoch": str(epoch)}
            raise Refusal(403, "stale_epoch", f"the producer's epoch is {epoch}; go on with a higher one", headers)
        if producer.epoch > epoch:
            if producer.seq != 0 and epoch >= 0:
                raise InvalidArgumentError("a new Producer-Epoch begins with Producer-Seq 0")
            newest = -1
        if producer.seq <= newest:
            return newest
        if producer.seq > newest + 1:
            headers = {"producer-expected-seq": str(newest + 1), "producer-received-seq": str(producer.seq)}
            raise Refusal(409, "sequence_gap", f"Producer-Seq {newest + 1} comes next", headers)
        return None

    def taken(self, facts: ProtocolState, producer: Producer) -> int | None:
        """Return the highest number of the producer's epoch if this request was stored before, otherwise None."""
        epoch, newest = self._newest(facts, producer.id)
        return newest if producer.epoch == epoch and producer.seq <= newest else None

    def took(self, facts: ProtocolState, producer: Producer | None) -> None:
        """Note that a request was stored."""
        if producer is not None:
            self._known()[facts.life, producer.id] = producer.epoch, producer.seq

    def _newest(self, facts: ProtocolState, producer_id: str) -> tuple[int, int]:
        """Return the highest epoch and its highest number; -1 if there is none."""
        return self._known().get((facts.life, producer_id), (-1, -1))

    def _known(self) -> dict[tuple[str, str], tuple[int, int]]:
        flushes = self._log.newest_flushes()
        if flushes is not self._flushes:
            self._flushes, self._index = flushes, {}
            for writer, (number, _) in flushes.items():
                if writer.startswith(PREFIX):
                    _, life, epoch, producer_id = writer.split(" ", 3)
                    place = life, producer_id
                    self._index[place] = max(self._index.get(place, (-1, -1)), (int(epoch), number - 1))
        return self._index
