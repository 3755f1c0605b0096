"""The promises of a guarded log: it holds every acknowledged write once, in the order of tokens, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agents_store_cloudflare.testing.history.operations import Operation, Value
from agents_store_cloudflare.testing.history.violation import Rule, Violation

__all__ = ["check_log"]


def check_log(resource: str, writes: Mapping[Value, Operation], contents: Operation) -> Iterator[Violation]:
    """Return the violations that the contents of a log show, in O(n).

    Args:
        writes: all writes by their values, with any outcome.
        contents: the log's contents.
    """

    def found(rule: Rule, message: str, *others: Operation) -> Violation:
        lines = (*(other.line for other in others), contents.line)
        return Violation(rule=rule, name=resource, message=message, lines=lines)

    latest_start: Operation | None = None
    highest: Operation | None = None
    seen: set[Value] = set()
    for value in contents.values:
        write = writes.get(value)
        if write is None or write.outcome == "refused" or write.start > contents.end or value in seen:
            yield found("write from nowhere", f"{value!r} is there, which nobody had written, or twice")
            continue
        seen.add(value)
        if highest is not None and write.token < highest.token:
            message = f"{value!r} with token {write.token} stands after {highest.value!r} with {highest.token}"
            yield found("write out of token order", message, highest, write)
        if latest_start is not None and write.end < latest_start.start:
            yield found("not linearizable", f"{value!r} stands after {latest_start.value!r}", write, latest_start)
        if highest is None or write.token > highest.token:
            highest = write
        if latest_start is None or write.start > latest_start.start:
            latest_start = write
    for value, write in writes.items():
        if write.outcome == "ok" and write.end < contents.start and value not in seen:
            yield found("write lost", f"{value!r} was acknowledged and is not there", write)
