"""A retry after a newer holder: what is stored and returned is what the fence allows, whoever retries, the client or its caller."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.instruments.catalog import ROLES
from tests.instruments.operations import Call, Operation, Role, outcome_of
from tests.instruments.test_interference import (
    ALL_PAIRS,
    Outcome,
    Tally,
    differences,
    is_after,
    is_told,
    pairs_of,
)
from tests.lengths import length

SHORT_PAIRS = 15
OLD, NEW = 6, 7
"""The tokens of the first client and of the second; the worlds have seen lower ones."""

ROLES_WITH_FENCES = [role for role in ROLES if role.name in {"state", "usage", "streams", "store"}]


async def retried_by_client(role: Role, pairs: Iterable[tuple[Operation, Operation]]) -> Tally:
    """Let the first client lose a reply, let the newer holder act, and let the client send again by itself."""
    tally = Tally()
    for first, second in pairs:
        allowed, calls = await _orders(role, first, second)
        tally.pairs += 1
        for index in range(calls):
            world = await role.open()
            mine, theirs = await _prepared(world, first, second)
            other: list[str] = []

            async def between(theirs: Call = theirs, other: list[str] = other) -> None:
                other.append(await outcome_of(theirs))

            world.seam.interrupt(index, between)
            result = await outcome_of(mine)
            seen = (result, other[0], await world.picture()) if other else None
            world.close()
            if seen is not None:
                await _judge(tally, role, (first, second, index), seen, allowed)
    return tally


async def retried_by_caller(role: Role, pairs: Iterable[tuple[Operation, Operation]]) -> Tally:
    """Let the first client lose a reply and its connection, let the newer holder act, and repeat the same call."""
    tally = Tally()
    for first, second in pairs:
        allowed, calls = await _orders(role, first, second)
        tally.pairs += 1
        for index in range(calls):
            world = await role.open()
            mine, theirs = await _prepared(world, first, second)
            world.seam.break_off(index)
            await outcome_of(mine)
            other = await outcome_of(theirs)
            world.seam.restore()
            seen = (await outcome_of(mine), other, await world.picture())
            world.close()
            await _judge(tally, role, (first, second, index), seen, allowed)
    return tally


async def _judge(
    tally: Tally, role: Role, what: tuple[Operation, Operation, int], seen: Outcome, allowed: list[Outcome]
) -> None:
    """Count an outcome. Without any loss, a call of several requests may find the other call between two of its requests."""
    tally.outcomes += 1
    _, second, _ = what
    if seen in allowed or is_told(seen, allowed[0]) or is_after(second, seen, allowed[1]):
        return
    if seen != await _between(role, *what):
        tally.violations.append("\n".join([_told(role, *what), *differences(seen, allowed)]))


async def _between(role: Role, first: Operation, second: Operation, index: int) -> Outcome | None:
    """Return the outcome when the second call runs after a request of the first one, and no reply is lost."""
    world = await role.open()
    mine, theirs = await _prepared(world, first, second)
    other: list[str] = []

    async def between() -> None:
        other.append(await outcome_of(theirs))

    world.seam.interrupt(index, between, is_lost=False)
    result = await outcome_of(mine)
    seen = (result, other[0], await world.picture()) if other else None
    world.close()
    return seen


def _told(role: Role, first: Operation, second: Operation, index: int) -> str:
    return (
        f"{role.name}: {first.name!r} with {OLD} (reply {index} lost), then {second.name!r} with {NEW}, then the retry"
    )


async def _orders(role: Role, first: Operation, second: Operation) -> tuple[list[Outcome], int]:
    allowed: list[Outcome] = []
    calls = 0
    for is_first_first in (True, False):
        world = await role.open()
        mine, theirs = await _prepared(world, first, second)
        world.seam.calls = 0
        if is_first_first:
            result = await outcome_of(mine)
            calls = world.seam.calls
            other = await outcome_of(theirs)
        else:
            other = await outcome_of(theirs)
            result = await outcome_of(mine)
        allowed.append((result, other, await world.picture()))
        world.close()
    return allowed, calls


async def _prepared(world: Any, first: Operation, second: Operation) -> tuple[Call, Call]:
    mine, theirs = await first.prepare(world, world.mine), await second.prepare(world, world.theirs)
    return mine.having(fencing_token=OLD, commit_id="mine"), theirs.having(fencing_token=NEW)


async def _is_fenced(role: Role, operation: Operation) -> bool:
    """Return whether the operation takes a token."""
    world = await role.open()
    call = await operation.prepare(world, world.mine)
    world.close()
    return call.takes("fencing_token")


@pytest.mark.parametrize("role", ROLES_WITH_FENCES, ids=lambda role: role.name)
@pytest.mark.parametrize("who", [retried_by_client, retried_by_caller], ids=["by the client", "by the caller"])
async def test_a_retry_after_a_newer_holder(role: Role, who: Any) -> None:
    """ST-10, ST-11, ST-42, US-15, SM-9, SM-13, SM-37: A retry has its one effect before the newer holder, or is refused."""
    fenced = {each.name for each in role.operations if await _is_fenced(role, each)}
    others = {each.name for each in role.operations} if role.name == "store" else fenced  # there many act at once
    pairs = [pair for pair in pairs_of(role, ALL_PAIRS) if pair[0].name in fenced and pair[1].name in others]
    tally = await who(role, pairs_of(role, length(SHORT_PAIRS, ALL_PAIRS), among=pairs))
    print(
        f"{who.__name__}, {role.name}: {tally.pairs} pairs, {tally.outcomes} outcomes, {len(tally.violations)} violations"
    )
    assert not tally.violations, "\n\n".join(tally.violations)
    assert tally.outcomes >= tally.pairs // 2
