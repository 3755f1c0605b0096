"""The calls of the adapters, disturbed as the stores' are: lost replies and other writers, cancellations, changed arguments."""

from __future__ import annotations

import json

import pytest

from agents_store_cloudflare.database import Statement
from tests.adapters.disturbed.changes import scramble
from tests.adapters.disturbed.conversations import CONVERSATIONS, say
from tests.adapters.disturbed.graphs import CHECKED_GRAPHS, GRAPHS
from tests.adapters.disturbed.harness import SPENDING, STEPS
from tests.adapters.disturbed.items import CHECKED_ITEMS, ITEMS
from tests.adapters.disturbed.sdk_sessions import SDK_SESSIONS
from tests.adapters.disturbed.tasks import TASKS, add
from tests.instruments.operations import Operation, Role
from tests.instruments.test_aliasing import aliases
from tests.instruments.test_cancellation import cancellations
from tests.instruments.test_interference import interfere, pairs_of
from tests.lengths import length

ROLES = (CONVERSATIONS, GRAPHS, CHECKED_GRAPHS, ITEMS, CHECKED_ITEMS, TASKS, SDK_SESSIONS, SPENDING, STEPS)
CASES = [(role, operation) for role in ROLES for operation in role.operations if operation.is_retried]
LIMITS = {
    "graphs": [("copy", "make again"), ("delete", "go on"), ("delete runs", "go on")],
    "SDK sessions": [("pop", "make again")],
    "conversations": [
        (save, again)
        for save in ("save", "save what came back from JSON")
        for again in ("make again", "make again and say often")
    ],
}
"""Pairs of calls after which the outcome is neither order's, as LG-7, LG-11, OA-3 and PA-5 say."""
cases = pytest.mark.parametrize(("role", "operation"), CASES, ids=[f"{role.name}-{each.name}" for role, each in CASES])


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
async def test_a_retry_after_others(role: Role) -> None:
    """PA-5, LG-7, LG-11, LG-17, OA-3, A2-4, HS-7: A call with a lost reply has its one effect, whatever others did before its retry."""
    limits = LIMITS.get(role.name.removesuffix(" with a head check"), [])
    pairs = [(first, second) for first, second in pairs_of(role, 100_000) if (first.name, second.name) not in limits]
    tally = await interfere(role, pairs_of(role, length(60, 100_000), among=pairs))
    print(f"interference, {role.name}: {tally.pairs} pairs, {tally.outcomes} outcomes")
    assert not tally.violations, "\n\n".join(tally.violations)
    assert tally.outcomes >= tally.pairs // 2


@cases
async def test_cancelled_everywhere(role: Role, operation: Operation) -> None:
    """PA-5, LG-7, LG-17, A2-4, HS-7: A cancelled call has its whole effect or none, and the client can be used."""
    points, wrong = await cancellations(role, operation)
    print(f"cancellation, {role.name}, {operation.name}: {points} suspension points")
    assert not wrong, "\n".join(wrong)


@cases
async def test_changed_everywhere(role: Role, operation: Operation) -> None:
    """PA-5, LG-17, A2-4, HS-7: A call stores what it was given, however its arguments change while it waits."""
    tried, wrong = await aliases(role, operation, scramble)
    print(f"aliasing, {role.name}, {operation.name}: {tried} changes")
    assert not wrong, "\n".join(wrong)


async def test_names_of_writes_are_few() -> None:
    """PA-5, A2-4: The rows of a conversation and of a task keep the names of 16 writes."""
    conversations, tasks = await CONVERSATIONS.open(), await TASKS.open()
    for number in range(40):
        await say(conversations.theirs, "ada", str(number))
        await add(tasks.theirs, str(number))
    [[[writes]]] = await conversations.database.batch(
        [Statement("SELECT writes FROM __agents_conversations WHERE session_id = 'ada'")]
    )
    assert [len(each) for each in json.loads(writes)] == [16] * 16
    [[[writes]]] = await tasks.database.batch([Statement("SELECT writes FROM __agents_a2a_tasks")])
    assert [len(each) for each in writes.split(" ")] == [12] * 16
    for world in (conversations, tasks):
        world.close()
