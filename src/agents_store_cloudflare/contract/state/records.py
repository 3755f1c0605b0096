"""The records of sessions. They are frozen, except `AgentState`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, TypedDict, cast

from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER, check_id, check_text, check_whole_number
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_types import UserJson
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue, encode_json
from agents_store_cloudflare.contract.record import STORED_HISTORY, Record, as_mapping

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


class Message(TypedDict, total=False):
    """One message of a conversation: a plain dict. Any JSON object is a message; no key is required, `role` neither.

    The type names the keys of this package, and the usual ones of OpenAI's and Anthropic's messages. Write a message with other keys as
    `dict[str, Any]`: every call takes mappings.
    """

    role: str
    content: UserJson
    toolCalls: UserJson
    toolCallId: str
    toolName: str
    thinking: UserJson
    metadata: UserJson

    # OpenAI's
    annotations: UserJson
    audio: UserJson
    function_call: UserJson
    name: str
    refusal: str | None
    tool_call_id: str
    tool_calls: UserJson

    # Anthropic's
    id: str
    model: str
    stop_reason: str | None
    stop_sequence: str | None
    type: str
    usage: UserJson


class AgentStatus:
    """The usual words for `AgentState.status`. It is an open string, compared exactly; these are constants, not a closed set."""

    ACTIVE: Final = "active"
    RUNNING: Final = "running"
    PAUSED: Final = "paused"
    INTERRUPTED: Final = "interrupted"
    SUSPENDED: Final = "suspended"
    COMPLETED: Final = "completed"
    FAILED: Final = "failed"
    ABORTED: Final = "aborted"


@dataclass(slots=True, kw_only=True)
class StoredHistory:
    """Which of a state's messages the store holds already; kept by the store, of no use to anybody else.

    Attributes:
        first: the sequence of the first message in the state's list (0, unless it was loaded in part).
        count: how many messages were stored at the last load or save, from sequence 0 on.
        epoch: a number drawn when the session is created and whenever stored messages are dropped; a list of another epoch does not
            meet the stored one. 0 before the first save.
        fingerprint: of the state's messages that are stored: they must not be changed.
    """

    first: int = 0
    count: int = 0
    epoch: int = 0
    fingerprint: int = 0


@dataclass(slots=True, kw_only=True)
class AgentState(Record):
    """One session's memory. Mutable: load it, change it, save it.

    `version` is the version it was loaded with (0: never stored) and is brought up to date by every call that saves this object.
    `stream_id` defaults to the session id. `stored_history` is kept by the store: which of the messages it has.
    """

    session_id: str
    agent_type: str
    status: str = AgentStatus.ACTIVE
    step_count: int = 0
    custom_state: JsonObject = field(default_factory=dict[str, JsonValue])
    messages: list[Message] = field(default_factory=list[Message])
    output: JsonValue = None
    error: str | None = None
    stream_id: str = ""
    parent_session_id: str | None = None
    root_session_id: str | None = None
    aborted: bool = False
    abort_reason: str | None = None
    resume_count: int = 0
    version: int = 0
    suspension_context: JsonValue = None
    pending_client_tool_calls: JsonValue = None
    suspended_awaiting_children: JsonValue = None
    suspended_step_id: str | None = None
    tracing_context: JsonValue = None
    expires_at: int | None = None
    created_at: int | None = None
    updated_at: int | None = None
    extra: JsonObject = field(default_factory=dict[str, JsonValue])
    stored_history: StoredHistory | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("session_id", "agent_type"):
            value: object = getattr(self, name)
            if not isinstance(value, str):
                raise TypeError(f"AgentState.{name} must be text, not {type(value).__name__}")
        self.stream_id = self.stream_id or self.session_id

    def to_dict(self) -> JsonObject:
        """All fields under camelCase keys, `extra` spread beside them. `storedHistory` lets `from_dict` go on saving only what is new."""
        body = Record.to_dict(self)
        if self.stored_history is not None:
            stored = self.stored_history
            body[STORED_HISTORY] = [stored.first, stored.count, stored.epoch, stored.fingerprint]
        return body

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> AgentState:
        """The state of a mapping with camelCase or snake_case keys; unknown ones go to `extra`."""
        stored = body.get(STORED_HISTORY) if isinstance(cast("object", body), Mapping) else None
        if stored is None:
            return super(AgentState, cls).from_dict(body)
        state = super(AgentState, cls).from_dict({key: value for key, value in body.items() if key != STORED_HISTORY})
        if not isinstance(stored, list) or [*map(type, cast("Any", stored))] != [int] * 4:
            raise InvalidArgumentError(f"{STORED_HISTORY} must be as to_dict gave it")
        first, count, epoch, fingerprint = cast("list[int]", stored)
        if not 0 <= first <= count <= MAX_SAFE_INTEGER or not 0 <= epoch <= MAX_SAFE_INTEGER:
            raise InvalidArgumentError(f"{STORED_HISTORY} must be as to_dict gave it")
        state.stored_history = StoredHistory(first=first, count=count, epoch=epoch, fingerprint=fingerprint)
        return state


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePage(Record):
    """A page of messages; iterating gives the messages. `total` counts all stored ones."""

    messages: list[Message]
    total: int
    has_more: bool

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(Record):
    """A kept moment of a session. It stores a message count, never a copy; `state.messages` is rebuilt from it."""

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
    """A page of checkpoints, newest first; iterating gives them. `next_cursor` goes into the next call, None at the end."""

    items: list[Checkpoint]
    next_cursor: str | None = None
    has_more: bool = False

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPage:
    """A page of sessions without their messages, newest first; iterating gives them.

    `next_cursor` goes into the next call; it is None at the end.
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
    """A session with its descendants, as `delete_session` takes them; all empty where there is no such session.

    Attributes:
        session_ids: the session itself, then its descendants by `parent_session_id`, each once.
        stream_ids: the streams of these sessions.
        remote_sub_session_ids: sub-sessions to which they refer as remote: they live elsewhere and are left alone.
    """

    session_ids: tuple[str, ...] = ()
    stream_ids: tuple[str, ...] = ()
    remote_sub_session_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeChanges(Record):
    """Values to merge into a custom state, top-level key by top-level key.

    A list is appended to the list that is there; anything else replaces what is there, and so does every value whose key is in
    `array_replacements` (a key there that `values` does not have means nothing).
    """

    values: JsonObject
    array_replacements: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        _check_object(self.values, "MergeChanges.values")
        if not isinstance(cast("object", self.array_replacements), frozenset | set | list | tuple):
            raise TypeError(
                f"MergeChanges.array_replacements must be a set of keys, not {type(self.array_replacements).__name__}"
            )
        keys = [check_text(key, "a key in array_replacements", empty=True) for key in self.array_replacements]
        object.__setattr__(self, "array_replacements", frozenset(keys))

    @classmethod
    def of(cls, changes: MergeChanges | Mapping[str, JsonValue]) -> MergeChanges:
        """The changes that a caller gave: a record, its mapping, or a bare mapping of values.

        A mapping with exactly the two keys `values` and `arrayReplacements` (or `array_replacements`) is a record's, as
        `to_dict` writes it. Every other mapping is plain values, `{"values": …}` alone included.

        Raises:
            TypeError, InvalidArgumentError: neither, or values that JSON cannot carry.
        """
        if isinstance(changes, MergeChanges):
            return changes
        given = dict(as_mapping(changes, "merge_changes"))
        if given.keys() in ({"values", "arrayReplacements"}, {"values", "array_replacements"}):
            return cls.from_dict(given)
        return cls(values=given)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedChange(Record):
    """What one tool call wants to change, kept until its step is promoted.

    `merge_changes` and `patches` describe the same change: the merge is applied where there is one, the patches only where
    there is none. A mapping given as `merge_changes` is read by `MergeChanges.of` and is a `MergeChanges` from then on.

    Attributes:
        patches: RFC 6902 operations on the custom state. Whether they fit it shows when they are promoted.
        timestamp: promotion goes by it; the time of staging where it is None.
    """

    tool_call_id: str
    patches: list[JsonObject] = field(default_factory=list[JsonObject])
    merge_changes: MergeChanges | Mapping[str, JsonValue] | None = None
    timestamp: int | None = None

    def __post_init__(self) -> None:
        check_id(self.tool_call_id, "tool_call_id")
        if self.timestamp is not None:
            check_whole_number(self.timestamp, "timestamp")
        if not isinstance(cast("object", self.patches), list):
            raise TypeError(f"patches must be a list of operations, not {type(self.patches).__name__}")
        for index, operation in enumerate(self.patches):
            name = f"patches[{index}]"
            _check_object(operation, name)
            if not isinstance(operation.get("op"), str):
                raise InvalidArgumentError(f"{name} needs a text 'op'")
        if self.merge_changes is not None:
            object.__setattr__(self, "merge_changes", MergeChanges.of(self.merge_changes))


def _check_object(value: object, name: str) -> None:
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be a dict, not {type(value).__name__}")
    encode_json(cast("object", value), name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteResult(Record):
    """What a promotion did: the new version, the tool calls applied in order, what a person may want to know.

    `checkpoint_id` is that of the checkpoint saved with it, where one was.
    """

    version: int
    applied: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    checkpoint_id: str | None = None

    def __post_init__(self) -> None:
        _keep_as_tuples(self, "applied", "warnings")


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeResult(Record):
    """What a merge did: the new version, and what a person may want to know. `applied` is empty: no tool call is known."""

    version: int
    applied: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _keep_as_tuples(self, "applied", "warnings")


def _keep_as_tuples(record: object, *names: str) -> None:
    """A mapping from JSON brings lists; the record made of it must equal the one it came from."""
    for name in names:
        object.__setattr__(record, name, tuple(getattr(record, name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CasResult(Record):
    """Whether a compare-and-set took place; `bool()` of it is `ok`."""

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
        start_sequence, end_sequence: where the run's chunks lie in the stream: after the first, up to the second. Only a turn has an end.
        output: what `turn.finish` was given; at most 64 KB as JSON.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SubSessionRef(Record):
    """A session's reference to a sub-agent's session, here ("local") or elsewhere ("remote")."""

    sub_session_id: str
    agent_type: str
    parent_tool_call_id: str | None = None
    status: str = AgentStatus.RUNNING
    location: Literal["local", "remote"] = "local"
    started_at: int | None = None
    completed_at: int | None = None
    output: JsonValue = None
    error: str | None = None
