"""Turns items of the long-term memory into rows, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from langgraph.store.base import InvalidNamespaceError, Item, SearchItem

from agents_store_cloudflare.adapters.errors import ForeignValueError
from agents_store_cloudflare.contract.arguments import check_text
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import encode_json, parse_json
from agents_store_cloudflare.database import Row

__all__ = [
    "MOST_ITEM_BYTES",
    "Namespace",
    "item_of",
    "key_text",
    "labels_of",
    "namespace_text",
    "range_of",
    "search_item_of",
    "value_json",
]

Namespace = tuple[str, ...]

MOST_ITEM_BYTES: Final = 1_900_000
"""The most bytes of an item's value as JSON, because D1 takes at most 2,000,000 bytes for a row."""

MOST_NAME_BYTES: Final = 2_000
"""The most bytes of a namespace, and of a key."""

SEPARATOR: Final = "\x1f"
"""The end of each label of a stored namespace. It is below all characters of labels, so the order of texts is the order of labels."""

_LAST: Final = "\U0010ffff"
_CONTROL: Final = re.compile("[\x00-\x1f\x7f\U0010ffff]")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def namespace_text(namespace: object, *, empty: bool = True, wildcards: bool = False) -> str:
    """Return the stored form of a namespace, or of the beginning of a namespace.

    Args:
        empty: allow a namespace without labels.
        wildcards: the labels from the first "*" on are left out.

    Raises:
        InvalidNamespaceError: a label is no text, is empty, or has a period or a control character, or it is too long.
    """
    if not isinstance(namespace, tuple | list):
        raise InvalidNamespaceError(f"a namespace is a tuple of labels, not {namespace!r}")
    labels = [_label(label) for label in cast("Sequence[object]", namespace)]
    text = "".join(
        f"{label}{SEPARATOR}" for label in (labels[: labels.index("*")] if wildcards and "*" in labels else labels)
    )
    if not labels and not empty:
        raise InvalidNamespaceError("the namespace of an item has at least one label")
    if len(text.encode()) > MOST_NAME_BYTES:
        raise InvalidNamespaceError(f"a namespace has at most {MOST_NAME_BYTES:,} bytes")
    return text


def _label(label: object) -> str:
    if not isinstance(label, str) or not label or "." in label or _CONTROL.search(label) or not _is_utf8(label):
        raise InvalidNamespaceError(
            f"a label of a namespace is text without periods and control characters, not empty; got {label!r}"
        )
    return label


def _is_utf8(text: str) -> bool:
    return text.isascii() or text.encode(errors="replace") == text.encode(errors="surrogatepass")


def labels_of(text: str) -> Namespace:
    """Return the labels of a stored namespace."""
    return tuple(text.split(SEPARATOR)[:-1])


def range_of(prefix: str) -> tuple[str, str]:
    """Return the first stored namespace with the prefix, and the end of the range of these namespaces."""
    return prefix, f"{prefix[:-1]} " if prefix else _LAST


def key_text(key: object) -> str:
    """Return an item's key after checking it.

    Raises:
        TypeError: the key is no text.
        InvalidArgumentError: the key has a control character or a lone surrogate, or is too long.
    """
    text = check_text(key, "the key of an item", empty=True, max_bytes=MOST_NAME_BYTES)
    if _CONTROL.search(text):
        raise InvalidArgumentError(f"the key of an item holds a control character: {text!r}")
    return text


def value_json(value: object, name: str) -> str:
    """Return an item's value as JSON text.

    Raises:
        ForeignValueError: the value is no mapping, JSON cannot hold it, or it is too large.
    """
    if not isinstance(value, Mapping):
        raise ForeignValueError(f"the value of {name} is a mapping, or None to delete it; got {type(value).__name__}")
    try:
        text = encode_json(dict(cast("Mapping[str, Any]", value)), name=f"the value of {name}")
    except (TypeError, InvalidArgumentError) as error:
        raise ForeignValueError(str(error)) from error
    if (size_bytes := len(text.encode())) > MOST_ITEM_BYTES:
        raise ForeignValueError(
            f"the value of {name} has {size_bytes:,} bytes as JSON, allowed are {MOST_ITEM_BYTES:,}"
        )
    return text


def item_of(row: Row) -> Item:
    """Return the item of a row.

    Raises:
        ForeignValueError: another program or a newer version wrote the row.
    """
    return Item(**_parts(row))


def search_item_of(row: Row) -> SearchItem:
    """Return the found item of a row of a search.

    Raises:
        ForeignValueError: another program or a newer version wrote the row.
    """
    return SearchItem(**_parts(row))


def _parts(row: Row) -> dict[str, Any]:
    namespace, key, value, created_at, updated_at, *_ = cast("tuple[str, str, str, int, int, str]", tuple(row))
    return {
        "namespace": labels_of(namespace),
        "key": key,
        "value": _value_of(value, f"item {key!r} of {labels_of(namespace)!r}"),
        "created_at": _EPOCH + timedelta(milliseconds=created_at),
        "updated_at": _EPOCH + timedelta(milliseconds=updated_at),
    }


def _value_of(text: str, name: str) -> dict[str, Any]:
    try:
        value = parse_json(text, name=name)
    except InvalidArgumentError as error:
        raise ForeignValueError(f"{error}: another program or a newer version wrote it") from error
    if not isinstance(value, dict):
        raise ForeignValueError(f"{name} is no object: another program or a newer version wrote it")
    return value
