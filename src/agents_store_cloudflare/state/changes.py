"""Applies staged changes to a custom state: pure rules, no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn, cast

from agents_store_cloudflare.contract.errors import StagingError, StateSizeExceededError
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue, encode_json
from agents_store_cloudflare.contract.state.records import MergeChanges, StagedChange
from agents_store_cloudflare.state.json_document import OversizeError, RefusedError, SizedDocument
from agents_store_cloudflare.state.json_patch import apply_operation

__all__ = ["MAX_OPERATIONS", "Applied", "apply_changes", "merge_changes"]

MAX_OPERATIONS: Final = 1_000
"""The most patch operations of one promotion, of all its tool calls together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A new custom state.

    Attributes:
        custom_state: the new custom state. It shares no object with the old one or with the changes.
        text: its JSON text, which has at most `max_bytes`.
        applied: the ids of the applied tool calls, in order.
        warnings: texts for a person about overwritten values; they name keys, not values.
    """

    custom_state: JsonObject
    text: str
    applied: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def apply_changes(
    session_id: str,
    custom_state: JsonObject,
    changes: Sequence[StagedChange],
    *,
    max_bytes: int,
    operation: str = "promote_staging",
) -> Applied:
    """Apply all changes in the given order, or none. The arguments stay unchanged.

    When a change has `merge_changes`, they are applied and its `patches` are not. After each change the custom state must be an object.

    Args:
        session_id: the session, for errors.
        custom_state: the custom state before the changes.
        changes: the staged changes, in order.
        max_bytes: the most bytes of the custom state's JSON text. Each operation that makes it grow checks this first.
        operation: the name of the call, for `StateSizeExceededError`.

    Raises:
        StagingError: a change cannot be applied, or there are more than 1,000 operations. It names the tool call and the operation.
        StateSizeExceededError: the result is over `max_bytes`. Its cause is a StagingError that names the tool call.
        TypeError: `custom_state` holds a type that JSON does not have.
        InvalidArgumentError: `custom_state` holds a value that JSON cannot carry.
    """
    work = _Work(session_id, operation, max_bytes, SizedDocument(custom_state, max_bytes=max_bytes))
    for change in changes:
        work.apply(change)
    return work.result([change.tool_call_id for change in changes])


def merge_changes(
    session_id: str,
    custom_state: JsonObject,
    changes: MergeChanges | Mapping[str, JsonValue],
    *,
    max_bytes: int,
    operation: str = "merge_custom_state",
) -> Applied:
    """Merge values into the custom state, by the rules of `apply_changes`.

    Raises:
        StateSizeExceededError: the result is over `max_bytes`.
        TypeError: `custom_state` or `changes` hold a type that JSON does not have.
        InvalidArgumentError: they hold a value that JSON cannot carry, or nest deeper than 200 levels.
    """
    merge = MergeChanges.of(changes)
    work = _Work(session_id, operation, max_bytes, SizedDocument(custom_state, max_bytes=max_bytes))
    work.merge(merge, None)
    return work.result([])


@dataclass(slots=True)
class _Work:
    """A promotion that is being computed."""

    session_id: str
    operation: str
    max_bytes: int
    document: SizedDocument
    operation_count: int = 0
    warnings: list[str] = field(default_factory=list[str])
    # Top-level key -> the tool call that was the last to merge a value into it.
    merged_by: dict[str, str | None] = field(default_factory=dict[str, "str | None"])

    def apply(self, change: StagedChange) -> None:
        if change.merge_changes is not None:
            self.merge(MergeChanges.of(change.merge_changes), change.tool_call_id)
        else:
            self.patch(change)

    def patch(self, change: StagedChange) -> None:
        for index, operation in enumerate(change.patches):
            try:
                self.count_operation()
                apply_operation(self.document, operation)
            except RefusedError as refusal:
                self.fail(refusal, change.tool_call_id, index)
        if not isinstance(self.document.root, dict):
            self.fail(RefusedError("the custom state would not be an object any more"), change.tool_call_id)

    def count_operation(self) -> None:
        self.operation_count += 1
        if self.operation_count > MAX_OPERATIONS:
            raise RefusedError(f"a promotion takes at most {MAX_OPERATIONS:,} operations")

    def merge(self, changes: MergeChanges, tool_call_id: str | None) -> None:
        try:
            for key, value in changes.values.items():
                self.merge_key(key, value, tool_call_id, replace=key in changes.array_replacements)
        except RefusedError as refusal:
            self.fail(refusal, tool_call_id)

    def merge_key(self, key: str, value: JsonValue, tool_call_id: str | None, *, replace: bool) -> None:
        present = cast("JsonObject", self.document.root)
        appends = isinstance(value, list) and not replace
        if appends and isinstance(present.get(key), list):
            self.document.append((key,), cast("list[JsonValue]", value))
        else:
            if key in self.merged_by:
                self.warnings.append(
                    f"tool call {tool_call_id!r} replaced {key!r}, which {self.merged_by[key]!r} had changed: the last one wins"
                )
            if appends and key in present:
                self.warnings.append(f"{key!r} held no list; a list replaced it")
            self.document.add((key,), value)
        self.merged_by[key] = tool_call_id

    def fail(self, refusal: RefusedError, tool_call_id: str | None, operation_index: int | None = None) -> NoReturn:
        """Raise a refusal as `StagingError`, which callers get."""
        error = StagingError(
            self.session_id, tool_call_id=tool_call_id, operation_index=operation_index, reason=str(refusal)
        )
        if isinstance(refusal, OversizeError):
            raise self.oversize(refusal.size_bytes) from error
        raise error from None

    def oversize(self, size_bytes: int) -> StateSizeExceededError:
        return StateSizeExceededError(self.operation, self.session_id, self.max_bytes, size_bytes)

    def result(self, applied: list[str]) -> Applied:
        custom_state = cast("JsonObject", self.document.root)
        text = encode_json(custom_state, name="custom_state")
        if (size_bytes := len(text.encode())) > self.max_bytes:
            raise self.oversize(size_bytes)
        return Applied(custom_state=custom_state, text=text, applied=tuple(applied), warnings=tuple(self.warnings))
