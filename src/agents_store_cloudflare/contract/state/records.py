"""All records of sessions. They are frozen, except `AgentState`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.contract.record import Record
from agents_store_cloudflare.contract.state.agent_state import AgentState, AgentStatus, Message, StoredHistory
from agents_store_cloudflare.contract.state.changes import MergeChanges, MergeResult, PromoteResult, StagedChange

__all__ = [
    "AgentState",
    "AgentStatus",
    "CasResult",
    "Checkpoint",
    "CheckpointPage",
    "MergeChanges",
    "MergeResult",
    "Message",
    "MessagePage",
    "PromoteResult",
    "Run",
    "SessionPage",
    "SessionTree",
    "StagedChange",
    "StoredHistory",
    "SubSessionRef",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePage(Record):
    """A page of messages. Iterating gives the messages.

    Attributes:
        total: how many messages are stored in all.
        has_more: whether more messages follow.
    """

    messages: list[Message]
    total: int
    has_more: bool

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(Record):
    """A kept moment of a session. It stores how many messages there were, not a copy of them.

    Attributes:
        timestamp: when it was kept (milliseconds since 1970).
        state: the state at that moment, with its messages; None when the call was not asked for it.
        stream_sequence: the place in the session's stream that it belongs to.
    """

    _NESTED: ClassVar[Mapping[str, type[Record]]] = {"state": AgentState}

    id: str
    session_id: str
    run_id: str | None = None
    step_count: int
    status: str
    message_count: int
    timestamp: int
    state: AgentState | None = None
    stream_sequence: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPage:
    """A page of checkpoints, newest first. Iterating gives the checkpoints.

    Attributes:
        next_cursor: the `cursor` of the next call; None at the end.
    """

    items: list[Checkpoint]
    next_cursor: str | None = None
    has_more: bool = False

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPage:
    """A page of sessions without their messages, newest first. Iterating gives the sessions.

    Attributes:
        next_cursor: the `cursor` of the next call; None at the end.
    """

    items: list[AgentState]
    next_cursor: str | None = None
    has_more: bool = False

    def __iter__(self) -> Iterator[AgentState]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTree(Record):
    """The session and the descendants that `delete_session` deletes. All parts are empty when there is no such session.

    Attributes:
        session_ids: the session, then its descendants by `parent_session_id`, each once.
        stream_ids: the streams of these sessions.
        remote_sub_session_ids: the sub-sessions to which they refer as remote. They live elsewhere and stay.
    """

    session_ids: tuple[str, ...] = ()
    stream_ids: tuple[str, ...] = ()
    remote_sub_session_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CasResult(Record):
    """The result of a compare-and-set. It is true when the status was set.

    Attributes:
        ok: whether the status was set.
        new_version: the version after it; None when the status was not set.
        current_status: the status after the call.
        current_version: the version after the call.
    """

    ok: bool
    new_version: int | None
    current_status: str
    current_version: int

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Record):
    """One run of an agent within a session.

    Attributes:
        turn: the number of the run in its session: 1, 2, 3 …
        start_sequence: the run's chunks begin in the stream after this one.
        started_at: milliseconds since 1970.
        completed_at: when it ended (milliseconds since 1970); None while it runs.
        end_sequence: the last chunk of the run in the stream. Only a turn has it.
        output: the output that `turn.finish` was given, at most 64 KB as JSON.
        resumes: the id of the suspended run that this turn took up.
    """

    run_id: str
    session_id: str
    turn: int
    status: str
    step_count: int = 0
    start_sequence: int | None = None
    started_at: int
    completed_at: int | None = None
    error: str | None = None
    end_sequence: int | None = None
    output: JsonValue = None
    resumes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubSessionRef(Record):
    """A session's reference to the session of a sub-agent.

    Attributes:
        location: "local" for a session of this store, "remote" for a session elsewhere.
        started_at: milliseconds since 1970.
        completed_at: milliseconds since 1970; None while it runs.
    """

    sub_session_id: str
    agent_type: str
    parent_tool_call_id: str | None = None
    status: str = AgentStatus.RUNNING
    location: Literal["local", "remote"] = "local"
    started_at: int | None = None
    completed_at: int | None = None
    output: JsonValue = None
    error: str | None = None
