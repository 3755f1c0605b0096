"""What the face in the Worker asks a stream's object for beyond HTTP: deletion, and forks, which concern two streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.durable_streams.core import ProtocolLog, facts_of
from agents_store_cloudflare.durable_streams.forks import (
    ForkPoint,
    IncomingPages,
    check_fork_alike,
    fork_facts,
    fork_point,
)
from agents_store_cloudflare.durable_streams.offsets import parse_offset
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.requests import Creation, parse_creation
from agents_store_cloudflare.durable_streams.wires import created
from agents_store_cloudflare.objects import ObjectHost
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.objects.rpc_text import WireMessage, encode_reply
from agents_store_cloudflare.streams.commits import Commit
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.protocol_state import ProtocolState

__all__ = ["PREFIX", "answer_operation"]

PREFIX: Final = "protocol."
EXPORT_BYTES: Final = 1024 * 1024

Arguments: TypeAlias = "Mapping[str, Any]"


def answer_operation(host: ObjectHost, log: StreamLog, rules: ProtocolLog, message: WireMessage) -> str:
    """The reply to one call whose name begins with `PREFIX`; a refusal is in the reply."""
    arguments = message.head
    try:
        match arguments["op"].removeprefix(PREFIX):
            case "export":
                return _export(rules, arguments)
            case "fork":
                return _fork(host, log, rules, arguments, message.payload)
            case op:
                return encode_reply(_about_one(op, rules, arguments, host.now_ms()))
    except Refusal as refusal:
        return encode_reply({"answer": _answer(refusal.response())})


def _about_one(op: str, rules: ProtocolLog, arguments: Arguments, now_ms: int) -> JsonObject:
    """What only asks, or changes, this stream."""
    match op:
        case "delete":
            return {"sourceId": rules.delete(commit=Commit(arguments["incarnation"]), now_ms=now_ms)}
        case "forks":
            return {"forks": list(rules.forks()) if rules.is_soft_deleted() else []}
        case "release":
            return {"sourceId": rules.release_fork(arguments["forkId"])}
        case "source":
            return {"sourceId": rules.source_id()}
        case _:
            raise InvalidArgumentError(f"a stream has no operation {op!r}; does the Worker run an older version?")


def _export(rules: ProtocolLog, arguments: Arguments) -> str:
    """A page of what a fork copies; with the first one the fork is noted here."""
    offset: str | None = arguments["offset"]
    position = None if offset is None else parse_offset(offset, name="Stream-Fork-Offset")
    if arguments["after"] is None:
        point = fork_point(rules, position, arguments["subOffset"], arguments["contentType"])
        rules.add_fork(arguments["forkId"])
    else:
        point = ForkPoint(**arguments["point"])
    after: int = point.first_sequence - 1 if arguments["after"] is None else arguments["after"]
    lines = ""
    if after < point.last_sequence:
        page = rules.read(after, max_bytes=EXPORT_BYTES)
        kept = min(page.count, point.last_sequence - page.first_sequence + 1)
        lines = page.body if kept == page.count else "\n".join(page.body.split("\n", kept)[:kept])
        after = page.first_sequence + kept - 1
    is_last = after >= point.last_sequence
    if is_last and point.cut is not None:
        lines = f"{lines}\n{point.cut}" if lines else point.cut
    reply: JsonObject = {
        "facts": facts_of(rules.existing()).to_json(),
        "point": {
            "sequence": point.sequence,
            "sub_offset": point.sub_offset,
            "first_sequence": point.first_sequence,
            "last_sequence": point.last_sequence,
            "cut": point.cut,
        },
        "after": after,
        "isLast": is_last,
    }
    return encode_reply(reply, lines)


def _fork(host: ObjectHost, log: StreamLog, rules: ProtocolLog, arguments: Arguments, lines: str) -> str:
    """Answer a request for a fork where it can be answered, take a page of it, or make it."""
    request = HttpRequest(
        method="PUT", url=arguments["url"], headers=arguments["headers"], body=arguments["body"].encode("latin-1")
    )
    creation = parse_creation(request)
    source_id: str = arguments["sourceId"]
    head = log.head()
    if head is not None:
        check_fork_alike(head, creation, source_id, _position(arguments), arguments["subOffset"])
        return _done(head, request, is_new=False)
    rules.check_unused()
    incoming = IncomingPages(host.sql, log, rules)
    if arguments["step"] == "ask":
        return encode_reply({"answer": None})
    if arguments["step"] == "page":
        incoming.take(arguments["token"], arguments["page"], lines)
        return encode_reply({"answer": None})
    return _done(_made(host, incoming, arguments, creation, lines), request, is_new=True)


def _made(
    host: ObjectHost, incoming: IncomingPages, arguments: Arguments, creation: Creation, lines: str
) -> StreamHead:
    point, now_ms = ForkPoint(**arguments["point"]), host.now_ms()
    source = ProtocolState.from_json(arguments["facts"])
    return incoming.finish(
        arguments["token"],
        arguments["page"],
        lines,
        facts=fork_facts(source, arguments["sourceId"], point, creation, now_ms),
        first_sequence=point.first_sequence,
        creation=creation,
        now_ms=now_ms,
    )


def _position(arguments: Arguments) -> Any:
    offset: str | None = arguments["offset"]
    return None if offset is None else parse_offset(offset, name="Stream-Fork-Offset")


def _done(head: StreamHead, request: HttpRequest, *, is_new: bool) -> str:
    return encode_reply({"answer": _answer(created(head, request.url, is_new=is_new))})


def _answer(response: HttpResponse) -> JsonObject:
    body = response.body if isinstance(response.body, str) else None
    return {"status": response.status, "headers": dict(response.headers), "body": body}
