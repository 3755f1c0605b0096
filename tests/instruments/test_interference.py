"""A reply is lost, others act, the retry arrives: what is stored and returned is what one of the two orders gives."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest

from tests.instruments.catalog import ROLES
from tests.instruments.operations import Call, Operation, Role, outcome_of
from tests.lengths import length

Outcome: TypeAlias = "tuple[str, str, str]"
SHORT_PAIRS, ALL_PAIRS = 40, 100_000


@dataclass
class Tally:
    """Counts the tries and the failures."""

    pairs: int = 0
    outcomes: int = 0
    violations: list[str] = field(default_factory=list[str])


async def interfere(role: Role, pairs: Iterable[tuple[Operation, Operation]]) -> Tally:
    """Try the pairs. Each call of the first operation loses its reply once, and the second operation runs before the retry."""
    tally = Tally()
    for first, second in pairs:
        tally.pairs += 1
        allowed, calls = await _orders(role, first, second)
        for index in range(calls):
            seen = await _disturbed(role, first, second, index)
            if seen is None:
                continue
            tally.outcomes += 1
            # A call of several requests may find the other one between two of them, lost reply or not.
            if (
                seen not in allowed
                and not is_told(seen, allowed[0])
                and not is_after(second, seen, allowed[1])
                and not is_refused(seen, allowed[1])
                and seen != await _disturbed(role, first, second, index, is_lost=False)
            ):
                told = f"{role.name}: {first.name!r} (reply {index} lost), then {second.name!r}, then the retry"
                tally.violations.append("\n".join([told, *differences(seen, allowed)]))
    return tally


def is_told(seen: Outcome, order: Outcome) -> bool:
    """Return whether everything is as after "first, second" and only the result differs: the present state, or that it is gone."""
    result, theirs, picture = seen
    return (theirs, picture) == order[1:] and ("took place before" in result or _is_state(result, picture))


def is_after(second: Operation, seen: Outcome, order: Outcome) -> bool:
    """Return whether all is as after "second, first", and only the number of entries that a deletion of usage found differs.

    No row stays of entries that were deleted, so a retry records them after the deletion. Each counts once then.
    """
    return second.covers == ("UsageStore.delete",) and (seen[0], seen[2]) == (order[0], order[2])


def is_refused(seen: Outcome, order: Outcome) -> bool:
    """Return whether all is as after "second, first", which refuses the first call, and only the reason differs: it is a conflict."""
    return "Conflict" in seen[0] and "Error" in order[0] and seen[1:] == order[1:]


def _is_state(result: str, picture: str) -> bool:
    return result.startswith("{'sessionId'") and result in picture


async def _orders(role: Role, first: Operation, second: Operation) -> tuple[list[Outcome], int]:
    """(result of the first, result of the second, picture) of both orders without a loss; how many calls the first sends."""
    allowed: list[Outcome] = []
    calls = 0
    for is_first_first in (True, False):
        world = await role.open()
        mine, theirs = await _prepared(world, first, second)
        if is_first_first:
            world.seam.calls = 0
            results = [await outcome_of(mine)]
            calls = world.seam.calls
            results.append(await outcome_of(theirs))
        else:
            other = await outcome_of(theirs)
            results = [await outcome_of(mine), other]
        allowed.append((results[0], results[1], await world.picture()))
        world.close()
    return allowed, calls


async def _disturbed(
    role: Role, first: Operation, second: Operation, index: int, *, is_lost: bool = True
) -> Outcome | None:
    world = await role.open()
    mine, theirs = await _prepared(world, first, second)
    other: list[str] = []

    async def between() -> None:
        other.append(await outcome_of(theirs))

    world.seam.interrupt(index, between, is_lost=is_lost)
    result = await outcome_of(mine)
    picture = await world.picture()
    world.close()
    return (result, other[0], picture) if other else None


async def _prepared(world: Any, first: Operation, second: Operation) -> tuple[Call, Call]:
    return await first.prepare(world, world.mine), await second.prepare(world, world.theirs)


def differences(seen: Outcome, allowed: list[Outcome]) -> list[str]:
    lines: list[str] = []
    lines += [f"  {name}: {value}" for name, value in zip(("result", "theirs", "picture"), seen, strict=True)]
    for order, values in zip(("first, second", "second, first"), allowed, strict=True):
        lines.append(f"  {order}: {' | '.join(_difference(mine, its) for mine, its in zip(seen, values, strict=True))}")
    return lines


def _difference(seen: str, wanted: str) -> str:
    if seen == wanted:
        return "same"
    at = next((i for i, (a, b) in enumerate(zip(seen, wanted, strict=False)) if a != b), 0)
    return f"…{seen[max(0, at - 60) : at + 60]} instead of …{wanted[max(0, at - 60) : at + 100]}"


def pairs_of(
    role: Role, count: int, seed: int = 1, *, among: Sequence[tuple[Operation, Operation]] | None = None
) -> list[tuple[Operation, Operation]]:
    """Return all pairs, or this number of pairs, drawn by the seed."""
    pairs = [(a, b) for a in role.operations if a.is_retried for b in role.operations] if among is None else list(among)
    return pairs if count >= len(pairs) else random.Random(seed).sample(pairs, count)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
async def test_a_retry_after_others(role: Role, record_property: Any) -> None:
    """ST-10, ST-42, US-15, SM-9, LK-9: A call with a lost reply has its one effect, whatever others did before its retry."""
    short = ALL_PAIRS if role.name in {"locks", "subscriptions"} else SHORT_PAIRS
    pairs = pairs_of(role, length(short, ALL_PAIRS))
    tally = await interfere(role, pairs)
    print(
        f"interference, {role.name}: {tally.pairs} pairs, {tally.outcomes} outcomes, {len(tally.violations)} violations"
    )
    assert not tally.violations, "\n\n".join(tally.violations)
    assert tally.outcomes >= tally.pairs // 2
