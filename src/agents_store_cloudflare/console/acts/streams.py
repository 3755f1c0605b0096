"""The acts on a session's stream: end it, fail it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agents_store_cloudflare.console.acts.act import (
    Act,
    ChangedError,
    Entry,
    Plan,
    Receipt,
    new_commit_id,
    objects_of,
)
from agents_store_cloudflare.console.asking import Asked
from agents_store_cloudflare.console.session_page import summary_of
from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import StreamNotFoundError, StreamTruncatedError
from agents_store_cloudflare.contract.json_values import JsonObject, encode_json

__all__ = ["END", "FAIL"]

_BY_OPERATOR: Final = "ended by an operator"


async def _plan_end(asked: Asked) -> Plan:
    told = "its readers are told that it has ended with this status"
    return await _plan(asked, "End", told, Entry(name="status", label="Status that readers get", value="completed"))


async def _plan_fail(asked: Asked) -> Plan:
    told = "its readers get this error after the last chunk"
    return await _plan(asked, "Fail", told, Entry(name="error", label="Error that readers get", value=_BY_OPERATOR))


async def _plan(asked: Asked, verb: str, told: str, entry: Entry) -> Plan:
    session = await summary_of(asked)
    mark = await objects_of(asked).streams.mark_stream(session.stream_id)
    if mark is None:
        raise StreamNotFoundError(session.stream_id)
    return Plan(
        title=f"{verb} the stream of {session.session_id}",
        says=(
            f"Stream {session.stream_id} takes no more chunks, and {told}.",
            "A turn that is writing to it fails at its next write.",
        ),
        fixed={
            "id": session.session_id,
            "stream": session.stream_id,
            "life": mark.life or "",
            "commit": new_commit_id(),
        },
        entries=(entry,),
        button=f"{verb} the stream",
        back=asked.link("stream", id=session.session_id),
    )


async def _end(asked: Asked, given: Mapping[str, str]) -> Receipt:
    status = given.get("status") or "completed"
    await _close(asked, given, "end", {"status": check_id(status, "status")}, "null")
    return Receipt(
        title="The stream has ended",
        facts=(("Stream", given["stream"]), ("Status", status)),
        data={"stream": given["stream"], "status": status},
        back=asked.link("stream", id=given["id"]),
    )


async def _fail(asked: Asked, given: Mapping[str, str]) -> Receipt:
    error = given.get("error") or _BY_OPERATOR
    encode_json(error, name="error")
    await _close(asked, given, "fail", {"error": error})
    return Receipt(
        title="The stream has failed",
        facts=(("Stream", given["stream"]), ("Error", error)),
        data={"stream": given["stream"], "error": error},
        back=asked.link("stream", id=given["id"]),
    )


async def _close(asked: Asked, given: Mapping[str, str], op: str, outcome: JsonObject, payload: str = "") -> None:
    """Give the life of the stream that the page has shown its outcome.

    Raises:
        ChangedError: the stream was reset, or deleted and made again.
    """
    request = {**outcome, "fencingToken": None, "commitId": given["commit"], "incarnation": given["life"]}
    try:
        await objects_of(asked).stream_client.call(given["stream"], op, request, payload)
    except StreamTruncatedError:
        raise ChangedError("the stream was reset or deleted since this page was shown; look again") from None


END: Final = Act(plan=_plan_end, perform=_end, written=frozenset({"status"}), needs_objects=True)
FAIL: Final = Act(plan=_plan_fail, perform=_fail, written=frozenset({"error"}), needs_objects=True)
