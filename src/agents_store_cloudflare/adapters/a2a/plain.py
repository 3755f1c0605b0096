"""The tasks for code of the A2A SDK that knows no versions."""

from __future__ import annotations

from typing import Final

from a2a.server.cluster.task_store import VersionedTaskStore
from a2a.server.cluster.version import TaskVersion
from a2a.server.context import ServerCallContext
from a2a.server.owner_resolver import OwnerResolver
from a2a.server.tasks.task_store import TaskStore
from a2a.types.a2a_pb2 import ListTasksRequest, ListTasksResponse, Task

__all__ = ["MOST_KNOWN", "PlainTasks"]

MOST_KNOWN: Final = 1_000
"""The tasks whose versions are remembered, the newest. A save of another stored task is refused until it is read again."""


class PlainTasks(TaskStore):
    """A `TaskStore` over a versioned one. It remembers the version of each task that it has read or stored. Make one per request.

    So a save that follows a read is refused if somebody else has saved in between, and a stored task that was not read is not overwritten.
    `D1TaskStore.as_task_store` makes it.
    """

    def __init__(self, tasks: VersionedTaskStore, owner_resolver: OwnerResolver) -> None:
        self._tasks = tasks
        self._owner = owner_resolver
        self._versions: dict[tuple[str, str], TaskVersion] = {}

    async def save(self, task: Task, context: ServerCallContext) -> None:
        """Store a task. Costs one batch.

        Raises:
            ConcurrentTaskModificationError: somebody else has saved since the task was read here, or the task has ended.
            StaleFencingTokenError, ForeignValueError: as `D1TaskStore.save`.
        """
        key = self._owner(context), task.id
        known = self._versions.get(key, TaskVersion.MISSING)
        self._remember(key, await self._tasks.save(task, event=None, prev=None, prev_version=known, context=context))

    async def get(self, task_id: str, context: ServerCallContext) -> Task | None:
        """Return a task of the owner, or None. Costs one batch.

        Raises:
            ForeignValueError: another program or a newer version wrote it.
        """
        key = self._owner(context), task_id
        stored = await self._tasks.get(task_id, context)
        if stored is None:
            self._versions.pop(key, None)
            return None
        self._remember(key, stored.version)
        return stored.task

    async def list(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """Return a page of the owner's tasks, as `D1TaskStore.list`. A listed task counts as not read."""
        return await self._tasks.list(params, context)

    async def delete(self, task_id: str, context: ServerCallContext) -> None:
        """Delete a task of the owner, as `D1TaskStore.delete`."""
        key = self._owner(context), task_id
        await self._tasks.delete(task_id, context)
        self._versions.pop(key, None)

    def _remember(self, key: tuple[str, str], version: TaskVersion) -> None:
        self._versions.pop(key, None)
        self._versions[key] = version
        while len(self._versions) > MOST_KNOWN:
            del self._versions[next(iter(self._versions))]
