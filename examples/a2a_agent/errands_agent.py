"""The agent, and the SDK's request handler over tasks in D1.

The SDK's own HTTP server needs Starlette. A Worker is the server already, so it calls the handler itself.
"""

import uuid
import warnings
from collections.abc import Mapping
from typing import Any

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.context import ServerCallContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandlerV2
from a2a.server.tasks import TaskUpdater
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    CancelTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageRequest,
    Task,
    TaskState,
    TaskStatus,
)
from a2a.utils.errors import A2AError

from agents_store_cloudflare.adapters.a2a import D1TaskStore

__all__ = ["A2AError", "cancel", "send", "tasks"]

CALL = ServerCallContext()
KNOWN = ("milk", "bread")


class Errands(AgentExecutor):
    """Stands for an agent with a model: it buys what it knows, and asks how much of everything else. It always answers alike."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Do the errand of a new task, or go on with a task that waits for an answer."""
        task_id, context_id = str(context.task_id), str(context.context_id)
        said = context.get_user_input()
        updater = TaskUpdater(event_queue, task_id, context_id)
        if context.current_task is None:
            status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
            await event_queue.enqueue_event(Task(id=task_id, context_id=context_id, status=status))
            if said not in KNOWN:
                question = Message(
                    message_id=uuid.uuid4().hex, role=Role.ROLE_AGENT, parts=[Part(text=f"how much {said}?")]
                )
                await updater.requires_input(question)
                return
        await updater.add_artifact([Part(text=f"bought: {said}")])
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """End the task."""
        await TaskUpdater(event_queue, str(context.task_id), str(context.context_id)).cancel()


def _handler(database: Any) -> Any:  # the SDK's decorators hide the types of its calls
    """Return the server of one request."""
    card = AgentCard(name="errands", description="Buys things.", version="1", capabilities=AgentCapabilities())
    with warnings.catch_warnings(action="ignore"):  # the SDK misses an event stream and push notifications
        return DefaultRequestHandlerV2(agent_executor=Errands(), task_store=D1TaskStore(database), agent_card=card)


async def send(database: Any, query: Mapping[str, str]) -> object:
    """Send a message to the agent, and return the task when it has ended or waits."""
    message = Message(
        message_id=uuid.uuid4().hex,
        context_id=query.get("context", "ada"),
        task_id=query.get("task", ""),
        role=Role.ROLE_USER,
        parts=[Part(text=query.get("say", "milk"))],
    )
    return _shown(await _handler(database).on_message_send(SendMessageRequest(message=message), CALL))


async def tasks(database: Any, query: Mapping[str, str]) -> object:
    """Return the tasks of a context."""
    request = ListTasksRequest(context_id=query.get("context", "ada"), include_artifacts=True)
    return [_shown(each) for each in (await _handler(database).on_list_tasks(request, CALL)).tasks]


async def cancel(database: Any, query: Mapping[str, str]) -> object:
    """Cancel a task. The SDK refuses it if the task has ended."""
    return _shown(await _handler(database).on_cancel_task(CancelTaskRequest(id=query.get("task", "")), CALL))


def _shown(task: Task) -> dict[str, object]:
    asked = [part.text for part in task.status.message.parts]
    brought = [part.text for artifact in task.artifacts for part in artifact.parts]
    return {
        "task": task.id,
        "state": TaskState.Name(task.status.state).removeprefix("TASK_STATE_").lower(),
        "said": [*asked, *brought],
    }
