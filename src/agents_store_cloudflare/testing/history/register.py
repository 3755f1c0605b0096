"""Checks whether a guarded register is linearizable: whether its calls fit into one order, each at a moment between its start and
its end.

A register holds the value that was written last. In general the check is NP-complete. Here it is easy, because each value is
written once, so every read shows which write it saw. The write of a value and its reads form a cluster. A register is linearizable
if its clusters can be put into a row. Let `first_end` be the earliest end and `last_start` the latest start in a cluster. Cluster A
must come before B if A.first_end < B.last_start, because then some call of A was over when some call of B began. Gibbons and Korach
("Testing Shared Memories", 1997) show that a row exists if no read ends before its write starts, and no two clusters must each come
before the other. A cluster with first_end < last_start occupies this span alone. Every other cluster only must not lie inside such
a span. So the spans are sorted, and neighbours are compared: O(n log n) for n calls, O(n) memory.

With a fence, tokens must not fall along the row: if A must come before B, A's token is not higher than B's. One sweep checks this
condition for the same pairs. If it holds, a row in the order of the tokens meets both conditions, when clusters with equal tokens
stand in the order above. So the answer is exact for the guarded register too.

A write with an unknown outcome counts if it was read; then its end is unknown. A refused write must not be read.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from agents_store_cloudflare.testing.history.operations import Operation, Value
from agents_store_cloudflare.testing.history.violation import Violation

__all__ = ["check_register"]


@dataclass(slots=True)
class _Cluster:
    """A write (None: the register's beginning) and the reads that saw it."""

    write: Operation | None
    reads: list[Operation] = field(default_factory=list[Operation])

    def first_end(self) -> float:
        ends = [read.end for read in self.reads]
        return min([*ends, self.write.end if self.write else -math.inf])

    def last_start(self) -> float:
        starts = [read.start for read in self.reads]
        return max([*starts, self.write.start if self.write else -math.inf])

    def lines(self) -> tuple[int, ...]:
        own = () if self.write is None else (self.write.line,)
        return (*own, *(read.line for read in self.reads[:3]))


@dataclass(frozen=True, slots=True)
class _Span:
    """The two decisive times of a cluster."""

    first_end: float
    last_start: float
    cluster: _Cluster


def check_register(resource: str, writes: Mapping[Value, Operation], reads: Sequence[Operation]) -> Iterator[Violation]:
    """Yield the violations of one register.

    Args:
        writes: all writes by their values, with any outcome.
        reads: the reads that got a reply.
    """
    clusters: dict[Value, _Cluster] = {None: _Cluster(None)}
    for value, write in writes.items():
        if write.outcome != "refused":
            clusters[value] = _Cluster(write)
    for read in reads:
        cluster = clusters.get(read.value)
        if cluster is None or (cluster.write is not None and read.end < cluster.write.start):
            yield Violation(
                rule="write from nowhere",
                name=resource,
                message=f"{read.value!r} was read, which nobody had written",
                lines=(read.line,),
            )
        else:
            cluster.reads.append(read)
    spans = [
        _Span(cluster.first_end(), cluster.last_start(), cluster)
        for cluster in clusters.values()
        if cluster.reads or (cluster.write is not None and cluster.write.outcome == "ok")
    ]
    yield from _not_in_a_row(resource, spans)
    yield from _falling_tokens(resource, spans)


def _not_in_a_row(resource: str, spans: Sequence[_Span]) -> Iterator[Violation]:
    alone = sorted((span for span in spans if span.first_end < span.last_start), key=lambda span: span.first_end)
    for before, after in pairwise(alone):
        if after.first_end < before.last_start:
            yield _conflict(resource, before, after)
    begins = [span.first_end for span in alone]
    for span in spans:
        if span.first_end >= span.last_start:
            index = bisect_left(begins, span.last_start) - 1
            if index >= 0 and span.first_end < alone[index].last_start:
                yield _conflict(resource, alone[index], span)


def _conflict(resource: str, one: _Span, other: _Span) -> Violation:
    return Violation(
        rule="not linearizable",
        name=resource,
        message="each of two values must have been the last one before the other",
        lines=(*one.cluster.lines(), *other.cluster.lines()),
    )


def _falling_tokens(resource: str, spans: Sequence[_Span]) -> Iterator[Violation]:
    """Yield each write whose token is lower than the highest token among the writes that must come before it."""
    written = [span for span in spans if span.cluster.write is not None]
    by_end = sorted(written, key=lambda span: span.first_end)
    highest: Operation | None = None
    position = 0
    for span in sorted(written, key=lambda span: span.last_start):
        while position < len(by_end) and by_end[position].first_end < span.last_start:
            earlier = by_end[position].cluster.write
            if earlier is not None and (highest is None or earlier.token > highest.token):
                highest = earlier
            position += 1
        write = span.cluster.write
        if write is not None and highest is not None and highest.token > write.token:
            yield Violation(
                rule="write out of token order",
                name=resource,
                message=f"{write.value!r} with token {write.token} came after {highest.value!r} with {highest.token}",
                lines=(highest.line, *span.cluster.lines()),
            )
