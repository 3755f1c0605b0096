"""What is handed over is changed by others while the call is under way: what is stored is what was passed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.instruments.catalog import ROLES
from tests.instruments.disturbing import Steps, mutate
from tests.instruments.operations import Operation, Role, plain

MOST_POINTS = 200
CASES = [(role, operation) for role in ROLES for operation in role.operations]


async def aliases(role: Role, operation: Operation, change: Callable[[Any], int] = mutate) -> tuple[int, list[str]]:
    """Return how many pairs of a suspension point and a mutable part were tried, and the failures.

    Args:
        change: changes a value in all its parts, and returns how many there were.
    """
    result, picture, results = await _run(role, operation, -1, change)
    tried = results
    found: list[str] = []
    if await _run(role, operation, -2, change) != (result, picture, results):
        found.append(f"{role.name}, {operation.name!r}: changing what it returned changes what is stored")
    for point in range(MOST_POINTS):
        seen, its_picture, changed = await _run(role, operation, point, change)
        if changed < 0:
            return tried, found
        tried += changed
        if changed and (seen, its_picture) != (result, picture):
            wanted, got = (result, seen) if seen != result else (picture, its_picture)
            at = next((i for i, (a, b) in enumerate(zip(wanted, got, strict=False)) if a != b), 0)
            found.append(
                f"{role.name}, {operation.name!r}: changed at suspension {point}, "
                f"…{got[max(0, at - 80) : at + 120]} instead of …{wanted[max(0, at - 80) : at + 120]}"
            )
    raise AssertionError(f"{operation.name!r} has more than {MOST_POINTS} suspension points")


async def _run(role: Role, operation: Operation, point: int, change: Callable[[Any], int]) -> tuple[str, str, int]:
    """The result, the picture, and how many things were changed; -1: the point was not reached.

    Args:
        point: where the arguments change; -1: nowhere; -2: the result is changed afterwards.
    """
    world = await role.open()
    call = await operation.prepare(world, world.mine)
    changed = -1

    def intrude() -> None:
        nonlocal changed
        changed = sum(change(each) for each in (*call.arguments, *call.keywords.values()))

    steps = Steps(call.make(), at=point, at_suspension=intrude)
    try:
        value = await steps
        result = plain(value)
    except Exception as error:  # noqa: BLE001 - an error is a result too
        value, result = None, f"{type(error).__name__}: {error}"
    if point < 0:
        changed = change(value if point == -2 else copy.deepcopy(value))
    picture = await world.picture()
    world.close()
    return result, picture, changed


@pytest.mark.parametrize(("role", "operation"), CASES, ids=[f"{role.name}-{each.name}" for role, each in CASES])
async def test_changed_everywhere(role: Role, operation: Operation) -> None:
    """ST-45, SM-8: A call stores its arguments as they were before its first await. Its result belongs to the caller alone."""
    tried, wrong = await aliases(role, operation)
    print(f"aliasing, {role.name}, {operation.name}: {tried} changes")
    assert not wrong, "\n".join(wrong)
