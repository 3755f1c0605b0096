"""Copies of streams: the head of a stream, and its blocks with their chunks."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, TypeAlias, cast

from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import InvalidArgumentError, MigrationError, StreamError
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.database import MAX_VALUE_BYTES
from agents_store_cloudflare.streams.head import decode_head
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager

__all__ = ["StreamCopy", "arrive", "check_stream", "copy_of_stream", "take_place"]

ATTEMPTS: Final = 5
PAGE_BYTES: Final = 1_000_000

StreamCopy: TypeAlias = dict[str, Any]
"""The copy of a stream: `streamId`; `head` as the stream's object stores it; `blocks`, each [first sequence, count, bytes, time,
writer, number, chunks].
"""


async def copy_of_stream(manager: DurableObjectStreamManager, stream_id: str) -> StreamCopy | None:
    """Return a copy of the whole stream, or None if there is no stream.

    Raises:
        StreamError: the stream could not be reached, or it was reset again and again meanwhile.
    """
    for _ in range(ATTEMPTS):
        blocks: list[list[Any]] = []
        incarnations: set[str] = set()
        while True:
            after = blocks[-1][0] if blocks else 0
            reply = await manager.client.call(stream_id, "copy_page", {"after": after})
            if (page := cast("dict[str, Any] | None", reply.head["ok"])) is None:
                return None
            incarnations.add(decode_head(stream_id, page["head"], None).incarnation)
            blocks += _with_bodies(page["blocks"], reply.payload)
            if not page["blocks"]:
                break
        if len(incarnations) == 1:
            return {"streamId": stream_id, "head": page["head"], "blocks": blocks}
    raise StreamError(f"stream {stream_id!r} was reset while it was copied; copy it when nobody writes")


def _with_bodies(blocks: Sequence[list[Any]], payload: str) -> Iterator[list[Any]]:
    lines = payload.split("\n")
    begin = 0
    for block in blocks:
        yield [*block, "\n".join(lines[begin : begin + block[1]])]
        begin += block[1]


def check_stream(copy: object) -> StreamCopy:
    """Return the copy of a stream after checking it.

    Raises:
        InvalidArgumentError: the copy is incomplete, or a stream cannot have its content.
    """
    own = cast("dict[str, Any]", copy) if isinstance(copy, dict) else {}
    stream_id = check_id(own.get("streamId"), "streamId")
    try:
        head = decode_head(stream_id, own["head"], None)
        ends = [_end_of(block) for block in own["blocks"]]
        begins = [block[0] for block in own["blocks"]]
        is_in_order = all(begin > end for begin, end in zip(begins, [0, *ends], strict=False))
        is_whole = is_in_order and (not ends or ends[-1] <= head.last_sequence)
    except MigrationError as error:
        raise InvalidArgumentError(str(error)) from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise InvalidArgumentError(f"the copy of stream {stream_id!r} is no stream ({type(error).__name__})") from None
    if not is_whole:
        raise InvalidArgumentError(f"the copy of stream {stream_id!r} has chunks out of order, or more than it counts")
    return own


def _end_of(block: Sequence[Any]) -> int:
    """Check a block, and return its last sequence."""
    first, count, size_bytes, written_at, writer, number, body = block
    whole = all(type(value) is int for value in (first, count, size_bytes, written_at, number))
    texts = body.split("\n")
    if not whole or not isinstance(writer, str) or len(texts) != count or len(body.encode()) != size_bytes:
        raise ValueError("block")
    if size_bytes > MAX_VALUE_BYTES:
        raise ValueError("size")
    for text in texts:
        json.loads(text)
    return cast("int", first) + cast("int", count) - 1


async def arrive(manager: DurableObjectStreamManager, copy: StreamCopy, *, replace: bool) -> str:
    """Send the blocks of a copy to the stream's object, which keeps them beside the stream. Return the name of the attempt.

    A replacement has a new name each time. Otherwise the same copy has the same name, so that a repeated import finds its own work.
    """
    digest = sha256(json.dumps(copy, sort_keys=True).encode()).hexdigest()[:32]
    token = f"restore {secrets.token_hex(16) if replace else digest}"
    await _page(manager, copy, token, [])
    waiting: list[list[Any]] = []
    size_bytes = 0
    for block in copy["blocks"]:
        if waiting and size_bytes + block[2] > PAGE_BYTES:
            await _page(manager, copy, token, waiting)
            waiting, size_bytes = [], 0
        waiting.append(block)
        size_bytes += block[2]
    if waiting:
        await _page(manager, copy, token, waiting)
    return token


async def _page(manager: DurableObjectStreamManager, copy: StreamCopy, token: str, blocks: Sequence[list[Any]]) -> None:
    arguments: Mapping[str, JsonValue] = {"token": token, "blocks": [block[:6] for block in blocks]}
    await manager.client.call(copy["streamId"], "restore_page", arguments, "\n".join(block[6] for block in blocks))


async def take_place(manager: DurableObjectStreamManager, copy: StreamCopy, token: str, *, replace: bool) -> None:
    """Replace the stream by the copy that has arrived.

    Raises:
        InvalidArgumentError: the stream exists, and `replace` is False.
        StreamError: the stream could not be reached, or another copy came meanwhile.
    """
    arguments: Mapping[str, JsonValue] = {
        "token": token,
        "blocks": len(copy["blocks"]),
        "chunks": sum(block[1] for block in copy["blocks"]),
        "replaces": replace,
    }
    await manager.client.call(copy["streamId"], "restore", arguments, copy["head"])
