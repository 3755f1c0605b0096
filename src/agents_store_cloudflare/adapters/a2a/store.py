"""`D1TaskStore`: the tasks of an A2A server in D1."""

from __future__ import annotations

import builtins
import secrets
from typing import Final, cast

from a2a.server.cluster.task_store import ConcurrentTaskModificationError, StoredTask, VersionedTaskStore
from a2a.server.cluster.version import TaskVersion
from a2a.server.context import ServerCallContext
from a2a.server.events.event_queue import Event
from a2a.server.owner_resolver import OwnerResolver, resolve_user_scope
from a2a.types.a2a_pb2 import ListTasksRequest, ListTasksResponse, Task, TaskState
from a2a.utils.constants import DEFAULT_LIST_TASKS_PAGE_SIZE
from a2a.utils.errors import InvalidParamsError
from a2a.utils.task import ListTasksCursor, decode_list_tasks_cursor, encode_list_tasks_cursor

from agents_store_cloudflare.adapters.a2a import tasks_sql
from agents_store_cloudflare.adapters.a2a.plain import PlainTasks
from agents_store_cloudflare.adapters.a2a.rows import FIRST, body_of, position_at, session_of, task_of, updated_at
from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, check_fencing_token, check_id, check_text
from agents_store_cloudflare.contract.errors import D1StateError, InvalidArgumentError
from agents_store_cloudflare.database import Homes, OneDatabase, Row, SqlValue, Statement
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state.fencing import Faults, fenced_batch

__all__ = ["D1TaskStore"]

MOST_CHARACTERS: Final = 4_000_000
"""The most characters of a page of tasks after its first task. The memory of a Worker is small."""


class D1TaskStore(VersionedTaskStore):
    """A2A's `VersionedTaskStore` on D1, or on sqlite in tests. Each call is one batch, which is one transaction.

    A task belongs to the session of its context id, and to the owner of the call. `run_migration` or `setup()` makes the tables.

    Args:
        database: a D1 binding (`env.AGENT_DB`) or a `Database` (`testing.SqliteDatabase`). Homes do not work, because a task is
            asked for without its context.
        fencing_token: the lock of the context, or its token. Every write compares it, in its own transaction, with the highest
            token that the state store or any adapter has seen for the session of the context id.
        owner_resolver: returns the owner whose tasks a call may see, as in the SDK's own stores. The default is the name of the
            user.

    Example:
        >>> tasks = D1TaskStore(env.AGENT_DB)
        >>> handler = DefaultRequestHandler(agent_executor=executor, task_store=tasks, agent_card=card)

    Every write may raise `StaleFencingTokenError` (a newer holder of the lock has written), `ForeignValueError` (JSON cannot hold
    the task, or it is too large) and `D1StateError` (the database failed). Then nothing was written.
    """

    def __init__(
        self,
        database: object,
        *,
        fencing_token: FencingToken = UNSET,
        owner_resolver: OwnerResolver = resolve_user_scope,
    ) -> None:
        if isinstance(database, Homes) and not isinstance(database, OneDatabase):
            raise InvalidArgumentError(
                "tasks cannot live in homes: A2A asks for a task without its context. Give the D1 binding"
            )
        self._database = database
        self._homes: Homes = database if isinstance(database, OneDatabase) else OneDatabase(as_database(database))
        self._token = check_fencing_token(fencing_token)
        self._owner = owner_resolver

    @property
    def as_task_store(self) -> PlainTasks:
        """A new `TaskStore` over this one, for code of the SDK that knows no versions. Make one per request."""
        return PlainTasks(self, self._owner)

    async def setup(self) -> None:
        """Make the tables, as `run_migration` does. You may call it again.

        Raises:
            MigrationError: the database is newer than this code.

        Cost: 1 D1 batch (1 row read).
        """
        await run_migration(self._database)

    async def save(
        self,
        task: Task,
        *,
        event: Event | None = None,  # noqa: ARG002 - the SDK passes it
        prev: Task | None = None,  # noqa: ARG002
        prev_version: TaskVersion,
        context: ServerCallContext,
    ) -> TaskVersion:
        """Store a task if the version from which it was made is the stored one. It costs one batch.

        A task that has ended does not change. A cancellation needs no version: it ends every task that has not ended.

        Args:
            task: the task. The call takes its own copy before it waits.
            event: it is not stored.
            prev: it is not used.
            prev_version: the version that `get` or `save` returned; `TaskVersion.MISSING` for a new task.
            context: the context of the call, with its user.

        Returns:
            The version that is stored now.

        Raises:
            ConcurrentTaskModificationError: another version is stored, or the task has ended.
            StaleFencingTokenError: a newer holder of the lock has written. This error is raised even if there is a conflict too.
            ForeignValueError: JSON cannot hold the task, or it is too large.
            InvalidArgumentError: the task is stored with another context, or an id is not valid.

        Cost: 1 D1 batch (1-2 rows read, 2-3 written).
        """
        owner, task_id, session_id = self._owner_of(context), check_id(task.id, "task.id"), _session(task)
        state, write_id = int(task.status.state), secrets.token_urlsafe(9)
        cancels = state == TaskState.TASK_STATE_CANCELED
        guard = (owner, task_id, session_id, _text_of(prev_version), write_id, state, int(cancels))
        row = (owner, task_id, session_id, write_id, state, updated_at(task), body_of(task))
        faults: Faults = {
            "done": lambda facts: _SavedAlreadyError(facts["version"]),
            "conflict": lambda _: ConcurrentTaskModificationError(task_id),
            "context": lambda _: InvalidArgumentError(f"task {task_id!r} is stored with another context id"),
        }
        statements = [Statement(tasks_sql.GUARD_SAVE, guard), Statement(tasks_sql.UPSERT, row)]
        try:
            _, saved = await fenced_batch(self._homes, "save", session_id, statements, token=self._token, faults=faults)
        except _SavedAlreadyError as done:
            return _Version(done.version)
        return _Version(cast("str", saved[0][0]))

    async def get(self, task_id: str, context: ServerCallContext) -> StoredTask | None:
        """Return a task with its version, or None if it is not stored for this owner. It costs one batch.

        Raises:
            ForeignValueError: another program or a newer version wrote the row.

        Cost: 1 D1 batch (1 row read).
        """
        row = await self._row(self._owner_of(context), check_id(task_id, "task_id"))
        return None if row is None else StoredTask(task_of(task_id, row[2]), _Version(cast("str", row[0])))

    async def list(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """Return a page of the owner's tasks, the newest status first. It costs one batch.

        A page ends after 4,000,000 characters of tasks. If more tasks follow, the page has a token.

        Raises:
            InvalidParamsError: the page's size or token is not valid.
            ForeignValueError: another program or a newer version wrote a task.

        Cost: 1 D1 batch (10 rows read).
        """
        size = params.page_size or DEFAULT_LIST_TASKS_PAGE_SIZE
        if size < 0:
            raise InvalidParamsError(f"page_size is {size}; it must be 0 (the default) or more")
        filters = (self._owner_of(context), *_filters(params))
        counted = Statement(tasks_sql.COUNT, filters)
        paged = Statement(tasks_sql.SELECT_PAGE, (*filters, *_position(params.page_token), size + 1, MOST_CHARACTERS))
        [total], rows = await fenced_batch(self._homes, "list", "*", [counted, paged])
        tasks = [task_of(cast("str", task_id), body) for task_id, body, _ in rows[:size]]
        has_more = bool(rows) and cast("int", rows[0][2]) > len(tasks)
        return ListTasksResponse(
            tasks=tasks,
            total_size=cast("int", total[0]),
            page_size=size,
            next_page_token=_token_after(tasks[-1]) if has_more else "",
        )

    async def delete(self, task_id: str, context: ServerCallContext) -> None:
        """Delete a task of this owner. A missing task is no error. It costs two batches.

        A task that others have made anew since the call began stays.

        Raises:
            StaleFencingTokenError: a newer holder of the lock has written.
            D1StateError: others have saved the task at least 16 times while the call waited. Nothing of theirs is deleted.

        Cost: 2 D1 batches (2 rows read, 1 written).
        """
        owner, own = self._owner_of(context), check_id(task_id, "task_id")
        row = await self._row(owner, own)
        if row is None:
            return
        version, session_id, _ = row
        statement = Statement(tasks_sql.DELETE, (owner, own, version))
        faults: Faults = {
            "unknown": lambda _: D1StateError(
                f"others have saved task {own!r} 16 times or more while its deletion waited; read it before you delete it again",
                outcome_unknown=True,
            )
        }
        await fenced_batch(
            self._homes, "delete", cast("str", session_id), [statement], token=self._token, faults=faults
        )

    async def _row(self, owner: str, task_id: str) -> Row | None:
        statement = Statement(tasks_sql.SELECT_TASK, (owner, task_id))
        [rows] = await fenced_batch(self._homes, "get", task_id, [statement])
        return rows[0] if rows else None

    def _owner_of(self, context: ServerCallContext) -> str:
        return check_text(self._owner(context), "the owner", empty=True)


class _Version(TaskVersion):
    """The version of a stored row."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class _SavedAlreadyError(Exception):
    """The write is stored already, because the reply to an earlier attempt was lost. Callers do not get this error."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.version = version


def _text_of(version: TaskVersion) -> str | None:
    if version.is_missing:
        return None
    if not isinstance(version, _Version):
        raise InvalidArgumentError(f"prev_version must be one that this store gave or MISSING, got {version!r}")
    return version.text


def _session(task: Task) -> str:
    return check_id(session_of(task), "task.context_id")


def _filters(params: ListTasksRequest) -> tuple[SqlValue, ...]:
    after = params.status_timestamp_after.ToNanoseconds() if params.HasField("status_timestamp_after") else None
    return (params.context_id or None, int(params.status) or None, position_at(after))


def _position(page_token: str) -> builtins.list[SqlValue]:
    if not page_token:
        return [FIRST, ""]
    cursor = decode_list_tasks_cursor(page_token)
    if cursor is None:
        raise InvalidParamsError(f"Invalid page token: {page_token}")
    return [position_at(cursor.timestamp_ns), cursor.task_id]


def _token_after(task: Task) -> str:
    has_time = updated_at(task) != ""
    timestamp_ns = task.status.timestamp.ToNanoseconds() if has_time else None
    return encode_list_tasks_cursor(ListTasksCursor(timestamp_ns=timestamp_ns, task_id=task.id))
