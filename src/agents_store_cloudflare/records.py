"""The records that calls take and return: slotted dataclasses, frozen but for `AgentState`.

Every record has `to_dict()` (camelCase keys, as stored and sent) and `from_dict()` (camelCase or snake_case keys); the two are
inverse. Keys inside user JSON (messages, custom state, chunks, outputs, metadata) are never renamed. Fields that a record does
not know survive in `extra`, where it has one. Times are integer milliseconds since 1970.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from copy import copy, deepcopy
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, Final, Literal, Required, Self, TypedDict, TypeVar, cast

from agents_store_cloudflare.arguments import MAX_SAFE_INTEGER, check_id, check_text, check_whole_number
from agents_store_cloudflare.errors import InvalidArgumentError
from agents_store_cloudflare.json_values import JsonObject, JsonValue, encode_json

__all__ = [
    "AgentState",
    "AgentStatus",
    "Budget",
    "BufferOverflowEvent",
    "CasResult",
    "Checkpoint",
    "CheckpointPage",
    "Cost",
    "CostEstimate",
    "D1Cost",
    "MergeChanges",
    "MergeResult",
    "Message",
    "MessagePage",
    "ModelPrice",
    "ObjectCost",
    "PriceBook",
    "Prices",
    "PromoteResult",
    "Reservation",
    "Run",
    "SessionPage",
    "SessionTree",
    "Settlement",
    "StagedChange",
    "StreamChunk",
    "StreamInfo",
    "SubAgentStats",
    "SubSessionRef",
    "TokenCounts",
    "ToolStats",
    "UsageEntry",
    "UsageRollup",
    "UsageSource",
    "UsageTotals",
]


class Message(TypedDict, total=False):
    """One message of a conversation: a plain dict. Only `role` is required.

    Any other JSON may stand beside these keys; a type checker wants such a message written as `dict[str, Any]` and cast.
    """

    role: Required[str]
    content: JsonValue
    toolCalls: JsonValue
    toolCallId: str
    toolName: str
    thinking: JsonValue
    metadata: JsonValue


class StreamChunk(TypedDict, total=False):
    """One chunk of a stream: a plain dict. Only `type` is required; any other JSON may stand beside these keys."""

    type: Required[str]
    agentId: str
    agentType: str
    timestamp: int
    step: int


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


STORED_HISTORY: Final = "storedHistory"

_PLAIN_TYPES = frozenset({str, int, float, bool, type(None)})

_SNAKE = re.compile(r"_([a-z0-9])")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """What `to_dict` and `from_dict` know of a record class.

    Attributes:
        keys: field name -> camelCase key, in the order of the fields; those that are written in their own way stay out.
        names: either spelling of a key -> field name.
        plain: the fields that take text, numbers, bools and None as they are.
        required: the fields without a default.
        taken: what a key in `extra` may not be.
    """

    keys: Mapping[str, str]
    names: Mapping[str, str]
    plain: frozenset[str]
    required: frozenset[str]
    has_extra: bool
    taken: frozenset[str]


@cache
def _shape_of(record: Hashable) -> _Shape:
    parts = fields(cast("Any", record))
    own_way = {"extra", "stored_history"}
    keys = {
        part.name: _SNAKE.sub(lambda match: match.group(1).upper(), part.name)
        for part in parts
        if part.name not in own_way
    }
    return _Shape(
        keys=keys,
        names={spelling: name for name, key in keys.items() for spelling in (name, key)},
        plain=_plain_fields(cast("type[_Record]", record), keys),
        required=frozenset(part.name for part in parts if part.default is MISSING and part.default_factory is MISSING),
        has_extra=any(part.name == "extra" for part in parts),
        taken=frozenset({"extra", STORED_HISTORY, *keys, *keys.values()}),
    )


def _plain_fields(record: type[_Record], keys: Mapping[str, str]) -> frozenset[str]:
    reads_its_own_way = "_read" in vars(record)
    return frozenset[str]() if reads_its_own_way else frozenset(keys) - frozenset(record._NESTED)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


class _Record:
    """`to_dict` and `from_dict` for a dataclass; a field that holds a record is named in `_NESTED`."""

    __slots__ = ()
    _NESTED: ClassVar[Mapping[str, type[_Record]]] = {}

    def to_dict(self) -> JsonObject:
        """All fields under camelCase keys, `extra` spread beside them; a copy throughout."""
        body: JsonObject = deepcopy(cast("JsonObject", getattr(self, "extra", {})))
        for name, key in _shape_of(cast("Hashable", type(self))).keys.items():
            body[key] = _plain(getattr(self, name))
        return body

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """The record of a mapping with camelCase or snake_case keys.

        Raises:
            InvalidArgumentError: a required field is missing, or given under both spellings, or unknown to a record without `extra`.
        """
        if not isinstance(cast("object", body), Mapping):
            raise TypeError(f"{cls.__name__} must be given as a record or a mapping, not {type(body).__name__}")
        shape = _shape_of(cast("Hashable", cls))
        names = shape.names
        rest: dict[str, Any] = {}
        known: dict[str, Any] = {}
        for key, value in body.items():
            if (name := names.get(key)) is None:
                rest[key] = value
            elif name in known:
                raise InvalidArgumentError(f"{cls.__name__} has both {shape.keys[name]!r} and {name!r}; give one")
            else:
                known[name] = value if name in shape.plain and type(value) in _PLAIN_TYPES else cls._read(name, value)
        if not shape.required <= known.keys():
            raise InvalidArgumentError(f"{cls.__name__} needs {min(shape.required - known.keys())!r}")
        if rest:
            if shape.has_extra:
                known["extra"] = {**_mapping(rest.pop("extra", {}), "extra"), **rest}
            else:
                raise InvalidArgumentError(f"{cls.__name__} has no field {min(rest)!r}")
        return cls(**known)

    @classmethod
    def _read(cls, name: str, value: Any) -> Any:
        if (nested := cls._NESTED.get(name)) is not None and value is not None and not isinstance(value, nested):
            return nested.from_dict(value)
        # A list or dict of its own: appending to a state's messages must not change what it was made from.
        return copy(cast("object", value)) if isinstance(value, list | dict) else value


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")
    return cast("Mapping[str, Any]", value)


def check_extra(record: _Record, extra: Mapping[str, JsonValue]) -> None:
    """Refuse keys in `extra` that mean a field of the record: they could not be told apart afterwards.

    Raises:
        TypeError: no mapping.
        InvalidArgumentError: the key.
    """
    taken = _shape_of(cast("Hashable", type(record))).taken.intersection(_mapping(extra, "extra"))
    if taken:
        raise InvalidArgumentError(f"extra has {min(taken)!r}, which is a field of {type(record).__name__}")


def _plain(value: Any) -> JsonValue:
    if isinstance(value, _Record):
        return value.to_dict()
    if isinstance(value, frozenset | set):
        return sorted(cast("AbstractSet[str]", value))
    if isinstance(value, tuple):
        return [_plain(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, dict) and any(isinstance(each, _Record) for each in cast("dict[str, object]", value).values()):
        return {key: _plain(each) for key, each in cast("dict[str, object]", value).items()}
    # A copy: the record may go on changing.
    return cast("JsonValue", deepcopy(cast("object", value)) if isinstance(value, dict | list) else value)


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
class AgentState(_Record):
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
        self.stream_id = self.stream_id or self.session_id

    def to_dict(self) -> JsonObject:
        """All fields under camelCase keys, `extra` spread beside them. `storedHistory` lets `from_dict` go on saving only what is new."""
        body = _Record.to_dict(self)
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
class MessagePage(_Record):
    """A page of messages; iterating gives the messages. `total` counts all stored ones."""

    messages: list[Message]
    total: int
    has_more: bool

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(_Record):
    """A kept moment of a session. It stores a message count, never a copy; `state.messages` is rebuilt from it."""

    _NESTED: ClassVar[Mapping[str, type[_Record]]] = {"state": AgentState}

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
    """Checkpoints, newest first; `next_cursor` goes into the next call, None at the end."""

    items: list[Checkpoint]
    next_cursor: str | None = None
    has_more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPage:
    """Sessions without their messages, newest first; `next_cursor` goes into the next call, None at the end."""

    items: list[AgentState]
    next_cursor: str | None = None
    has_more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTree(_Record):
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
class MergeChanges(_Record):
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
        given = dict(_mapping(changes, "merge_changes"))
        if given.keys() in ({"values", "arrayReplacements"}, {"values", "array_replacements"}):
            return cls.from_dict(given)
        return cls(values=given)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedChange(_Record):
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
class PromoteResult(_Record):
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
class MergeResult(_Record):
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
class CasResult(_Record):
    """Whether a compare-and-set took place; `bool()` of it is `ok`."""

    ok: bool
    new_version: int | None
    current_status: str
    current_version: int

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(_Record):
    """One run of an agent within a session."""

    run_id: str
    session_id: str
    turn: int
    status: str
    step_count: int = 0
    start_sequence: int | None = None
    started_at: int
    completed_at: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubSessionRef(_Record):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo(_Record):
    """A stream as it stands. Sequences are inclusive; `first_sequence` is the oldest chunk kept, `last_sequence` 0 before the first."""

    stream_id: str
    status: Literal["active", "paused", "ended", "failed"]
    end_status: str | None = None
    first_sequence: int
    last_sequence: int
    count: int
    output: JsonValue = None
    error: str | None = None
    writers: int = 0
    created_at: int
    updated_at: int
    ended_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferOverflowEvent(_Record):
    """A writer that was told to drop has dropped `dropped_count` chunks, the oldest."""

    stream_id: str
    dropped_count: int
    buffer_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSource(_Record):
    """Who caused a usage entry, e.g. type "agent", name "researcher"."""

    type: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts(_Record):
    """Tokens of one or many model calls.

    Cached ones are inside `prompt`, reasoning ones inside `completion`; `total` defaults to prompt + completion.
    """

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    cached: int = 0
    total: int | None = None

    def __post_init__(self) -> None:
        if self.total is None:
            object.__setattr__(self, "total", self.prompt + self.completion)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEntry(_Record):
    """One thing that was used: `kind` is "tokens", "tool", "subagent" or "custom", and says which of the later fields matter.

    `id` makes a repeated record harmless; the store makes one when it is empty, and the time when `timestamp` is None.

    Attributes:
        agent: whose totals it counts in; the source's name where that is an agent.
        model: the model that is billed. `request_model` and `response_model`: what was asked for, and what answered.
        cost_micros: what it cost in millionths of a dollar; None is unpriced, which is not zero. `price_version`: by which prices.
        corrects: the id of an entry that this one corrects. Its amounts are differences, so they alone may be negative; it counts as no
            call.
    """

    _NESTED: ClassVar[Mapping[str, type[_Record]]] = {"source": UsageSource, "tokens": TokenCounts}

    id: str = ""
    session_id: str
    kind: Literal["tokens", "tool", "subagent", "custom"]
    step_count: int = 0
    timestamp: int | None = None
    source: UsageSource
    run_id: str | None = None
    agent: str | None = None
    model: str | None = None
    tokens: TokenCounts | None = None
    provider: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    time_to_first_token_ms: int | None = None
    tool_name: str | None = None
    agent_type: str | None = None
    sub_session_id: str | None = None
    duration_ms: int | None = None
    success: bool | None = None
    error: str | None = None
    name: str | None = None
    value: int | float | None = None
    data: JsonValue = None
    cost_micros: int | None = None
    price_version: str | None = None
    corrects: str | None = None
    extra: JsonObject = field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStats(_Record):
    """Tool calls of a session; `by_tool` counts them by tool name."""

    total_calls: int = 0
    successful: int = 0
    failed: int = 0
    total_duration_ms: int = 0
    by_tool: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class SubAgentStats(_Record):
    """Sub-agent calls of a session; `by_agent` counts them by agent type."""

    total_calls: int = 0
    by_agent: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRollup(_Record):
    """The totals of a session (or its tree). Zeros and empty mappings where nothing was recorded.

    Attributes:
        cost_micros: what the priced entries cost, in millionths of a dollar.
        unpriced_entries: how many token entries have no price; their cost is unknown, not zero.
        kept_entries: how many of `entry_count` were deleted since with `keep_totals`.
    """

    _NESTED: ClassVar[Mapping[str, type[_Record]]] = {
        "tokens": TokenCounts,
        "tool_stats": ToolStats,
        "sub_agent_stats": SubAgentStats,
    }

    session_id: str
    tokens: TokenCounts = field(default_factory=TokenCounts)
    tokens_by_model: dict[str, TokenCounts] = field(default_factory=dict[str, TokenCounts])
    tool_stats: ToolStats = field(default_factory=ToolStats)
    sub_agent_stats: SubAgentStats = field(default_factory=SubAgentStats)
    custom: dict[str, JsonObject] = field(default_factory=dict[str, JsonObject])
    entry_count: int = 0
    first_timestamp: int | None = None
    last_timestamp: int | None = None
    cost_micros: int = 0
    unpriced_entries: int = 0
    kept_entries: int = 0

    @classmethod
    def _read(cls, name: str, value: Any) -> Any:
        if name == "tokens_by_model":
            return {model: cls._read("tokens", counts) for model, counts in value.items()}
        return super(UsageRollup, cls)._read(name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotals(_Record):
    """The totals of one day, model, agent or tool, over all sessions.

    Attributes:
        key: the day (UTC, as "2026-11-23"), or the name.
        calls, failed: model, tool and sub-agent calls and custom numbers; tool and sub-agent calls that did not succeed.
        cost_micros, unpriced_entries, kept_entries: as in `UsageRollup`.
    """

    _NESTED: ClassVar[Mapping[str, type[_Record]]] = {"tokens": TokenCounts}

    key: str
    entry_count: int = 0
    calls: int = 0
    failed: int = 0
    tokens: TokenCounts = field(default_factory=TokenCounts)
    duration_ms: int = 0
    cost_micros: int = 0
    unpriced_entries: int = 0
    kept_entries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice(_Record):
    """What a model costs, in millionths of a dollar for a million tokens: $2.50 is 2_500_000.

    Attributes:
        cached: for tokens of the prompt that were cached; as `prompt` where None.
        reasoning: for tokens of the completion that were reasoning; as `completion` where None.
    """

    prompt: int
    completion: int
    cached: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook(_Record):
    """Your prices: of models, and of tools in millionths of a dollar a call. `version` is written beside every price it gives."""

    version: str
    models: dict[str, ModelPrice]
    tools: dict[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def _read(cls, name: str, value: Any) -> Any:
        if name == "models":
            return {
                model: price if isinstance(price, ModelPrice) else ModelPrice.from_dict(price)
                for model, price in _mapping(value, "models").items()
            }
        return super(PriceBook, cls)._read(name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget(_Record):
    """A cap and what was taken of it, by this scope and by those that stand in it.

    Attributes:
        parent: the scope it stands in.
        reserved: by reservations that are neither settled nor expired.
        overruns: how many settlements were above their reservations.
    """

    scope: str
    cap: int
    unit: str
    parent: str | None = None
    reserved: int = 0
    settled: int = 0
    overruns: int = 0

    @property
    def remaining(self) -> int:
        """What can be reserved here now, negative where settlements went over the cap; the scopes around it may have less."""
        return self.cap - self.settled - self.reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation(_Record):
    """An amount set aside until it is settled or released, at most until `expires_at`."""

    id: str
    scope: str
    amount: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement(_Record):
    """What a reservation came to. `overrun`: more than was reserved."""

    reservation_id: str
    scope: str
    amount: int
    actual: int
    overrun: bool
    settled_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class D1Cost(_Record):
    """What a piece of work cost in D1.

    Attributes:
        round_trips: batches sent, those that failed among them; one public call is one, unless docs/costs.md says otherwise.
        rows_read, rows_written: by D1's own count; of a failed batch it tells none. None where something was asked that does not
            count rows, as sqlite does not.
        bytes_sent: statements and their parameters, text as UTF-8, numbers as 8 bytes.
        bytes_received: the values of the rows that came back, counted alike.
    """

    round_trips: int = 0
    rows_read: int | None = 0
    rows_written: int | None = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def __add__(self, other: D1Cost) -> D1Cost:
        """Both together; rows are None where one of them is."""
        return _combined(self, other, 1)

    def __sub__(self, other: D1Cost) -> D1Cost:
        """What came after `other`, an earlier cost of the same meter."""
        return _combined(self, other, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCost(_Record):
    """What a piece of work cost in Durable Objects.

    Attributes:
        calls: requests to objects, those among them that brought no reply, that wait for something to come, and HTTP (Server-Sent
            Events, WebSockets).
        rows_read, rows_written: inside the objects, by their own count, while they worked on the calls; what HTTP, a timer or an
            alarm does there belongs to no call. None where an object did not count, as `LocalObjects` do not.
        bytes_sent: the texts of names and requests, as UTF-8.
        bytes_received: the texts of the replies. What an HTTP answer streams does not pass through Python.
    """

    calls: int = 0
    rows_read: int | None = 0
    rows_written: int | None = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def __add__(self, other: ObjectCost) -> ObjectCost:
        """Both together; rows are None where one of them is."""
        return _combined(self, other, 1)

    def __sub__(self, other: ObjectCost) -> ObjectCost:
        """What came after `other`, an earlier cost of the same meter."""
        return _combined(self, other, -1)


_Counts = TypeVar("_Counts", D1Cost, ObjectCost)


def _combined(left: _Counts, right: _Counts, sign: Literal[1, -1]) -> _Counts:
    counts: dict[str, Any] = {}
    for name in _shape_of(cast("Hashable", type(left))).keys:
        mine, other = getattr(left, name), getattr(right, name)
        counts[name] = None if mine is None or other is None else mine + sign * other
    return type(left)(**counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost(_Record):
    """What a piece of work cost: what `Meter.cost` gives and `estimate` takes. Costs can be added and subtracted."""

    d1: D1Cost = D1Cost()
    objects: ObjectCost = ObjectCost()

    _NESTED: ClassVar[Mapping[str, type[_Record]]] = {"d1": D1Cost, "objects": ObjectCost}

    @property
    def bytes_sent(self) -> int:
        """From Python to JavaScript."""
        return self.d1.bytes_sent + self.objects.bytes_sent

    @property
    def bytes_received(self) -> int:
        """From JavaScript to Python."""
        return self.d1.bytes_received + self.objects.bytes_received

    def __add__(self, other: Cost) -> Cost:
        """Both together."""
        return Cost(d1=self.d1 + other.d1, objects=self.objects + other.objects)

    def __sub__(self, other: Cost) -> Cost:
        """What came after `other`, an earlier cost of the same meter."""
        return Cost(d1=self.d1 - other.d1, objects=self.objects - other.objects)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices(_Record):
    """What one of each costs, in pico-dollars: a dollar per million is 1,000,000. See `CLOUDFLARE_PRICES`."""

    d1_row_read: int
    d1_row_written: int
    object_request: int
    object_row_read: int
    object_row_written: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate(_Record):
    """What a million operations cost, in micro-dollars: exact, for prices are whole pico-dollars. `str` gives dollars."""

    d1_rows_read: int
    d1_rows_written: int
    object_requests: int
    object_rows_read: int
    object_rows_written: int

    @property
    def total(self) -> int:
        """All together, in micro-dollars per million operations."""
        in_d1 = self.d1_rows_read + self.d1_rows_written
        return in_d1 + self.object_requests + self.object_rows_read + self.object_rows_written

    @property
    def dollars(self) -> str:
        """The total in dollars per million operations, every digit of it: "5.151"."""
        whole, fraction = divmod(abs(self.total), 1_000_000)
        digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
        return f"{'-' if self.total < 0 else ''}{whole}.{digits}"

    def __str__(self) -> str:
        """As people write it: "$5.151 per million"."""
        return f"${self.dollars} per million"
