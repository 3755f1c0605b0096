"""The calls to a stream's object that read or change its log.

Each takes arguments and returns a reply. `StreamObject` tells the listeners.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypedDict

from agents_store_cloudflare.contract.errors import InvalidArgumentError, StreamTruncatedError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.streams.records import StreamInfo, StreamMark
from agents_store_cloudflare.objects.rpc_text import encode_reply
from agents_store_cloudflare.streams.commits import Commit
from agents_store_cloudflare.streams.head import Retention, StreamHead
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.rows import BlockRow

__all__ = ["OPERATIONS", "Arguments", "info_of"]

Arguments: TypeAlias = "Mapping[str, Any]"
Operation: TypeAlias = Callable[[StreamLog, Arguments, str, int], str]


def _create(log: StreamLog, arguments: Arguments, payload: str, now_ms: int) -> str:
    after_end_ms, idle_ms, max_chunks = arguments["retention"]
    head = log.create(
        now_ms=now_ms,
        fencing_token=arguments["fencingToken"],
        retention=Retention(after_end_ms=after_end_ms, idle_ms=idle_ms, max_chunks=max_chunks),
        commit=Commit.of_request(arguments, payload),
    )
    return encode_reply(
        {
            "status": head.status,
            "endStatus": head.end_status,
            "lastSequence": head.last_sequence,
            "incarnation": head.incarnation,
            "closedTurn": head.closed_turn,
        }
    )


def _end(log: StreamLog, arguments: Arguments, payload: str, now_ms: int) -> str:
    _check_life(log, arguments, Commit.of_request(arguments, payload))
    log.end(status=arguments["status"], output=payload, now_ms=now_ms, **_named(arguments, payload))
    return encode_reply(None)


def _fail(log: StreamLog, arguments: Arguments, payload: str, now_ms: int) -> str:
    _check_life(log, arguments, Commit.of_request(arguments, payload))
    log.fail(error=arguments["error"], now_ms=now_ms, **_named(arguments, payload))
    return encode_reply(None)


def _pause(log: StreamLog, arguments: Arguments, payload: str, now_ms: int) -> str:
    log.pause(now_ms=now_ms, **_named(arguments, payload))
    return encode_reply(None)


def _resume(log: StreamLog, arguments: Arguments, payload: str, now_ms: int) -> str:
    log.resume(now_ms=now_ms, **_named(arguments, payload))
    return encode_reply(None)


def _reset(log: StreamLog, arguments: Arguments, payload: str, now_ms: int) -> str:
    log.reset(now_ms=now_ms, **_named(arguments, payload))
    return encode_reply(None)


def _truncate(log: StreamLog, arguments: Arguments, payload: str, now_ms: int) -> str:
    first_sequence = arguments["firstSequence"]
    if type(first_sequence) is not int:
        raise InvalidArgumentError("firstSequence must be a whole number")
    log.truncate(first_sequence=first_sequence, now_ms=now_ms, **_named(arguments, payload))
    return encode_reply(None)


def _delete(log: StreamLog, arguments: Arguments, payload: str, now_ms: int) -> str:
    log.delete(now_ms=now_ms, **_named(arguments, payload))
    return encode_reply(None)


def _mark(log: StreamLog, arguments: Arguments, _payload: str, now_ms: int) -> str:
    return encode_reply(list(log.mark(now_ms=now_ms, fencing_token=arguments["fencingToken"])))


def _delete_marked(log: StreamLog, arguments: Arguments, payload: str, now_ms: int) -> str:
    commit = Commit.of_request(arguments, payload)
    now = log.delete_marked(StreamMark(*arguments["mark"]), now_ms=now_ms, commit=commit)
    return encode_reply(None if now is None else list(now))


def _reset_fence(log: StreamLog, arguments: Arguments, payload: str, _now_ms: int) -> str:
    log.reset_fence(commit=Commit.of_request(arguments, payload))
    return encode_reply(None)


def _lost(log: StreamLog, arguments: Arguments, _payload: str, _now_ms: int) -> str:
    sequences: list[int] = arguments["sequences"]
    return encode_reply([sequence for sequence in sequences if log.is_lost(sequence)])


def _info(log: StreamLog, arguments: Arguments, _payload: str, _now_ms: int) -> str:
    head = log.head()
    if head is None:
        return encode_reply(None)
    _check_life(log, arguments)
    return encode_reply(info_of(arguments["streamId"], head, log), head.output or "")


def _check_life(log: StreamLog, arguments: Arguments, commit: Commit | None = None) -> None:
    """Raise `StreamTruncatedError` if the request names a life of the stream that is over. A repetition is none of its business."""
    head = log.head()
    if head is None or arguments.get("incarnation", head.incarnation) == head.incarnation or log.is_repeated(commit):
        return
    raise StreamTruncatedError(
        log.stream_id, from_sequence=head.begun_after, first_sequence=head.first_sequence, was_reset=True
    )


def _copy_page(log: StreamLog, arguments: Arguments, _payload: str, now_ms: int) -> str:
    page = log.copy_page(arguments["after"], now_ms=now_ms)
    if page is None:
        return encode_reply(None)
    return encode_reply({"head": page.head, "blocks": [list(block) for block in page.blocks]}, page.body)


def _restore_page(log: StreamLog, arguments: Arguments, payload: str, now_ms: int) -> str:
    log.restore_page(arguments["token"], [BlockRow(*block) for block in arguments["blocks"]], payload, now_ms=now_ms)
    return encode_reply(None)


def _restore(log: StreamLog, arguments: Arguments, payload: str, now_ms: int) -> str:
    log.restore(
        arguments["token"],
        payload,
        counts=(arguments["blocks"], arguments["chunks"]),
        replaces=arguments["replaces"],
        now_ms=now_ms,
    )
    return encode_reply(None)


OPERATIONS: Final[Mapping[str, Operation]] = {
    "create": _create,
    "end": _end,
    "fail": _fail,
    "pause": _pause,
    "resume": _resume,
    "reset": _reset,
    "truncate": _truncate,
    "delete": _delete,
    "mark": _mark,
    "delete_marked": _delete_marked,
    "reset_fence": _reset_fence,
    "lost": _lost,
    "info": _info,
    "copy_page": _copy_page,
    "restore_page": _restore_page,
    "restore": _restore,
}
"""The operations by their names in a request.

`append` and `read` are not among them, because `append` pushes to listeners and `read` waits.
"""


class _Named(TypedDict):
    fencing_token: int | None
    commit: Commit | None


def _named(arguments: Arguments, payload: str) -> _Named:
    """Return the fencing token and the commit of a request."""
    return {"fencing_token": arguments["fencingToken"], "commit": Commit.of_request(arguments, payload)}


def info_of(stream_id: str, head: StreamHead, log: StreamLog) -> JsonObject:
    """Return a `StreamInfo` as JSON, without the output."""
    info = StreamInfo(
        stream_id=stream_id,
        status=head.status,
        end_status=head.end_status,
        first_sequence=head.first_sequence,
        last_sequence=head.last_sequence,
        count=log.chunk_count(),
        error=head.error,
        writers=log.writer_count(),
        created_at=head.created_at,
        updated_at=head.updated_at,
        ended_at=head.ended_at,
    )
    return info.to_dict()
