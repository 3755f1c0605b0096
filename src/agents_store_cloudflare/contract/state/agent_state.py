"""The state of a session as its agent holds it, and its messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict, cast

from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_types import UserJson
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue
from agents_store_cloudflare.contract.record import STORED_HISTORY, Record

__all__ = ["AgentState", "AgentStatus", "Message", "StoredHistory"]


class Message(TypedDict, total=False):
    """One message of a conversation: a plain dict. Any JSON object is a message, and no key is required, not even `role`.

    The type names the keys of this package and the usual keys of OpenAI's and Anthropic's messages. Write a message with other keys as
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
    """The usual values of `AgentState.status`. Any other text is a status too; statuses are compared exactly."""

    ACTIVE: Final = "active"
    RUNNING: Final = "running"
    PAUSED: Final = "paused"
    INTERRUPTED: Final = "interrupted"
    SUSPENDED: Final = "suspended"
    COMPLETED: Final = "completed"
    FAILED: Final = "failed"
    ABORTED: Final = "aborted"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHistory:
    """The store's own note at a state: which of its messages are stored. Nobody else needs it.

    Attributes:
        first: the sequence of the first message in the state's list: 0, unless the state was loaded in part.
        count: how many messages were stored at the last load or save, from sequence 0 on.
        epoch: a random number of the history. The store draws a new one when it creates the session and when it drops stored messages.
            A state with another epoch does not fit the stored history. 0 before the first save.
        fingerprint: a checksum of the state's stored messages, which must not be changed.
    """

    first: int = 0
    count: int = 0
    epoch: int = 0
    fingerprint: int = 0


@dataclass(slots=True, kw_only=True)
class AgentState(Record):
    """The memory of one session. Load it, change it, save it.

    Attributes:
        status: any text; `AgentStatus` has the usual ones.
        custom_state: any JSON object of your own.
        messages: the conversation. A save adds the messages that are new.
        stream_id: the session's stream; the session id by default.
        version: the version that was loaded; 0 for a state that was never stored. Every call that saves this object updates it.
        expires_at: when the session may be deleted by a clean-up (milliseconds since 1970).
        created_at: the time of the first save (milliseconds since 1970).
        updated_at: the time of the last save (milliseconds since 1970).
        extra: JSON under keys that are not names of fields.
        stored_history: the store's own note: which of the messages it has.
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
        """Return all fields under camelCase keys, with the keys of `extra` beside them.

        The key `storedHistory` says which messages are stored, so that a state made by `from_dict` saves only the new ones.
        """
        body = Record.to_dict(self)
        if self.stored_history is not None:
            stored = self.stored_history
            body[STORED_HISTORY] = [stored.first, stored.count, stored.epoch, stored.fingerprint]
        return body

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> AgentState:
        """Return the state of a mapping with camelCase or snake_case keys. Unknown keys go to `extra`.

        Raises:
            TypeError: `body` is no mapping, or a field has a wrong type.
            InvalidArgumentError: a required field is missing, or a field is given under both spellings.
        """
        stored = body.get(STORED_HISTORY) if isinstance(cast("object", body), Mapping) else None
        if stored is None:
            return super(AgentState, cls).from_dict(body)
        state = super(AgentState, cls).from_dict({key: value for key, value in body.items() if key != STORED_HISTORY})
        if not isinstance(stored, list) or [*map(type, cast("Any", stored))] != [int] * 4:
            raise InvalidArgumentError(f"{STORED_HISTORY} must be unchanged from to_dict")
        first, count, epoch, fingerprint = cast("list[int]", stored)
        if not 0 <= first <= count <= MAX_SAFE_INTEGER or not 0 <= epoch <= MAX_SAFE_INTEGER:
            raise InvalidArgumentError(f"{STORED_HISTORY} must be unchanged from to_dict")
        state.stored_history = StoredHistory(first=first, count=count, epoch=epoch, fingerprint=fingerprint)
        return state
