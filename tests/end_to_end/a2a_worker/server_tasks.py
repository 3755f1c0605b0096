"""What the test asks for: each function returns what it saw."""

import asyncio
import uuid
import warnings
from typing import Any

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.cluster.task_store import ConcurrentTaskModificationError
from a2a.server.cluster.version import TaskVersion
from a2a.server.context import ServerCallContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandlerV2
from a2a.server.tasks import TaskUpdater
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageRequest,
    Task,
    TaskState,
    TaskStatus,
)

from agents_store_cloudflare.adapters.a2a import D1TaskStore, ForeignValueError
from agents_store_cloudflare.contract.errors import StaleFencingTokenError

__all__ = ["answer", "cancel", "fence", "large"]

CALL = ServerCallContext()


class Guide(AgentExecutor):
    """An agent that answers when it may."""

    def __init__(self, *, at_once: bool = False) -> None:
        self.may_answer = asyncio.Event()
        if at_once:
            self.may_answer.set()

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Make the task, wait, answer."""
        status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
        await event_queue.enqueue_event(Task(id=context.task_id, context_id=context.context_id, status=status))
        updater = TaskUpdater(event_queue, str(context.task_id), str(context.context_id))
        await updater.start_work()
        await self.may_answer.wait()
        await updater.add_artifact([Part(text="the answer")])
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """End it."""
        await TaskUpdater(event_queue, str(context.task_id), str(context.context_id)).cancel()


def question(context_id: str = "") -> SendMessageRequest:
    """A question of its own: the SDK writes the task's id into its message."""
    message = Message(message_id="m", context_id=context_id, role=Role.ROLE_USER, parts=[Part(text="q")])
    return SendMessageRequest(message=message)


def server(database: Any, agent: Guide) -> Any:  # the SDK's decorators hide the types of its calls
    """One request's server."""
    card = AgentCard(name="guide", description="d", version="1", capabilities=AgentCapabilities())
    with warnings.catch_warnings(action="ignore"):  # the card's missing parts
        return DefaultRequestHandlerV2(agent_executor=agent, task_store=D1TaskStore(database), agent_card=card)


async def answer(database: Any) -> object:
    """A message becomes a task that another server shows and lists."""
    told = await server(database, Guide(at_once=True)).on_message_send(question(), CALL)
    other = server(database, Guide())
    found = await other.on_get_task(GetTaskRequest(id=told.id), CALL)
    listed = await other.on_list_tasks(ListTasksRequest(context_id=told.context_id), CALL)
    return [
        TaskState.Name(found.status.state),
        [part.text for artifact in found.artifacts for part in artifact.parts],
        [each.id == told.id for each in listed.tasks],
    ]


async def cancel(database: Any) -> object:
    """Another server cancels; the agent that is still at work wakes, and the task stays cancelled."""
    agent, tasks = Guide(), D1TaskStore(database)
    own = uuid.uuid4().hex  # other tests leave tasks at work in this database
    asking = asyncio.ensure_future(server(database, agent).on_message_send(question(own), CALL))
    wanted = ListTasksRequest(context_id=own, status=TaskState.TASK_STATE_WORKING)
    found: list[Task] = []
    while not found and not asking.done():  # a read gives the agent's task its turn
        found = list((await tasks.list(wanted, CALL)).tasks)
    task_id = found[0].id
    await server(database, Guide()).on_cancel_task(CancelTaskRequest(id=task_id), CALL)
    agent.may_answer.set()
    told = await asking
    kept = await tasks.get(task_id, CALL)
    assert kept is not None
    return [TaskState.Name(told.status.state), TaskState.Name(kept.task.status.state), len(kept.task.artifacts)]


async def fence(database: Any) -> object:
    """Two writers, without a lock and with one."""
    outcomes: list[object] = []
    tasks, working = D1TaskStore(database), TaskStatus(state=TaskState.TASK_STATE_WORKING)
    task = Task(id=uuid.uuid4().hex, context_id=uuid.uuid4().hex, status=working)
    first = await tasks.save(task, prev_version=TaskVersion.MISSING, context=CALL)
    try:
        await tasks.save(task, prev_version=TaskVersion.MISSING, context=CALL)
    except ConcurrentTaskModificationError as error:
        outcomes.append("conflict" if error.task_id == task.id else error.task_id)
    await D1TaskStore(database, fencing_token=4).save(task, prev_version=first, context=CALL)
    try:
        await D1TaskStore(database, fencing_token=3).save(task, prev_version=first, context=CALL)
    except StaleFencingTokenError as error:
        outcomes.append([error.expected, error.actual])
    return outcomes


async def large(database: Any) -> object:
    """A task near the 2 MB of a row comes back, one above is refused."""
    tasks = D1TaskStore(database)
    task = Task(id=uuid.uuid4().hex, context_id="c", history=[Message(parts=[Part(text="ё" * 900_000)])])
    version = await tasks.save(task, prev_version=TaskVersion.MISSING, context=CALL)
    found = await tasks.get(task.id, CALL)
    assert found is not None
    task.history.extend(list(task.history))
    try:
        await tasks.save(task, prev_version=version, context=CALL)
    except ForeignValueError as error:
        return [len(found.task.history[0].parts[0].text), error.code]
    return None
