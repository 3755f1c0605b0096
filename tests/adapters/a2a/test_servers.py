"""The SDK's own request handlers over one database: as two Workers that serve one agent."""

import asyncio
import random
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandlerV2
from a2a.server.tasks import TaskUpdater
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Part,
    SendMessageRequest,
    Task,
    TaskState,
)

from agents_store_cloudflare.adapters.a2a import D1TaskStore
from agents_store_cloudflare.database import Database, Row, Statement
from agents_store_cloudflare.testing import SqliteDatabase
from tests.adapters.a2a.tasks import call_of, message, task

ADA = call_of()


class Waiting(AgentExecutor):
    """An agent that makes a task and answers when the test allows it. A cancellation does nothing more."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Make the task, wait, then answer."""
        assert context.task_id is not None
        assert context.context_id is not None
        made = task(context.task_id, context_id=context.context_id)
        await event_queue.enqueue_event(made)
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        await self.may_answer.wait()
        await updater.add_artifact([Part(text="the answer")])
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Leave the cancellation to the server."""
        assert context.task_id is not None
        assert context.context_id is not None
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


class Slow:
    """A database whose answers let other tasks run a random number of times, before the batch and after it."""

    def __init__(self, inner: Database, seed: int) -> None:
        self._inner = inner
        self._random = random.Random(seed)

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Wait, run the batch, wait."""
        await self._wait()
        results = await self._inner.batch(statements)
        await self._wait()
        return results

    async def _wait(self) -> None:
        for _ in range(self._random.choice((0, 1, 2, 5, 20))):
            await asyncio.sleep(0)


def server(database: Database, agent: AgentExecutor) -> Any:  # the SDK's decorators hide the types of its calls
    """Return one Worker's server."""
    card = AgentCard(
        name="guide",
        description="d",
        version="1",
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text"],
        default_output_modes=["text"],
    )
    with warnings.catch_warnings(action="ignore"):  # the card's missing parts, and that events stay in their Worker
        return DefaultRequestHandlerV2(agent_executor=agent, task_store=D1TaskStore(database), agent_card=card)


async def test_a_message_becomes_a_task(database: SqliteDatabase) -> None:
    """A2-1: The SDK's server runs an agent, and another server on the same database shows and lists its task."""
    agent = Waiting()
    agent.may_answer.set()
    first, second = server(database, agent), server(database, agent)
    answered = await first.on_message_send(SendMessageRequest(message=message("q")), ADA)
    assert isinstance(answered, Task)
    assert answered.status.state == TaskState.TASK_STATE_COMPLETED
    found = await second.on_get_task(GetTaskRequest(id=answered.id), ADA)
    assert found is not None
    assert [part.text for artifact in found.artifacts for part in artifact.parts] == ["the answer"]
    listed = await second.on_list_tasks(ListTasksRequest(), ADA)
    assert [each.id for each in listed.tasks] == [answered.id]
    await first.aclose()
    await second.aclose()


@pytest.mark.parametrize("seed", range(40))
async def test_a_task_that_another_worker_cancelled(database: SqliteDatabase, seed: int) -> None:
    """A2-2: When the Worker that is still at work answers, the task stays cancelled, and the answer is not stored.

    Its client is told so. The order of the two servers' batches is random.
    """
    agent, other, slow = Waiting(), Waiting(), Slow(database, seed)
    at_work, elsewhere = server(slow, agent), server(slow, other)
    asking = asyncio.ensure_future(at_work.on_message_send(SendMessageRequest(message=message("q")), ADA))
    known = await _at_work(elsewhere)
    cancelled = await elsewhere.on_cancel_task(CancelTaskRequest(id=known.id), ADA)
    assert cancelled is not None
    assert cancelled.status.state == TaskState.TASK_STATE_CANCELED
    agent.may_answer.set()
    answered = await asking
    assert isinstance(answered, Task)
    assert answered.status.state == TaskState.TASK_STATE_CANCELED
    found = await D1TaskStore(database).get(known.id, ADA)
    assert found is not None
    assert (found.task.status.state, list(found.task.artifacts)) == (TaskState.TASK_STATE_CANCELED, [])
    await at_work.aclose()
    await elsewhere.aclose()


async def _at_work(server: Any) -> Any:
    """Return the task when it is stored as working. The SDK stores an agent's events in a task of its own."""
    for _ in range(1_000):
        found = (await server.on_list_tasks(ListTasksRequest(status=TaskState.TASK_STATE_WORKING), ADA)).tasks
        if found and found[0].status.HasField("timestamp"):
            return found[0]
        await asyncio.sleep(0)
    raise AssertionError("the agent's task was not stored")
