"""Each instrument finds the fault that was planted for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

from agents_store_cloudflare import D1StateStore
from agents_store_cloudflare.contract.state.records import MergeResult
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.locks import DurableObjectLockManager
from tests.instruments.lock_operations import LOCKS, LockWorld
from tests.instruments.operations import Operation, Role
from tests.instruments.state_operations import STATE, StateWorld
from tests.instruments.test_aliasing import aliases
from tests.instruments.test_cancellation import cancellations
from tests.instruments.test_fenced_retries import retried_by_caller
from tests.instruments.test_interference import interfere


def _operation(role: Role, name: str) -> Operation:
    [found] = [each for each in role.operations if each.name == name]
    return found


def _with(store: type[D1StateStore]) -> Role:
    class World(StateWorld):
        store_type = store

    return replace(STATE, open=World.open)


class CountsAgain(D1StateStore):
    """A fault: it counts an unrecognised repetition again."""

    async def increment_step_count(self, session_id: str, **_given: Any) -> int:
        sql = "UPDATE __agents_states SET step_count = step_count + 1 WHERE session_id = ?1 RETURNING step_count"
        [[row]] = await self._batches.repeatable("increment", session_id, [Statement(sql, (session_id,))])
        return cast("int", row[0])


class ForgetsItsToken(D1StateStore):
    """A fault: it sets a status even if a newer holder has come."""

    async def update_status(self, session_id: str, status: str, **_given: Any) -> int:
        return await super().update_status(session_id, status)


class InTwoBatches(D1StateStore):
    """A fault: it adds the messages of one call one by one."""

    async def append_messages(self, session: Any, messages: Iterable[Any], **given: Any) -> int:
        first = await super().append_messages(session, list(messages), **given)
        await super().append_messages(session, [{"role": "user", "content": "the second"}], **given)
        return first


class Deaf(D1StateStore):
    """A fault: it goes on after a cancellation."""

    async def update_status(self, session_id: str, status: str, **given: Any) -> int:
        try:
            return await super().update_status(session_id, status, **given)
        except asyncio.CancelledError:
            return 0


class Hesitates(D1StateStore):
    """A fault: it waits before it reads its arguments."""

    async def merge_custom_state(self, session_id: str, changes: Any, **given: Any) -> MergeResult:
        await asyncio.sleep(0)
        return await super().merge_custom_state(session_id, changes, **given)


class Forgets(DurableObjectLockManager):
    """A fault: it releases at the end of a block, but not after an exception."""

    @asynccontextmanager
    async def lock(self, key: str, **given: Any) -> AsyncGenerator[Any, None]:  # type: ignore[override]
        lock = await self.acquire(key, owner=given["owner"])
        assert lock is not None
        yield lock
        await lock.release()


async def test_a_count_that_is_sent_again() -> None:
    """Interference finds a retry that takes effect twice."""
    role = _with(CountsAgain)
    first, second = _operation(role, "step count"), _operation(role, "status")
    assert len((await interfere(role, [(first, second)])).violations) == 1
    assert not (await interfere(STATE, [(first, second)])).violations


async def test_an_old_holder_who_is_heard_again() -> None:
    """Fenced retries find a retry that overrules a newer holder."""
    role = _with(ForgetsItsToken)
    status, count = _operation(role, "status"), _operation(role, "step count")
    assert len((await retried_by_caller(role, [(status, status), (status, count)])).violations) == 2
    assert not (await retried_by_caller(STATE, [(status, status), (status, count)])).violations


async def test_a_call_in_two_batches() -> None:
    """Cancellation finds a call that may happen by half."""
    role = _with(InTwoBatches)
    _, wrong = await cancellations(role, _operation(role, "append"))
    assert any("half-done" in each for each in wrong)


async def test_a_cancellation_that_is_swallowed() -> None:
    """Cancellation finds a call that does not end."""
    role = _with(Deaf)
    _, wrong = await cancellations(role, _operation(role, "status"))
    assert any("the cancellation became 0" in each for each in wrong)


async def test_a_lock_that_stays() -> None:
    """Cancellation finds a block that leaves its lock behind."""

    class World(LockWorld):
        manager_type = Forgets

    role = replace(LOCKS, open=World.open)
    _, wrong = await cancellations(role, _operation(role, "a lock in a block"))
    assert any("held for nobody: a" in each for each in wrong)


async def test_arguments_that_are_read_late() -> None:
    """Aliasing finds a call that stores what its argument became."""
    role = _with(Hesitates)
    tried, wrong = await aliases(role, _operation(role, "merge"))
    assert tried > 0
    assert len(wrong) == 1
