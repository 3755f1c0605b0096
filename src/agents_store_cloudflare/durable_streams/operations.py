"""The protocol's calls to a stream's object that are no HTTP requests: deletion and forks, which concern two streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, TypeAlias

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.durable_streams.answers import created
from agents_store_cloudflare.durable_streams.core import ProtocolLog
from agents_store_cloudflare.durable_streams.forks import (
    ForkPoint,
    begin_point,
    check_fork_alike,
    check_same_life,
    fork_facts,
    walk,
)
from agents_store_cloudflare.durable_streams.incoming import IDLE_MS, Origin
from agents_store_cloudflare.durable_streams.offsets import Position, parse_offset
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.requests import Creation, parse_creation
from agents_store_cloudflare.durable_streams.stream_facts import facts_of
from agents_store_cloudflare.objects import ObjectHost
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.objects.rpc_text import WireMessage, encode_reply
from agents_store_cloudflare.streams.commits import Commit
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.protocol_state import ForkSource, ProtocolState

__all__ = ["PREFIX", "READS", "answer_operation"]

PREFIX: Final = "protocol."
READS: Final = ("export", "forks", "source", "stand", "release")
"""The operations whose effects no reader can see."""

EXPORT_BYTES: Final = 1024 * 1024
OTHERS_LOOKED_AFTER: Final = 2
"""The number of other forks that a source checks with each new fork, to forget forks that are gone without a message."""

Arguments: TypeAlias = "Mapping[str, Any]"


def answer_operation(host: ObjectHost, log: StreamLog, rules: ProtocolLog, message: WireMessage) -> str:
    """Reply to a call whose name begins with `PREFIX`. A refusal is an answer inside the reply."""
    arguments = message.head
    try:
        match arguments["op"].removeprefix(PREFIX):
            case "export":
                return _export(rules, arguments, host.now_ms())
            case "fork":
                return _fork(host, log, rules, arguments, message.payload)
            case op:
                return encode_reply(_about_one(op, rules, arguments, host.now_ms()))
    except Refusal as refusal:
        return encode_reply({"answer": _answer(refusal.response())})


def _about_one(op: str, rules: ProtocolLog, arguments: Arguments, now_ms: int) -> JsonObject:
    """Answer a call that concerns only this stream."""
    match op:
        case "delete":
            source_id = rules.delete(commit=Commit(arguments["commitId"]), now_ms=now_ms)
            return {"sourceId": source_id, **rules.life()}
        case "forks":
            is_held = rules.path.is_soft_deleted()
            return {"forks": rules.path.forks.some(arguments["most"], now_ms=now_ms) if is_held else []}
        case "release":
            return {"sourceId": rules.path.release_fork(arguments["forkId"])}
        case "stand":
            head = rules.head()
            last_sequence, due_ms = (None, None) if head is None else (head.last_sequence, head.due_ms)
            return {"lastSequence": last_sequence, "dueMs": due_ms, **rules.life()}
        case "source":
            return {"sourceId": rules.path.source_id(), "wasMade": rules.path.was_made()}
        case _:
            raise InvalidArgumentError(f"a stream has no operation {op!r}; does the Worker run an older version?")


def _export(rules: ProtocolLog, arguments: Arguments, now_ms: int) -> str:
    """Return a page of the copy for a fork. With the first page the source notes the fork."""
    given, after = arguments["point"], arguments["after"]
    if given is None:
        position = _position(arguments)
        point = begin_point(rules, position, arguments["subOffset"], arguments["contentType"])
    else:
        point = ForkPoint(**given)
    if point.left:
        point = walk(rules, point)
    head = check_same_life(rules, point)
    reply: JsonObject = {
        "facts": facts_of(head).to_json(),
        "point": asdict(point),
        "after": after,
        "isLast": False,
        "isLooking": point.left > 0,
        "others": [],
    }
    if point.left:
        return encode_reply(reply)
    if after is None:
        rules.path.forks.add(arguments["forkId"], now_ms=now_ms)
        reply["others"] = rules.path.forks.some_of_many(OTHERS_LOOKED_AFTER, now_ms=now_ms)
    lines, reached = _page(rules, point, point.first_sequence - 1 if after is None else after)
    is_last = reached >= point.last_sequence
    if is_last and point.cut is not None:
        lines = f"{lines}\n{point.cut}" if lines else point.cut
    return encode_reply({**reply, "after": reached, "isLast": is_last}, lines)


def _page(rules: ProtocolLog, point: ForkPoint, after: int) -> tuple[str, int]:
    """Return the copied messages after a sequence, and the sequence of the last one of them."""
    if after >= point.last_sequence:
        return "", after
    page = rules.read(after, max_bytes=EXPORT_BYTES)
    kept = min(page.count, point.last_sequence - page.first_sequence + 1)
    lines = page.body if kept == page.count else "\n".join(page.body.split("\n", kept)[:kept])
    return lines, page.first_sequence + kept - 1


def _fork(host: ObjectHost, log: StreamLog, rules: ProtocolLog, arguments: Arguments, lines: str) -> str:
    """Do one step of a fork: answer at once if possible, otherwise store a page or make the stream."""
    request = HttpRequest(
        method="PUT", url=arguments["url"], headers=arguments["headers"], body=arguments["body"].encode("latin-1")
    )
    creation = parse_creation(request)
    source_id, token, step = arguments["sourceId"], arguments["token"], arguments["step"]
    made = rules.path.made_by(token)
    if made is not None:
        return _done(made, request, is_new=True)
    head = log.head()
    if head is not None:
        check_fork_alike(head, creation, source_id, _position(arguments), arguments["subOffset"])
        return _done(head, request, is_new=False)
    rules.path.check_unused()
    if step == "ask":
        return encode_reply({"answer": None})
    if step == "page":
        origin = Origin(source_id, log.stream_id)
        rules.path.incoming.take(origin, token, arguments["page"], lines, now_ms=host.now_ms())
        if arguments["page"] == 0:
            host.set_alarm(host.now_ms() + IDLE_MS)
        return encode_reply({"answer": None})
    return _done(_made(host, rules, arguments, creation, lines), request, is_new=True)


def _made(host: ObjectHost, rules: ProtocolLog, arguments: Arguments, creation: Creation, lines: str) -> StreamHead:
    point, now_ms = ForkPoint(**arguments["point"]), host.now_ms()
    source = ForkSource(
        stream_id=arguments["sourceId"],
        sequence=point.sequence,
        sub_offset=point.sub_offset,
        fork_id=arguments["streamId"],
        token=arguments["token"],
    )
    facts = fork_facts(ProtocolState.from_json(arguments["facts"]), source, creation, now_ms)
    return rules.make_fork(
        facts, creation, pages=arguments["page"], last=lines, first_sequence=point.first_sequence, now_ms=now_ms
    )


def _position(arguments: Arguments) -> Position | None:
    offset: str | None = arguments["offset"]
    return None if offset is None else parse_offset(offset, name="Stream-Fork-Offset")


def _done(head: StreamHead, request: HttpRequest, *, is_new: bool) -> str:
    return encode_reply({"answer": _answer(created(head, request.url, is_new=is_new))})


def _answer(response: HttpResponse) -> JsonObject:
    body = response.body if isinstance(response.body, str) else None
    return {"status": response.status, "headers": dict(response.headers), "body": body}
