"""`StepLog`: the messages of a session as runs, events, snapshots, tool effects and the messages of the snapshots."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields as fields_of_class
from datetime import datetime
from typing import Any, Final, cast

from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter

from agents_store_cloudflare.adapters.errors import ForeignValueError
from agents_store_cloudflare.adapters.model_messages import json_text, told
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.state.agent_state import Message

__all__ = ["StepLog", "fields_of"]

_TIMES: Final = ("timestamp", "started_at", "ended_at")
_PARTS: Final = "parts"
"""The field of a snapshot that says where its messages are in the log: [begin, end] of each range."""


def fields_of(record: Any, *, without: str = "") -> dict[str, Any]:
    """Return the fields of a record of the harness as JSON values.

    Raises:
        ForeignValueError: JSON cannot hold a field.
    """
    named = {each.name: getattr(record, each.name) for each in fields_of_class(record) if each.name != without}
    plain = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in named.items()}
    name = f"the {type(record).__name__} of run {named.get('run_id')!r}"
    return cast("dict[str, Any]", json.loads(json_text(plain, name)))


class StepLog:
    """The steps of a session. `add` and `add_snapshot` put new ones at the end of `messages`."""

    def __init__(self, session_id: str, messages: list[Message]) -> None:
        self._session_id = session_id
        self._messages = cast("list[dict[str, Any]]", messages)
        self.new_messages: list[tuple[str, int, int]] = []
        """The run, the place, and the number in its history of each message that a snapshot has added."""

    def add(self, kind: str, fields: dict[str, Any]) -> bool:
        """Add a step. Return True."""
        self._messages.append({"step": kind, "fields": fields})
        return True

    def add_snapshot(self, fields: dict[str, Any], bodies: Sequence[JsonObject]) -> bool:
        """Add a snapshot, and those messages that the newest snapshot of the run, or of any run, does not have at their places.

        Args:
            fields: the fields of the snapshot without its messages.
            bodies: its messages as pydantic-ai's own JSON.
        """
        run_id = str(fields["run_id"])
        before = self._places_before(run_id)
        same = 0
        while same < min(len(before), len(bodies)) and self._messages[before[same]].get("fields") == bodies[same]:
            same += 1
        first = len(self._messages)
        for number, body in enumerate(bodies[same:]):
            self.new_messages.append((run_id, first + number, same + number))
            self.add("message", body)
        places = [*before[:same], *range(first, len(self._messages))]
        return self.add("snapshot", {**fields, _PARTS: _ranges(places)})

    def of(self, kind: str, run_id: str | None = None) -> list[dict[str, Any]]:
        """Return the fields of the steps of a kind, of one run or of all, in their order.

        Raises:
            ForeignValueError: another program wrote a message of the session.
        """
        return [fields for step, fields in self._steps() if step == kind and run_id in (None, fields.get("run_id"))]

    def run(self, run_id: str) -> dict[str, Any] | None:
        """Return the fields of a run, or None."""
        found = self.of("run", run_id)
        return found[-1] if found else None

    def runs(self, parent_run_id: str | None, conversation_id: str | None) -> list[dict[str, Any]]:
        """Return the fields of the runs that both filters let pass."""
        return [
            fields
            for fields in self.of("run")
            if parent_run_id in (None, fields.get("parent_run_id"))
            and conversation_id in (None, fields.get("conversation_id"))
        ]

    def has_event(self, run_id: str, key: str | None) -> bool:
        """Return whether an event of the run has this key. None is no key."""
        return key is not None and any(fields.get("idempotency_key") == key for fields in self.of("event", run_id))

    def is_late(self, run_id: str, key: str | None) -> bool:
        """Return whether a snapshot of the run has this key, or one that begins with a higher number."""
        if key is None:
            return False
        known = [fields["idempotency_key"] for fields in self.of("snapshot", run_id) if fields.get("idempotency_key")]
        number = _number(key)
        numbers = [each for each in map(_number, known) if each is not None]
        return key in known or (number is not None and bool(numbers) and number < max(numbers))

    def snapshots(self, run_id: str, *, include_interrupted: bool) -> list[dict[str, Any]]:
        """Return the fields of the run's snapshots."""
        return [
            fields
            for fields in self.of("snapshot", run_id)
            if include_interrupted or fields.get("state", "complete") == "complete"
        ]

    def effects(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Return the last fields of each tool call of the run, in the order of their first ones."""
        return {str(fields.get("tool_call_id")): fields for fields in self.of("effect", run_id)}

    def history(self, snapshot: dict[str, Any]) -> list[ModelMessage]:
        """Return the messages of a snapshot.

        Raises:
            ForeignValueError: another program or a newer version wrote them.
        """
        try:
            bodies = [self._messages[place]["fields"] for place in _places(snapshot)]
            return ModelMessagesTypeAdapter.validate_json(json.dumps(bodies))
        except (ValueError, TypeError, LookupError) as error:
            raise self._foreign("a message of a snapshot", error) from error

    def made(self, make: Any, fields: dict[str, Any]) -> Any:
        """Return a record of the harness.

        Raises:
            ForeignValueError: another program or a newer version wrote its fields.
        """
        try:
            known = {name: value for name, value in fields.items() if name != _PARTS}
            for name in _TIMES:
                if known.get(name) is not None:
                    known[name] = datetime.fromisoformat(known[name])
            return make(**known)
        except (ValueError, TypeError) as error:
            raise self._foreign("a step", error) from error

    def _steps(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, message in enumerate(self._messages):
            step, fields = message.get("step"), message.get("fields")
            if not isinstance(step, str) or not isinstance(fields, dict):
                raise self._foreign(f"message {number}", None)
            yield step, cast("dict[str, Any]", fields)

    def _places_before(self, run_id: str) -> list[int]:
        found = self.of("snapshot", run_id) or self.of("snapshot")
        return _places(found[-1]) if found else []

    def _foreign(self, what: str, error: Exception | None) -> ForeignValueError:
        fault = f": {told(error)}" if error else ""
        return ForeignValueError(
            f"{what} of session {self._session_id!r} was written by another program or a newer version{fault}"
        )


def _ranges(places: Sequence[int]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for place in places:
        if ranges and ranges[-1][1] == place:
            ranges[-1][1] += 1
        else:
            ranges.append([place, place + 1])
    return ranges


def _places(snapshot: dict[str, Any]) -> list[int]:
    return [place for begin, end in snapshot[_PARTS] for place in range(begin, end)]


def _number(key: str) -> int | None:
    """Return the number before the colon of a snapshot's key, or None if it has none."""
    prefix, colon, _ = key.partition(":")
    return int(prefix) if colon and prefix.isdecimal() else None
