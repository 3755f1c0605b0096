"""Turns that are cancelled anywhere, and turns each of whose replies is lost while others act."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import AgentsStoreError
from agents_store_cloudflare.database import retry
from tests.instruments.disturbing import Steps, settle
from tests.instruments.turn_world import SESSION, TURNS, TurnWorld, whole
from tests.lengths import length

MOST_POINTS = 400


def _at_once(_attempt: int) -> float:
    return 0.0


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pause(attempt: int) -> None:
        assert attempt < retry.ATTEMPTS

    monkeypatch.setattr(retry, "pause_before_retry", pause)
    for place in ("agents_store_cloudflare.objects.namespace", "agents_store_cloudflare.locks.calls"):
        monkeypatch.setattr(f"{place}.backoff_s", _at_once)


@pytest.mark.parametrize("kind", TURNS)
async def test_cancelled_everywhere(kind: str) -> None:
    """TU-5: A turn that is cancelled at any point leaves no lock, no reservation and no task, and everything agrees."""
    found: list[str] = []
    point = 0
    for point in range(0, MOST_POINTS, length(2, 1)):
        reached, wrong = await _cancelled(kind, point)
        if not reached:
            break
        found += [f"cancelled at suspension {point}: {each}" for each in wrong]
    print(f"turns, {kind}: {point} suspension points")
    assert not found, "\n".join(found)


async def _cancelled(kind: str, point: int) -> tuple[bool, list[str]]:
    world = await TurnWorld.open()
    before = asyncio.all_tasks()
    reached = False

    def cancel() -> None:
        nonlocal reached
        reached = True
        task.cancel()

    async def run() -> None:
        await Steps(whole(world.mine, "second", **TURNS[kind]), at=point, at_suspension=cancel)

    task = asyncio.get_running_loop().create_task(run())
    outcome: Any = (await asyncio.gather(task, return_exceptions=True))[0]
    await settle()
    wrong: list[str] = []
    if reached:
        if not isinstance(outcome, asyncio.CancelledError):
            wrong.append(f"the cancellation became {outcome!r}")
        if tasks := asyncio.all_tasks() - before:
            wrong.append(f"tasks are left: {[each.get_coro() for each in tasks]}")
        wrong += await world.left_open()
        wrong += await world.wrong()
        wrong += await world.usable()
    world.close()
    return reached, wrong


Act = Callable[[TurnWorld], Awaitable[Any]]
OTHERS: dict[str, tuple[Act, bool]] = {
    "nobody": (lambda _world: asyncio.sleep(0), True),
    "a sweep": (lambda world: world.theirs.sweep_turns(10), True),
    "another turn": (lambda world: whole(world.theirs, "other"), True),
    "the same turn": (lambda world: whole(world.theirs, "second"), True),
    "a pause": (lambda world: world.theirs.stream_manager.pause_stream(SESSION), False),
    "a reset": (lambda world: world.theirs.stream_manager.reset_stream(SESSION), False),
    "an append": (
        lambda world: world.theirs.state_store.append_messages(SESSION, [{"role": "user", "content": "beside"}]),
        True,
    ),
    "a deletion": (lambda world: world.theirs.delete_session(SESSION), False),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("kind", TURNS)
async def test_every_reply_is_lost(kind: str, other: str) -> None:
    """TU-3, TU-4, TU-8: If any reply of a turn is lost and anybody acts before the retry, everything agrees in the end."""
    act, is_stream_whole = OTHERS[other]
    found: list[str] = []
    outcomes = 0
    for index in range(0, MOST_POINTS, length(2, 1)):
        world = await TurnWorld.open()
        acted = False

        async def between(world: TurnWorld = world) -> None:
            nonlocal acted
            acted = True
            with suppress(AgentsStoreError):  # refused: it did nothing
                await act(world)

        world.seam.interrupt(index, between)
        raised = ""
        try:
            await whole(world.mine, "second", **TURNS[kind])
        except (AgentsStoreError, ZeroDivisionError, asyncio.CancelledError) as error:
            raised = repr(error)
        if not acted:
            world.close()
            break
        outcomes += 1
        wrong = await world.wrong(is_stream_whole=is_stream_whole, is_kept=other != "a deletion")
        if other != "a pause":
            wrong += await world.usable()
        found += [f"reply {index} lost, then {other} ({raised}): {each}" for each in wrong]
        world.close()
    print(f"turns, {kind}, {other}: {outcomes} outcomes")
    assert outcomes > length(2, 5)
    assert not found, "\n".join(found)
