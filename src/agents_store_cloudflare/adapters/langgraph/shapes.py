"""Shapes: the names of channels and nodes are stored once. A checkpoint refers to its shape and holds only numbers."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from langgraph.checkpoint.base import Checkpoint

from agents_store_cloudflare.adapters.langgraph.errors import ForeignValueError

__all__ = ["NUMBERED", "Numbers", "Shape", "checkpoint_of", "dump", "numbers_of", "shape_of"]

NUMBERED: Final = frozenset(
    {"id", "ts", "v", "channel_values", "channel_versions", "versions_seen", "updated_channels"}
)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

_dump = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode
_dump_ascii = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":")).encode


def dump(value: object) -> str:
    """Return compact JSON text that UTF-8 can carry."""
    text = _dump(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _dump_ascii(value)
    return text


class Shape(NamedTuple):
    """The common part of the checkpoints of one graph as text, and its channels in order."""

    text: str
    channels: list[str]


class Numbers(NamedTuple):
    """The facts that differ between checkpoints of one shape, without the values."""

    ts: int | str
    versions: list[Any]
    seen: list[Any]
    updated: list[Any] | None


def shape_of(checkpoint: Checkpoint, others: str) -> Shape:
    """Return the shape of a checkpoint.

    Args:
        others: the other keys of the checkpoint as text.
    """
    versions = checkpoint["channel_versions"]
    channels = [*versions, *(name for name in checkpoint["channel_values"] if name not in versions)]
    seen = [[node, list(each)] for node, each in checkpoint["versions_seen"].items()]
    return Shape(f'{{"v":{dump(checkpoint["v"])},"c":{dump(channels)},"s":{dump(seen)},"x":{others}}}', channels)


def numbers_of(checkpoint: Checkpoint, channels: Sequence[str]) -> Numbers:
    """Return the numbers of a checkpoint, in the order of its shape."""
    versions = checkpoint["channel_versions"]
    places = {name: place for place, name in enumerate(channels)}
    updated = checkpoint.get("updated_channels")
    return Numbers(
        _time(checkpoint["ts"]),
        [versions.get(name) for name in channels],
        [version for each in checkpoint["versions_seen"].values() for version in each.values()],
        None if updated is None else [places.get(name, name) for name in updated],
    )


def checkpoint_of(
    checkpoint_id: str, shape: Mapping[str, Any], others: Mapping[str, Any], numbers: Numbers, values: dict[str, Any]
) -> Checkpoint:
    """Return the checkpoint of a shape and its numbers.

    Raises:
        ForeignValueError: the shape and the numbers do not belong together.
    """
    try:
        channels: list[str] = shape["c"]
        versions = {name: each for name, each in zip(channels, numbers.versions, strict=True) if each is not None}
        rest = iter(numbers.seen)
        seen = {node: {name: next(rest) for name in names} for node, names in shape["s"]}
        updated = numbers.updated
        made: dict[str, Any] = {
            **others,
            "v": shape["v"],
            "id": checkpoint_id,
            "ts": _time_text(numbers.ts),
            "channel_values": values,
            "channel_versions": versions,
            "versions_seen": seen,
            "updated_channels": None
            if updated is None
            else [channels[each] if isinstance(each, int) else each for each in updated],
        }
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError, StopIteration) as error:
        raise ForeignValueError(
            f"checkpoint {checkpoint_id!r} does not have the form of this version: {error!r}"
        ) from error
    return cast("Checkpoint", made)


def _time(text: str) -> int | str:
    """Return the time as microseconds since 1970, or the text itself if it could not be rebuilt from them."""
    try:
        moment = dt.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return text
        past = moment - _EPOCH
        number = (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds
        return number if _time_text(number) == text else text
    except (TypeError, ValueError):
        return text


def _time_text(time: int | str) -> str:
    return time if isinstance(time, str) else (_EPOCH + dt.timedelta(microseconds=time)).isoformat()
