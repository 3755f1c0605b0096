"""Shows JSON values for people: as a folded tree, or as the differences between two values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

from agents_store_cloudflare.console.html import Child, Markup, element as h
from agents_store_cloudflare.console.text import cut, one_line
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.contract.record import Record

__all__ = ["Difference", "differences", "shown_value", "value_at", "value_tree"]

MOST_NODES: Final = 1_000
MOST_DEPTH: Final = 20
MOST_DIFFERENCES: Final = 300
OPEN_DEPTH: Final = 2
STRING_CUT: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference(Record):
    """One place where two values differ.

    Attributes:
        path: the place as a JSON pointer.
        kind: "added", "removed" or "changed".
        before, after: the values; None if there was or is none.
    """

    path: str
    kind: Literal["added", "removed", "changed"]
    before: JsonValue = None
    after: JsonValue = None


def differences(before: JsonValue, after: JsonValue) -> list[Difference]:
    """Return the places in which two values differ, in their order, at most 300. Lists are compared place by place."""
    found: list[Difference] = []
    pending: list[tuple[str, JsonValue, JsonValue]] = [("", before, after)]
    while pending and len(found) < MOST_DIFFERENCES:
        path, old, new = pending.pop()
        parts = _parts(path, old, new)
        if parts is None:
            if not _is_same(old, new):
                found.append(Difference(path=path, kind="changed", before=old, after=new))
            continue
        ended, inner = parts
        found += ended
        pending += reversed(inner)
    return found[:MOST_DIFFERENCES]


def _parts(
    path: str, old: JsonValue, new: JsonValue
) -> tuple[list[Difference], list[tuple[str, JsonValue, JsonValue]]] | None:
    """Return the entries of only one of two containers, and the entries of both. Return None if the containers are of different kinds."""
    if isinstance(old, dict) and isinstance(new, dict):
        mine, theirs = cast("Mapping[str, JsonValue]", old), cast("Mapping[str, JsonValue]", new)
    elif isinstance(old, list) and isinstance(new, list):
        mine, theirs = _numbered(cast("Sequence[JsonValue]", old)), _numbered(cast("Sequence[JsonValue]", new))
    else:
        return None
    at = {key: f"{path}/{_escaped(key)}" for key in [*mine, *theirs]}
    ended = [Difference(path=at[key], kind="removed", before=mine[key]) for key in mine if key not in theirs]
    ended += [Difference(path=at[key], kind="added", after=theirs[key]) for key in theirs if key not in mine]
    return ended, [(at[key], mine[key], theirs[key]) for key in mine if key in theirs]


def _numbered(values: Sequence[JsonValue]) -> dict[str, JsonValue]:
    return {str(index): value for index, value in enumerate(values)}


def _is_same(old: JsonValue, new: JsonValue) -> bool:
    # In Python 1 == 1.0 == True.
    return type(old) is type(new) and old == new


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def value_at(value: object, path: str) -> JsonValue:
    """Return the part of a value that a JSON pointer names.

    Raises:
        KeyError: there is no such part.
    """
    for part in path.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            if not (key.isascii() and key.isdigit()) or int(key) >= len(cast("list[JsonValue]", value)):
                raise KeyError(path)
            value = cast("list[JsonValue]", value)[int(key)]
        elif isinstance(value, dict):
            value = cast("dict[str, JsonValue]", value)[key]
        else:
            raise KeyError(path)
    return cast("JsonValue", value)


def shown_value(value: JsonValue, limit: int = 300) -> str:
    """Return the beginning of a value's JSON on one line."""
    return one_line(json.dumps(value, ensure_ascii=False), limit)


def value_tree(value: JsonValue, whole: Callable[[str], str]) -> Markup:
    """Return a value as a tree of at most 1,000 nodes.

    Args:
        whole: JSON pointer -> the URL of the page with this whole part.
    """
    return h("div", _Tree(whole).node("", None, value, 0), class_="tree")


class _Tree:
    """Makes one tree."""

    def __init__(self, whole: Callable[[str], str]) -> None:
        self._whole = whole
        self._nodes_left = MOST_NODES

    def node(self, path: str, key: str | None, value: object, depth: int) -> Markup:
        """Return a value with its key and its contents."""
        self._nodes_left -= 1
        name = None if key is None else h("span", key, class_="key")
        if isinstance(value, list):
            fields = _numbered(cast("list[JsonValue]", value))
        elif isinstance(value, dict):
            fields = cast("dict[str, JsonValue]", value)
        else:
            return h("div", name, self._leaf(value, path), class_="leaf")
        size = h("small", f"{'list' if isinstance(value, list) else 'object'} of {len(fields):,}")
        if not fields:
            return h("div", name, size, class_="leaf")
        return h("details", h("summary", name, size), self._children(path, fields, depth), open=depth < OPEN_DEPTH)

    def _children(self, path: str, fields: Mapping[str, JsonValue], depth: int) -> list[Child]:
        shown: list[Child] = []
        for key, value in fields.items():
            if self._nodes_left <= 0 or depth >= MOST_DEPTH:
                return [*shown, h("p", h("a", f"{len(fields) - len(shown):,} more", href=self._whole(path)))]
            shown.append(self.node(f"{path}/{_escaped(key)}", key, value, depth + 1))
        return shown

    def _leaf(self, value: object, path: str) -> Child:
        if not isinstance(value, str):
            return h("code", json.dumps(value, ensure_ascii=False), class_="value other")
        shown, is_cut = cut(value, STRING_CUT)
        more = h("a", f" show all {len(value):,} characters", href=self._whole(path)) if is_cut else None
        return [h("code", json.dumps(shown, ensure_ascii=False), class_="value text"), more]
