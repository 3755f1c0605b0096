"""A plain model of `StateStore`: dictionaries and lists, one call after the other, no database.

It is what a store must be indistinguishable from when nobody else writes; `state_walk` compares them step by step. Where the store
takes an `AgentState`, the model takes a `Twin` of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, cast

from agents_store_cloudflare.errors import (
    CheckpointKeptError,
    InvalidArgumentError,
    SessionExistsError,
    StaleFencingTokenError,
    StaleStateError,
    StateNotFoundError,
)
from agents_store_cloudflare.json_types import JsonObject, JsonValue
from agents_store_cloudflare.protocols import AnyVersion
from agents_store_cloudflare.records import (
    AgentState,
    CasResult,
    Checkpoint,
    MergeChanges,
    MergeResult,
    Message,
    MessagePage,
    Run,
    SessionTree,
    StagedChange,
    SubSessionRef,
)
from agents_store_cloudflare.state.changes import merge_changes

__all__ = ["Commit", "Kept", "SessionModel", "StateModel", "Twin"]

T = TypeVar("T")

REMEMBERED = 32
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
            raise StaleStateError(self.state.session_id, reason="history", expected=self.count, actual=actual)
        if repr(self.state.messages[:known]) != repr(self.known):
            raise StaleStateError(self.state.session_id, reason="edited", expected=self.count, actual=self.count)
        return deepcopy(self.state.messages[known:])

    def saved(self, commit: Commit[Any]) -> None:
        """Bring it up to date with the write that saved it."""
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


class StateModel:
    """Sessions, messages, deletions; `state_step_model.StepModel` adds the rest.

    Args:
        now_ms: the clock that the store under test reads too.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._epochs = 0
        self.sessions: dict[str, SessionModel] = {}
        self.fences: dict[str, int] = {}
        self.deletions: dict[str, tuple[str, bool]] = {}

    def guard(self, write: Write) -> Commit[Any] | None:
        """The earlier commit of this id, or None when the write may take place; then the fence has risen."""
        session = self.sessions.get(write.session_id)
        if session is not None and write.commit_id is not None:
            for commit in session.commits[-REMEMBERED:]:
                if commit.commit_id == write.commit_id:
                    if commit.operation != write.operation:
                        raise InvalidArgumentError("another operation's")
                    return commit
        fence = self.fences.get(write.session_id, 0)
        if write.token is not None and write.token < fence:
            raise StaleFencingTokenError(write.session_id, expected=fence, actual=write.token)
        self._judge(write, session)
        for condition in write.conditions:
            condition()
        if write.token is not None:
            self.fences[write.session_id] = write.token
        return None

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

    # Sessions

    def create_session(
        self,
        session_id: str,
        *,
        agent_type: str,
        initial_state: JsonObject,
        parent_session_id: str | None,
        exist_ok: bool,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> Twin:
        version = None if exist_ok else 0
        write = Write(
            session_id=session_id,
            operation="create_session",
            token=fencing_token,
            commit_id=commit_id,
            must_exist=False,
            version=version,
        )
        try:
            first = self.guard(write)
        except StaleStateError:
            raise SessionExistsError(session_id) from None
        if first is None and session_id not in self.sessions:
            state = AgentState(session_id=session_id, agent_type=agent_type, custom_state=initial_state)
            state.parent_session_id = parent_session_id
            if parent_session_id is not None:
                parent = self.sessions.get(parent_session_id)
                root = parent.state.root_session_id if parent else None
                state.root_session_id = root or parent_session_id
            self.commit(write, self._start(state), None, 0)
        return self.twin_of(self.sessions[session_id])

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

    def save_state(
        self,
        session_id: str,
        twin: Twin,
        *,
        expected_version: int | AnyVersion | None,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> int:
        write = self.save_guard(twin, "save_state", expected_version, fencing_token, commit_id)
        commit = self.guard(write) or self.put(twin, write, None)
        twin.saved(commit)
        return commit.version

    def update_state(
        self,
        session_id: str,
        change: Callable[[AgentState], None],
        *,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> Twin:
        session = self.existing(session_id)
        twin = self.twin_of(session)
        for commit in session.commits[-REMEMBERED:]:
            if commit_id is not None and commit.commit_id == commit_id:
                if commit.operation != "update_state":
                    raise InvalidArgumentError("another operation's")
                return twin
        change(twin.state)
        write = self.save_guard(twin, "update_state", None, fencing_token, commit_id)
        twin.saved(self.guard(write) or self.put(twin, write, None))
        return twin

    def load_state(self, session_id: str, *, required: bool = False, messages: Any = "all") -> Twin | None:
        session = self.sessions.get(session_id)
        if session is None:
            if required:
                raise StateNotFoundError(session_id)
            return None
        return self.twin_of(session, {"all": None, "none": 0}.get(messages, messages))

    def exists(self, session_id: str) -> bool:
        return session_id in self.sessions

    session_exists = exists

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

    def update_status(self, session_id: str, status: str, *, fencing_token: int | None, commit_id: str | None) -> int:
        write = Write(session_id=session_id, operation="update_status", token=fencing_token, commit_id=commit_id)
        return self.change(write, lambda session: setattr(session.state, "status", status)).version

    def compare_and_set_status(
        self, session_id: str, expected: Sequence[str], new: str, *, fencing_token: int | None, commit_id: str | None
    ) -> CasResult:
        refused: list[CasResult] = []

        def is_expected() -> None:
            state = self.sessions[session_id].state
            if state.status not in expected:
                refused.append(
                    CasResult(ok=False, new_version=None, current_status=state.status, current_version=state.version)
                )
                raise LookupError

        write = Write(
            session_id=session_id,
            operation="compare_and_set_status",
            token=fencing_token,
            commit_id=commit_id,
            conditions=(is_expected,),
        )

        def set_status(session: SessionModel) -> str:
            session.state.status = new
            return new

        try:
            commit = self.change(write, set_status)
        except LookupError:
            return refused[0]
        return CasResult(
            ok=True, new_version=commit.version, current_status=commit.result, current_version=commit.version
        )

    def increment_resume_count(self, session_id: str, *, fencing_token: int | None, commit_id: str | None) -> int:
        return self._increment("resume_count", session_id, fencing_token, commit_id)

    def increment_step_count(self, session_id: str, *, fencing_token: int | None, commit_id: str | None) -> int:
        return self._increment("step_count", session_id, fencing_token, commit_id)

    def _increment(self, name: str, session_id: str, token: int | None, commit_id: str | None) -> int:
        def add(session: SessionModel) -> int:
            count: int = getattr(session.state, name) + 1
            setattr(session.state, name, count)
            return count

        write = Write(session_id=session_id, operation=f"increment_{name}", token=token, commit_id=commit_id)
        return self.change(write, add).result

    def merge_custom_state(
        self,
        session_id: str,
        changes: MergeChanges | Mapping[str, JsonValue],
        *,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> MergeResult:
        self.existing(session_id)

        def merge(session: SessionModel) -> tuple[str, ...]:
            state = session.state
            applied = merge_changes(session_id, state.custom_state, changes, max_bytes=MOST_STATE_BYTES)
            state.custom_state = applied.custom_state
            return applied.warnings

        write = Write(session_id=session_id, operation="merge_custom_state", token=fencing_token, commit_id=commit_id)
        commit = self.change(write, merge)
        return MergeResult(version=commit.version, warnings=commit.result)

    def list_sessions(
        self, *, prefix: str | None, agent_type: str | None, status: str | None, parent_session_id: str | None
    ) -> list[AgentState]:
        """All of them, whatever the pages."""
        found = [session.state for session in reversed(self.sessions.values())]
        return [
            replace(state, messages=[])
            for state in found
            if state.session_id.startswith(prefix or "")
            and agent_type in {None, state.agent_type}
            and status in {None, state.status}
            and parent_session_id in {None, state.parent_session_id}
        ]

    # Messages

    def get_messages(
        self, session_id: str, *, offset: int = 0, limit: int = 50, include_thinking: bool = True
    ) -> MessagePage:
        session = self.sessions.get(session_id)
        stored = session.state.messages if session else []
        page = deepcopy(stored[offset : offset + limit])
        if not include_thinking:
            page = [cast("Message", {key: message[key] for key in message if key != "thinking"}) for message in page]  # type: ignore[literal-required]
        return MessagePage(messages=page, total=len(stored), has_more=offset + len(page) < len(stored))

    def append_messages(
        self, session: str | Twin, messages: Iterable[Message], *, fencing_token: int | None, commit_id: str | None
    ) -> int:
        twin = session if isinstance(session, Twin) else None
        session_id = session.state.session_id if isinstance(session, Twin) else session
        if twin is not None and twin.new_messages():
            raise InvalidArgumentError("not stored yet")
        added = deepcopy(list(messages))
        write = Write(session_id=session_id, operation="append_messages", token=fencing_token, commit_id=commit_id)
        commit = self.change(write, lambda stored: stored.state.messages.extend(deepcopy(added)))
        if twin is not None and (commit.version, commit.epoch) == (twin.state.version + 1, twin.epoch):
            twin.state.messages += added
            twin.saved(commit)
        return commit.count_before

    def truncate_messages(
        self, session_id: str, count: int, *, drop_checkpoints: bool, fencing_token: int | None, commit_id: str | None
    ) -> int:
        write = Write(
            session_id=session_id,
            operation="truncate_messages",
            token=fencing_token,
            commit_id=commit_id,
            conditions=() if drop_checkpoints else (lambda: self._nothing_kept_above(session_id, count),),
        )
        session = self.sessions.get(session_id)
        nothing_goes = session is not None and len(session.state.messages) <= count
        return self.change(write, lambda session: self._cut(session, count), touches=nothing_goes).version

    def _cut(self, session: SessionModel, count: int) -> None:
        if len(session.state.messages) > count:
            session.epoch = self.new_epoch()
        del session.state.messages[count:]
        session.checkpoints = [kept for kept in session.checkpoints if kept.bare.message_count <= count]

    def _nothing_kept_above(self, session_id: str, count: int) -> None:
        for kept in self.sessions[session_id].checkpoints[-1:]:
            if kept.bare.message_count > count:
                raise CheckpointKeptError(session_id, count=count, kept=kept.bare.message_count)

    def replace_messages(
        self,
        session_id: str,
        messages: Iterable[Message],
        *,
        expected_version: int,
        drop_checkpoints: bool,
        fencing_token: int | None,
        commit_id: str | None,
    ) -> int:
        write = Write(
            session_id=session_id,
            operation="replace_messages",
            token=fencing_token,
            commit_id=commit_id,
            version=expected_version,
            conditions=() if drop_checkpoints else (lambda: self._nothing_kept_above(session_id, 0),),
        )

        def put(session: SessionModel) -> None:
            self._cut(session, 0)
            session.epoch = self.new_epoch()
            session.state.messages = deepcopy(list(messages))

        return self.change(write, put).version

    # Deletions

    def delete_session(self, session_id: str, *, fencing_token: int | None, commit_id: str | None) -> bool:
        known = self.deletions.get(session_id)
        if known is not None and known[0] == commit_id:
            return known[1]
        write = Write(
            session_id=session_id,
            operation="delete_session",
            token=fencing_token,
            commit_id=commit_id,
            must_exist=False,
        )
        self.guard(write)
        existed = session_id in self.sessions
        if commit_id is not None:
            self.deletions[session_id] = (commit_id, existed)
            self.fences.setdefault(session_id, 0)
        self._delete(self._tree([session_id]))
        return existed

    def _delete(self, ids: Iterable[str]) -> None:
        for session_id in ids:
            self.sessions.pop(session_id, None)

    def _tree(self, roots: Iterable[str]) -> list[str]:
        tree = [session_id for session_id in roots if session_id in self.sessions]
        for session_id in tree:
            remote = {ref.sub_session_id for ref in self.sessions[session_id].refs if ref.location == "remote"}
            tree += [
                child
                for child, session in self.sessions.items()
                if session.state.parent_session_id == session_id and child not in remote and child not in tree
            ]
        return tree

    def get_session_tree(self, session_id: str) -> SessionTree:
        """Its tuples sorted: their order is nobody's business."""
        tree = self._tree([session_id])
        refs = [ref for each in tree for ref in self.sessions[each].refs]
        return SessionTree(
            session_ids=tuple(sorted(tree)),
            stream_ids=tuple(sorted({self.sessions[each].state.stream_id for each in tree})),
            remote_sub_session_ids=tuple(sorted(ref.sub_session_id for ref in refs if ref.location == "remote")),
        )

    def cleanup_expired_sessions(self, now: int) -> list[str]:
        """All that expired, sorted."""
        expired = [
            session_id
            for session_id, session in self.sessions.items()
            if session.state.expires_at is not None and session.state.expires_at <= now
        ]
        tree = self._tree(expired)
        self._delete(tree)
        return sorted(tree)

    def reset_fence(self, session_id: str) -> None:
        if session_id in self.fences:
            self.fences[session_id] = 0
