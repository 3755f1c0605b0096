"""Merges the changes of a turn with the changes that others stored meanwhile: pure rules, no database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agents_store_cloudflare.contract.errors import StaleStateError
from agents_store_cloudflare.contract.json_values import JsonObject, encode_json
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import Row
from agents_store_cloudflare.state.blocks import stored_messages
from agents_store_cloudflare.state.history import history_of, know_more

__all__ = ["TurnBase", "TurnFields", "merged", "take_promoted"]

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


@dataclass(slots=True)
class TurnBase:
    """The fields that are stored, as far as a turn knows. A field that differs in the turn's state was changed by the turn since."""

    known: TurnFields


def merged(state: AgentState, base: TurnBase, stored: AgentState, blocks: Sequence[Row]) -> None:
    """Bring a turn's state up to date with the stored state. The turn's changes stay, and its new messages follow the others' messages.

    Args:
        state: the turn's state, which is changed.
        base: the fields that the turn knows to be stored, which become those of the stored state.
        stored: the stored state without messages.
        blocks: the stored messages after the ones that the turn knows.

    Raises:
        StaleStateError: the turn and others have changed the same field, or messages that the turn has read are gone.
    """
    known, there = history_of(state), history_of(stored)
    if there.epoch != known.epoch or there.count < known.count:
        raise StaleStateError(state.session_id, reason="history", expected=known.count, actual=there.count)
    knew, mine, theirs = base.known, TurnFields.of(state), TurnFields.of(stored)
    fields = {name: _chosen(state, name, knew.fields[name], mine.fields[name], theirs.fields[name]) for name in _FIELDS}
    custom = {}
    for key in dict.fromkeys([*theirs.custom, *mine.custom]):
        text = _chosen(
            state, f"custom_state[{key!r}]", knew.custom.get(key), mine.custom.get(key), theirs.custom.get(key)
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
    base.known = theirs


def take_promoted(state: AgentState, base: TurnBase, sent: TurnFields, promoted: JsonObject) -> None:
    """Give a turn's state the custom state that its commit has stored, with the changes of a promoted step.

    Keys that other tasks have changed since the commit was sent keep these changes. If the step has changed such a key too, the state
    counts as stale: the next commit meets both changes and is refused.

    Args:
        state: the turn's state, which is changed.
        base: the fields that the turn knows to be stored, which are changed.
        sent: the fields of the commit, before the promotion.
        promoted: the stored custom state.
    """
    stored = {key: encode_json(value, name="custom_state") for key, value in promoted.items()}
    live, known = TurnFields.of(state).custom, dict(stored)
    if live == sent.custom:
        state.custom_state = promoted
    else:
        for key in dict.fromkeys([*sent.custom, *stored]):
            before = sent.custom.get(key)
            if live.get(key) == before:
                _put(state.custom_state, key, promoted.get(key), is_there=key in promoted)
            elif stored.get(key) != before:
                _put(known, key, before, is_there=before is not None)
    base.known = TurnFields(sent.fields, known)
    if known != stored:
        state.version -= 1


def _put(target: dict[str, Any], key: str, value: Any, *, is_there: bool) -> None:
    if is_there:
        target[key] = value
    else:
        target.pop(key, None)


def _chosen(state: AgentState, name: str, base: str | None, mine: str | None, theirs: str | None) -> str | None:
    if mine in (base, theirs):
        return theirs
    if theirs == base:
        return mine
    raise StaleStateError(state.session_id, reason=name, expected=state.version, actual=None)
