"""Merges the changes of a turn with the changes that others stored meanwhile: pure rules, no database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agents_store_cloudflare.contract.errors import StaleStateError
from agents_store_cloudflare.contract.json_values import encode_json
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import Row
from agents_store_cloudflare.state.blocks import stored_messages
from agents_store_cloudflare.state.history import history_of, know_more

__all__ = ["TurnFields", "merged"]

_FIELDS: Final = (
    "agent_type",
    "status",
    "step_count",
    "output",
    "error",
    "stream_id",
    "aborted",
    "abort_reason",
    "root_session_id",
    "resume_count",
    "expires_at",
    "suspension_context",
    "pending_client_tool_calls",
    "suspended_awaiting_children",
    "suspended_step_id",
    "tracing_context",
    "extra",
)


@dataclass(frozen=True, slots=True)
class TurnFields:
    """The fields of a state, and the keys of its custom state, as JSON texts, which nobody can change."""

    fields: Mapping[str, str]
    custom: Mapping[str, str]

    @classmethod
    def of(cls, state: AgentState) -> TurnFields:
        """Return the fields of the state as they are now."""
        return cls(
            {name: encode_json(getattr(state, name), name=name) for name in _FIELDS},
            {key: encode_json(value, name="custom_state") for key, value in state.custom_state.items()},
        )


def merged(state: AgentState, base: TurnFields, stored: AgentState, blocks: Sequence[Row]) -> None:
    """Bring a turn's state up to date with the stored state. The turn's changes stay, and its new messages follow the others' messages.

    Args:
        state: the turn's state, which is changed.
        base: the fields of the state when it was last the same as the stored one.
        stored: the stored state without messages.
        blocks: the stored messages after the ones that the turn knows.

    Raises:
        StaleStateError: the turn and others have changed the same field, or messages that the turn has read are gone.
    """
    known, there = history_of(state), history_of(stored)
    if there.epoch != known.epoch or there.count < known.count:
        raise StaleStateError(state.session_id, reason="history", expected=known.count, actual=there.count)
    mine, theirs = TurnFields.of(state), TurnFields.of(stored)
    fields = {name: _chosen(state, name, base.fields[name], mine.fields[name], theirs.fields[name]) for name in _FIELDS}
    custom = {}
    for key in dict.fromkeys([*theirs.custom, *mine.custom]):
        text = _chosen(
            state, f"custom_state[{key!r}]", base.custom.get(key), mine.custom.get(key), theirs.custom.get(key)
        )
        if text is not None:
            custom[key] = json.loads(text)
    added = list(state.messages[known.count - known.first :])
    others: list[Any] = stored_messages(state.session_id, blocks, known.count, there.count)
    del state.messages[known.count - known.first :]
    know_more(state, others, stored)
    state.messages += added
    for name, text in fields.items():
        setattr(state, name, json.loads(text or "null"))
    state.custom_state = custom
    state.version, state.updated_at = stored.version, stored.updated_at


def _chosen(state: AgentState, name: str, base: str | None, mine: str | None, theirs: str | None) -> str | None:
    if mine in (base, theirs):
        return theirs
    if theirs == base:
        return mine
    raise StaleStateError(state.session_id, reason=name, expected=state.version, actual=None)
