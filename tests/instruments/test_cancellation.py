"""Every call and block is cancelled at each of its suspension points: nothing half-done, nothing left, the client usable."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.instruments.catalog import ROLES
from tests.instruments.disturbing import Steps, settle
from tests.instruments.operations import Operation, Role, outcome_of

MOST_POINTS = 200
CASES = [(role, operation) for role in ROLES for operation in role.operations]


async def cancellations(role: Role, operation: Operation) -> tuple[int, list[str]]:
    """Return how many suspension points the operation has, and the failures at them."""
    before, after = await _pictures(role, operation)
    found: list[str] = []
    for point in range(MOST_POINTS):
        reached, wrong = await _cancelled(role, operation, point, {before, after})
        if not reached:
            return point, found
        found += [f"{role.name}, {operation.name!r}, cancelled at suspension {point}: {each}" for each in wrong]
    raise AssertionError(f"{operation.name!r} has more than {MOST_POINTS} suspension points")


async def _pictures(role: Role, operation: Operation) -> tuple[str, str]:
    world = await role.open()
    await operation.prepare(world, world.mine)
    before = await world.picture()
    world.close()
    world = await role.open()
    await outcome_of(await operation.prepare(world, world.mine))
    after = await world.picture()
    world.close()
    return before, after


async def _cancelled(role: Role, operation: Operation, point: int, allowed: set[str]) -> tuple[bool, list[str]]:
    world = await role.open()
    call = await operation.prepare(world, world.mine)
    await settle()
    tasks_before = asyncio.all_tasks()
    reached = False

    def cancel() -> None:
        nonlocal reached
        reached = True
        task.cancel()

    async def run() -> Any:
        return await Steps(call.make(), at=point, at_suspension=cancel)

    task = asyncio.get_running_loop().create_task(run())
    outcome: Any = (await asyncio.gather(task, return_exceptions=True))[0]
    await settle()
    wrong: list[str] = []
    if reached:
        if not isinstance(outcome, asyncio.CancelledError):
            wrong.append(f"the cancellation became {outcome!r}")
        if tasks := asyncio.all_tasks() - tasks_before:
            wrong.append(f"tasks are left: {[each.get_coro() for each in tasks]}")
        wrong += await _wrong(world, operation, None if role.counts_attempts else allowed)
    for left in asyncio.all_tasks() - tasks_before:
        left.cancel()
    await settle()
    world.close()
    return reached, wrong


async def _wrong(world: Any, operation: Operation, allowed: set[str] | None) -> list[str]:
    wrong: list[str] = []
    if not operation.gives_back:
        wrong += [f"held for nobody: {each}" for each in await world.left_over()]
    try:
        async with asyncio.timeout(5):
            await world.probe(world.mine)
            await world.probe(world.theirs)
    except Exception as error:  # noqa: BLE001 - whatever it is
        wrong.append(f"the client cannot be used: {error!r}")
    picture = await world.picture()
    if allowed is not None and picture not in allowed and not operation.is_block:
        wrong.append(f"half-done: {picture}")
    return wrong


@pytest.mark.parametrize(("role", "operation"), CASES, ids=[f"{role.name}-{each.name}" for role, each in CASES])
async def test_cancelled_everywhere(role: Role, operation: Operation) -> None:
    """SM-10, LK-7, US-20: A cancelled call happened once or not at all. It leaves nothing held, and its caller gets the cancellation."""
    points, wrong = await cancellations(role, operation)
    print(f"cancellation, {role.name}, {operation.name}: {points} suspension points")
    assert points > 0
    assert not wrong, "\n".join(wrong)
