"""Tasks and calls for the tests of the A2A adapter."""

from typing import Any

from a2a.auth.user import User
from a2a.server.context import ServerCallContext
from a2a.types.a2a_pb2 import Message, Part, Role, Task, TaskState, TaskStatus

__all__ = ["CONTEXT", "STATES", "Named", "call_of", "message", "task", "texts_of"]

CONTEXT = "thread"
STATES: list[Any] = TaskState.values()
"""Every state of the protocol."""


class Named(User):
    """A user by name."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def is_authenticated(self) -> bool:
        """True when the user has signed in."""
        return True

    @property
    def user_name(self) -> str:
        """The name."""
        return self._name


def call_of(user: str = "ada") -> ServerCallContext:
    """Return the call context of a user."""
    return ServerCallContext(user=Named(user))


def message(text: str) -> Message:
    """Return a message of the user with one text."""
    return Message(message_id=f"m-{text[:9]}", role=Role.ROLE_USER, parts=[Part(text=text)])


def task(
    task_id: str = "task",
    *texts: str,
    state: TaskState = TaskState.TASK_STATE_WORKING,
    context_id: str = CONTEXT,
    time_ns: int | None = None,
) -> Task:
    """Return a task with a history of texts."""
    made = Task(
        id=task_id,
        context_id=context_id,
        status=TaskStatus(state=state),
        history=[message(text) for text in texts],
    )
    if time_ns is not None:
        made.status.timestamp.FromNanoseconds(time_ns)
    return made


def texts_of(found: Task) -> list[str]:
    """Return the texts of a task's history."""
    return [part.text for each in found.history for part in each.parts]
