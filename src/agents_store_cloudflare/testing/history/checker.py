"""All checks of a history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.testing.history.leases import check_leases
from agents_store_cloudflare.testing.history.log import check_log
from agents_store_cloudflare.testing.history.operations import Operation, Value
from agents_store_cloudflare.testing.history.register import check_register
from agents_store_cloudflare.testing.history.turns import TURN_OPERATIONS, check_turns, commits_as_writes
from agents_store_cloudflare.testing.history.violation import Violation

__all__ = ["check_history"]

LEASE_OPERATIONS = frozenset({"grant", "refresh", "release"})
SESSION_OPERATIONS = TURN_OPERATIONS | {"kept"}


def check_history(operations: Iterable[Operation]) -> list[Violation]:
    """Return the violations that the history shows.

    The checks: the tokens of a key are new and rise; a lease that is over stays over; every acknowledged write is there, and no
    refused write; writes are in the order of their tokens; registers are linearizable; no write is refused without a reason; a turn
    writes nothing after its end, its id succeeds once, and readers hear of its end once. It takes O(n log n) for n operations.

    Raises:
        InvalidArgumentError: a value of a resource was written twice, so a read does not show which write it saw.
    """
    locks: dict[str, list[Operation]] = {}
    sessions: dict[str, list[Operation]] = {}
    resources: dict[str, list[Operation]] = {}
    for each in operations:
        groups = locks if each.op in LEASE_OPERATIONS else sessions if each.op in SESSION_OPERATIONS else resources
        groups.setdefault(each.name, []).append(each)
    found: list[Violation] = []
    for key, of_key in locks.items():
        found += check_leases(key, of_key)
    for resource, of_resource in resources.items():
        found += _check_resource(resource, of_resource)
    for session, of_session in sessions.items():
        found += check_turns(session, of_session)
        found += _check_kept(session, of_session)
    return found


def _check_kept(session: str, operations: Sequence[Operation]) -> Iterator[Violation]:
    writes = _by_value(session, commits_as_writes(operations))
    for each in operations:
        if each.op == "kept" and each.outcome == "ok":
            yield from check_log(session, writes, each)


def _check_resource(resource: str, operations: Sequence[Operation]) -> Iterator[Violation]:
    writes = _by_value(resource, operations)
    reads = [each for each in operations if each.op == "read" and each.outcome == "ok"]
    yield from check_register(resource, writes, reads)
    for each in operations:
        if each.op == "contents" and each.outcome == "ok":
            yield from check_log(resource, writes, each)
    yield from _refused_for_nothing(resource, list(writes.values()))


def _by_value(resource: str, operations: Sequence[Operation]) -> dict[Value, Operation]:
    writes: dict[Value, Operation] = {}
    for each in operations:
        if each.op != "write":
            continue
        if each.value is None or each.value in writes:
            raise InvalidArgumentError(
                f"line {each.line}: {each.value!r} cannot be told from another value of {resource!r}"
            )
        writes[each.value] = each
    return writes


def _refused_for_nothing(resource: str, writes: Sequence[Operation]) -> Iterator[Violation]:
    """Yield the refusals of tokens before any higher token was sent to the fence."""
    by_start = sorted(writes, key=lambda write: write.start)
    highest = 0
    position = 0
    for write in sorted(writes, key=lambda write: write.end):
        while position < len(by_start) and by_start[position].start <= write.end:
            highest = max(highest, by_start[position].token)
            position += 1
        if write.outcome == "refused" and highest <= write.token:
            yield Violation(
                rule="write refused for nothing",
                name=resource,
                message=f"{write.value!r} with token {write.token}, and none was higher",
                lines=(write.line,),
            )
