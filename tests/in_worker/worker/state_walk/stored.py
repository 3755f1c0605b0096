"""What the model stores, and how its writes begin and end: the guard, the fence, the commits that are remembered."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from agents_store_cloudflare.contract.errors import (
    InvalidArgumentError,
    StaleFencingTokenError,
    StaleStateError,
    StateNotFoundError,
)
from agents_store_cloudflare.contract.json_types import JsonObject
from agents_store_cloudflare.contract.state.marks import AnyVersion
from agents_store_cloudflare.contract.state.records import (
    AgentState,
    Checkpoint,
    Message,
    Run,
    StagedChange,
    SubSessionRef,
)

T = TypeVar("T")

REMEMBERED = 32
READ_AFTERWARDS = {
    *("create_session", "update_state", "merge_custom_state", "promote_staging", "save_state_and_promote_staging"),
    *("save_checkpoint", "restore_checkpoint", "fork_session", "start_run", "update_run"),
}
"""Operations whose result needs the session, or holds text: once that is deleted, a repetition says so."""

MOST_STATE_BYTES = 1_800_000


@dataclass(slots=True, kw_only=True)
class Twin:
    """A state that somebody holds, with what the store knew of it when it was loaded or saved."""

    state: AgentState
    first: int = 0
    count: int = 0
    epoch: int = 0
    known: list[Message] = field(default_factory=list[Message])

    def new_messages(self) -> list[Message]:
        """The messages to save.

        Raises:
            StaleStateError: those that are stored were changed.
        """
        known = self.count - self.first
        if len(self.state.messages) < known:
            actual = self.first + len(self.state.messages)
            raise StaleStateError(self.state.session_id, reason="edited", expected=self.count, actual=actual)
        if repr(self.state.messages[:known]) != repr(self.known):
            raise StaleStateError(self.state.session_id, reason="edited", expected=self.count, actual=self.count)
        return deepcopy(self.state.messages[known:])

    def text(self) -> str:
        """What a save of it would make of the session."""
        return repr((self.first, replace(self.state, version=0, created_at=None, updated_at=None, stored_history=None)))

    def saved(self, commit: Commit[Any]) -> None:
        """Bring it up to date with the write that saved it, unless it knows a later one."""
        if commit.past or commit.version <= self.state.version:
            return
        self.count, self.epoch = commit.count_after, commit.epoch
        self.known = deepcopy(self.state.messages[: self.count - self.first])
        self.state.version, self.state.updated_at = commit.version, commit.at_ms
        if commit.version == 1:
            self.state.created_at = commit.at_ms


@dataclass(slots=True, kw_only=True)
class Commit(Generic[T]):
    """A write that took place."""

    commit_id: str | None
    operation: str
    requests: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    past: bool = False
    version: int
    count_before: int
    count_after: int
    checkpoint_number: int
    at_ms: int
    epoch: int
    result: T


@dataclass(slots=True, kw_only=True)
class Kept:
    """A checkpoint: its number, and the state as it stood."""

    number: int
    bare: Checkpoint
    state: AgentState


@dataclass(slots=True, kw_only=True)
class SessionModel:
    """One session. `state` has all the messages."""

    state: AgentState
    epoch: int
    checkpoints: list[Kept] = field(default_factory=list[Kept])
    kept_by: dict[str | None, Checkpoint] = field(default_factory=dict[str | None, Checkpoint])
    checkpoint_count: int = 0
    staged: dict[tuple[str, str], tuple[int, StagedChange]] = field(
        default_factory=dict[tuple[str, str], tuple[int, StagedChange]]
    )
    staged_count: int = 0
    runs: list[Run] = field(default_factory=list[Run])
    refs: list[SubSessionRef] = field(default_factory=list[SubSessionRef])
    commits: list[Commit[Any]] = field(default_factory=list[Commit[Any]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """What a write demands before it takes place."""

    session_id: str
    operation: str
    token: int | None
    commit_id: str | None
    must_exist: bool = True
    version: int | None = None
    history: tuple[int, int] | None = None
    parent: tuple[str | None] | None = None
    conditions: tuple[Callable[[], None], ...] = ()


class GuardedModel:
    """What is stored, and how every write of the model begins and ends.

    Args:
        now_ms: the clock that the store under test reads too.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self.database_now_ms = now_ms
        self._epochs = 0
        self.sessions: dict[str, SessionModel] = {}
        self.fences: dict[str, int] = {}
        self.past: dict[str, list[Commit[Any]]] = {}
        self.deletions: dict[str, list[Commit[Any]]] = {}
        self.left_streams: dict[str, str] = {}
        self.lives: dict[str, int] = {}
        self.left_children: dict[str, dict[str, int]] = {}
        self.request: tuple[str, str] = ("", "")  # of the call under way: its arguments, and the state that it saves

    def guard(self, write: Write) -> Commit[Any] | None:
        """The earlier commit of this id, or None when the write may take place; then the fence has risen."""
        session = self.sessions.get(write.session_id)
        if (first := self.remembered(write)) is not None:
            return first
        fence = self.fences.get(write.session_id, 0)
        if write.token is not None and write.token < fence:
            raise StaleFencingTokenError(write.session_id, expected=fence, actual=write.token)
        self._judge(write, session)
        for condition in write.conditions:
            condition()
        if write.token is not None:
            self.fences[write.session_id] = write.token
        return None

    def request_of(self, twin: Twin) -> tuple[str, str]:
        """The call under way, as a call with this state: the state may have been changed by it."""
        return (self.request[0], twin.text())

    def known(self, session_id: str, commit_id: str | None) -> Commit[Any] | None:
        """The write or deletion of that commit id, whatever request it was."""
        if commit_id is None:
            return None
        session = self.sessions.get(session_id)
        living = session.commits[-REMEMBERED:] if session else []
        past = [*self.past.get(session_id, []), *self.deletions.get(session_id, [])]
        return next((commit for commit in (*living, *past) if commit.commit_id == commit_id), None)

    def remembered(self, write: Write) -> Commit[Any] | None:
        """The first result of a call that is repeated; its token counts."""
        first = self.known(write.session_id, write.commit_id)
        if first is None:
            return None
        if first.operation != write.operation or self.request not in first.requests:
            raise InvalidArgumentError("another request's")
        fence = self.fences.get(write.session_id, 0)
        if write.token is not None and write.token > fence:
            self.fences[write.session_id] = write.token
        if first.past and write.operation in READ_AFTERWARDS:
            raise StateNotFoundError(write.session_id, deleted_since=True)
        return first

    def _judge(self, write: Write, session: SessionModel | None) -> None:
        if write.must_exist and session is None:
            raise StateNotFoundError(write.session_id)
        version = session.state.version if session else 0
        if write.version is not None and write.version != version:
            raise StaleStateError(write.session_id, reason="version", expected=write.version, actual=version)
        if write.history is not None:
            count, epoch = write.history
            stored = len(session.state.messages) if session else 0
            if count != stored or (epoch and epoch != (session.epoch if session else 0)):
                raise StaleStateError(write.session_id, reason="history", expected=count, actual=stored)
        if write.parent and session and write.parent[0] != session.state.parent_session_id:
            raise InvalidArgumentError("another parent")

    def commit(
        self, write: Write, session: SessionModel, result: T, count_before: int, *, touches: bool = False
    ) -> Commit[T]:
        """Remember a write that has changed the session; unless it only `touches` it, the version rises."""
        if not touches:
            session.state.version += 1
            session.state.updated_at = self._now_ms()
        commit = Commit(
            commit_id=write.commit_id,
            operation=write.operation,
            requests={self.request},
            version=session.state.version,
            count_before=count_before,
            count_after=len(session.state.messages),
            checkpoint_number=session.checkpoint_count,
            at_ms=self._now_ms(),
            epoch=session.epoch,
            result=result,
        )
        session.commits.append(commit)
        return commit

    def new_epoch(self) -> int:
        self._epochs += 1
        return self._epochs

    def _start(self, state: AgentState) -> SessionModel:
        """A new session of that state, at version 0: the commit makes it 1."""
        stored = deepcopy(state)
        stored.version, stored.created_at = 0, self._now_ms()
        session = SessionModel(state=stored, epoch=self.new_epoch())
        self.sessions[state.session_id] = session
        return session

    def twin_of(self, session: SessionModel, wanted: int | None = None) -> Twin:
        """The session as somebody loads it, with the last `wanted` messages."""
        state = deepcopy(session.state)
        count = len(state.messages)
        first = 0 if wanted is None else max(count - wanted, 0)
        del state.messages[:first]
        return Twin(state=state, first=first, count=count, epoch=session.epoch, known=deepcopy(state.messages))

    def save_guard(
        self,
        twin: Twin,
        operation: str,
        expected_version: int | AnyVersion | None,
        token: int | None,
        commit_id: str | None,
    ) -> Write:
        """What a save of it demands.

        Raises:
            StaleStateError: its stored messages were changed.
        """
        twin.new_messages()
        version = twin.state.version if expected_version is None else expected_version
        return Write(
            session_id=twin.state.session_id,
            operation=operation,
            token=token,
            commit_id=commit_id,
            must_exist=False,
            version=None if isinstance(version, AnyVersion) else version,
            history=(twin.count, twin.epoch),
            parent=(twin.state.parent_session_id,),
        )

    def put(self, twin: Twin, write: Write, result: T, custom_state: JsonObject | None = None) -> Commit[T]:
        """Store it, after the guard has let it pass."""
        session = self.sessions.get(write.session_id) or self._start(replace(twin.state, messages=[]))
        before, stored = session.state, deepcopy(twin.state)
        if custom_state is not None:
            stored.custom_state = deepcopy(custom_state)
        stored.messages = before.messages + twin.new_messages()
        stored.version, stored.created_at = before.version, before.created_at
        session.state = stored
        return self.commit(write, session, result, len(before.messages))

    def existing(self, session_id: str) -> SessionModel:
        """The session.

        Raises:
            StateNotFoundError: there is none.
        """
        if session_id not in self.sessions:
            raise StateNotFoundError(session_id)
        return self.sessions[session_id]

    def change(self, write: Write, change: Callable[[SessionModel], T], *, touches: bool = False) -> Commit[T]:
        """A write to a session that must exist."""
        if (first := self.guard(write)) is not None:
            return first
        session = self.sessions[write.session_id]
        before = len(session.state.messages)
        return self.commit(write, session, change(session), before, touches=touches)
