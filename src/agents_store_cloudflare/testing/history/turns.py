"""The promises of turns: one turn runs at a time, each id succeeds once, acknowledged writes are kept, and readers hear of every
end once.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

from agents_store_cloudflare.testing.history.leases import check_leases
from agents_store_cloudflare.testing.history.operations import Operation, Value
from agents_store_cloudflare.testing.history.violation import Rule, Violation

__all__ = ["TURN_OPERATIONS", "check_turns", "commits_as_writes"]

TURN_OPERATIONS = frozenset({"enter", "commit", "close", "sweep", "told"})
COMPLETED = "completed"


def check_turns(session: str, operations: Sequence[Operation]) -> Iterator[Violation]:
    """Yield the violations of one session's turns, in O(n log n) for n operations.

    Args:
        operations: all operations of the session. `enter`, `commit`, `close`, `sweep` and `told` count here.
    """
    enters = [each for each in operations if each.op == "enter" and each.outcome == "ok"]
    # A turn has the session's lock: its token is new, and higher than all before.
    yield from check_leases(session, [replace(each, op="grant") for each in enters])
    yield from _late(session, operations)
    yield from _twice(session, enters, operations)
    for told in operations:
        if told.op == "told" and told.outcome == "ok":
            yield from _told(session, told, operations)


def commits_as_writes(operations: Sequence[Operation]) -> list[Operation]:
    """Return the commits as writes to the session, so that the check of a log can find the lost ones."""
    return [replace(each, op="write") for each in operations if each.op == "commit"]


def _late(session: str, operations: Sequence[Operation]) -> Iterator[Violation]:
    """Yield the commits and ends that were acknowledged after somebody else had the session, or after the turn's own end."""
    overtaken = _first_overtaking(operations)
    closed = {each.token: each for each in operations if each.op == "close" and each.outcome == "ok"}
    for each in operations:
        if each.op not in ("commit", "close") or each.outcome != "ok":
            continue
        own_end = closed.get(each.token, each)
        is_after_own_end = own_end is not each and each.start > own_end.end
        if is_after_own_end or each.start > overtaken(each.token):
            yield _found("turn wrote after its end", session, f"{each.op} of token {each.token}", each)


def _first_overtaking(operations: Sequence[Operation]) -> Callable[[int], float]:
    """Return the time at which the first turn or sweep with a higher token than a given one was acknowledged."""
    later = sorted(
        (each for each in operations if each.op in ("enter", "sweep") and each.outcome == "ok"),
        key=lambda each: each.token,
    )
    tokens = [each.token for each in later]
    ends = [*accumulate((each.end for each in reversed(later)), min)][::-1]

    def of(token: int) -> float:
        index = bisect_right(tokens, token)
        return ends[index] if index < len(ends) else math.inf

    return of


def _twice(session: str, enters: Sequence[Operation], operations: Sequence[Operation]) -> Iterator[Violation]:
    """Yield the turns that were entered after their id had succeeded."""
    ids = {each.token: each.value for each in enters}
    succeeded: dict[Value, Operation] = {}
    for each in sorted(operations, key=lambda each: each.end):
        is_success = each.op == "close" and each.outcome == "ok" and each.value == COMPLETED
        if is_success and each.token in ids:
            succeeded.setdefault(ids[each.token], each)
    for enter in enters:
        first = succeeded.get(enter.value)
        if first is not None and first.token != enter.token and enter.start > first.end:
            yield _found("turn ran twice", session, f"turn {enter.value!r} was entered after its success", first, enter)


def _told(session: str, told: Operation, operations: Sequence[Operation]) -> Iterator[Violation]:
    """Yield the violations between the closing chunks that readers saw and the turns that have ended."""
    counts = Counter(told.values)
    for token, count in counts.items():
        if count > 1:
            yield _found("end told twice", session, f"the end of token {token} was told {count} times", told)
    overtaken = _first_overtaking(operations)
    known: set[Value] = set()
    nameless = sum(each.op == "enter" and each.outcome == "unknown" for each in operations)
    started = max(
        (each.token for each in operations if each.op in ("enter", "sweep") and each.start < told.end), default=0
    )
    closing = {
        each.token: each for each in operations if each.op == "close" and each.outcome != "refused"
    }  # perhaps stored
    for enter in operations:
        if enter.op != "enter" or enter.outcome != "ok":
            continue
        known.add(enter.token)
        close = closing.get(enter.token)
        is_over = overtaken(enter.token) < told.start or (
            close is not None and close.outcome == "ok" and close.end < told.start
        )
        may_be_over = close is not None or started > enter.token or nameless > 0
        if is_over and enter.token not in counts:
            yield _found("end not told", session, f"the end of token {enter.token} was not told", enter, told)
        if enter.token in counts and not may_be_over:
            yield _found("end from nowhere", session, f"token {enter.token} was told to be over", enter, told)
    strangers = [token for token in counts if token not in known]
    if len(strangers) > nameless:
        yield _found("end from nowhere", session, f"nobody had entered with token {strangers[0]}", told)


def _found(rule: Rule, session: str, message: str, *shown: Operation) -> Violation:
    return Violation(rule=rule, name=session, message=message, lines=tuple(each.line for each in shown))
