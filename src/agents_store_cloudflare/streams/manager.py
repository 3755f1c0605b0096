"""The stream manager that users hold: streams in Durable Objects, one object per stream id."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Literal, Unpack

from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.contract.arguments import (
    UNSET,
    FencingToken,
    check_fencing_token,
    check_flag,
    check_id,
    check_whole_number,
    options_of,
    span_ms,
)
from agents_store_cloudflare.contract.errors import InvalidArgumentError, StreamNotFoundError
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue, decode_json, encode_json
from agents_store_cloudflare.contract.streams.manager import StreamManager
from agents_store_cloudflare.contract.streams.records import BufferOverflowEvent, StreamInfo, StreamMark
from agents_store_cloudflare.streams.batch_sender import WriterIdentity
from agents_store_cloudflare.streams.blocks import MAX_CHUNK_BYTES
from agents_store_cloudflare.streams.open_writers import OpenWriters
from agents_store_cloudflare.streams.opening import Opening
from agents_store_cloudflare.streams.options import StreamOptions, StreamSettings
from agents_store_cloudflare.streams.reader import DurableObjectStreamReader
from agents_store_cloudflare.streams.sse import parse_position
from agents_store_cloudflare.streams.stream_client import StreamClient
from agents_store_cloudflare.streams.writer import DurableObjectStreamWriter

__all__ = ["DurableObjectStreamManager", "closing_arguments"]

MAX_WAIT_S: Final = 86_400


class DurableObjectStreamManager(StreamManager):
    """Streams in the Durable Objects of the class `StreamServer`. Make one manager per request.

    Example:
        >>> stream_manager = DurableObjectStreamManager(self.env.STREAMS)
        >>> async with stream_manager.create_writer("run-1", "agent-1", "researcher") as writer:
        ...     await writer.write({"type": "text", "text": "hello"})
        >>> await stream_manager.end_stream("run-1", {"answer": 42})

    Args:
        stream_namespace: the binding, raw or as the SDK wraps it, or `LocalObjects(StreamObject)` in tests.
        options: all options at once.
        settings: single options as keyword arguments; see `StreamOptions`.

    Every call that ends, fails, pauses, resumes, resets, deletes or truncates a stream takes a `commit_id`. When you give none, the
    manager makes one for its own retries after a lost reply. Give one to repeat a call yourself, also from another request: the
    call takes effect once.
    """

    def __init__(
        self, stream_namespace: object, *, options: StreamOptions | None = None, **settings: Unpack[StreamSettings]
    ) -> None:
        self._options = options_of(options, settings, StreamOptions)
        self._client = StreamClient(as_namespace(stream_namespace), self._options.sleep)
        self._writers = OpenWriters(self._client, self._options)

    @property
    def client(self) -> StreamClient:
        """The calls to the streams' objects, for `agents_store_cloudflare.transfer`."""
        return self._client

    def create_writer(
        self, stream_id: str, agent_id: str, agent_type: str, *, fencing_token: FencingToken = UNSET
    ) -> Opening[DurableObjectStreamWriter]:
        identity = WriterIdentity(
            stream_id=check_id(stream_id, "stream_id"),
            agent_id=check_id(agent_id, "agent_id"),
            agent_type=check_id(agent_type, "agent_type"),
            fencing_token=check_fencing_token(fencing_token),
        )
        return Opening(lambda: self._writers.open(identity))

    def turn_writer(
        self,
        stream_id: str,
        agent_id: str,
        agent_type: str,
        *,
        fencing_token: int | None,
        writer_id: str | None = None,
    ) -> DurableObjectStreamWriter:
        """Return a writer that is not open. `store.turn` opens it while it sends the turn's first batch.

        Its timer needs no `wait_until`: the turn's block keeps the request alive.

        Args:
            writer_id: the name under which streams know the writer's flushes. By default the writer makes a random one.
        """
        identity = WriterIdentity(
            stream_id=stream_id, agent_id=agent_id, agent_type=agent_type, fencing_token=fencing_token
        )
        return self._writers.make(identity, writer_id=writer_id, in_a_block=True)

    def create_reader(
        self, stream_id: str, *, wait: float | timedelta | None = None, follow: bool = True
    ) -> Opening[DurableObjectStreamReader]:
        check_id(stream_id, "stream_id")
        check_flag(follow, "follow")
        return self._reader(wait, lambda: DurableObjectStreamReader(stream_id, None, self._client, follow=follow))

    def create_resumable_reader(
        self,
        stream_id: str,
        from_sequence: int = 0,
        *,
        wait: float | timedelta | None = None,
        until_turn: str | tuple[str, str] | None = None,
    ) -> Opening[DurableObjectStreamReader]:
        check_id(stream_id, "stream_id")
        check_whole_number(from_sequence, "from_sequence")
        turn_id, attempt = _turn_of(until_turn)
        return self._reader(
            wait,
            lambda: DurableObjectStreamReader(
                stream_id, from_sequence, self._client, until_turn=turn_id, attempt=attempt
            ),
        )

    def _reader(
        self, wait: float | timedelta | None, make: Callable[[], DurableObjectStreamReader]
    ) -> Opening[DurableObjectStreamReader]:
        wait_ms = span_ms(wait, None, "wait", most_seconds=MAX_WAIT_S) or 0
        return Opening(lambda: make().open(wait_ms))

    async def end_stream(
        self,
        stream_id: str,
        output: JsonValue = None,
        *,
        status: str = "completed",
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> None:
        check_id(stream_id, "stream_id")
        text = encode_json(output, name="output")
        if (size_bytes := len(text.encode())) > MAX_CHUNK_BYTES:
            raise InvalidArgumentError(
                f"output has {size_bytes:,} bytes, the limit is {MAX_CHUNK_BYTES:,}; store a reference"
            )
        arguments = {"status": check_id(status, "status"), **_named(fencing_token, commit_id)}
        await self._writers.flush(stream_id)
        await self._client.call(stream_id, "end", arguments, text)

    async def fail_stream(
        self, stream_id: str, error: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> None:
        check_id(stream_id, "stream_id")
        arguments = {"error": _checked_error(error), **_named(fencing_token, commit_id)}
        await self._writers.flush(stream_id)
        await self._client.call(stream_id, "fail", arguments)

    async def pause_stream(
        self, stream_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> None:
        check_id(stream_id, "stream_id")
        arguments = _named(fencing_token, commit_id)
        await self._writers.flush(stream_id)
        await self._client.call(stream_id, "pause", arguments)

    async def resume_stream(
        self, stream_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> None:
        check_id(stream_id, "stream_id")
        await self._client.call(stream_id, "resume", _named(fencing_token, commit_id))

    async def close_turn(
        self,
        stream_id: str,
        chunk: str,
        *,
        turn_id: str,
        writer: str,
        incarnation: str | None,
        pauses: bool,
    ) -> int | None:
        """Store the chunk that closes a turn, once, however often it is sent. `store.turn` calls this.

        Returns:
            The chunk's sequence. None if the stream was ended, failed, reset or deleted since the turn wrote to it.

        Raises:
            StreamConnectionError: the stream could not be reached.
        """
        arguments = closing_arguments(turn_id, writer, incarnation, pauses=pauses)
        reply = await self._client.call(stream_id, "close_turn", arguments, chunk)
        sequence: int | None = reply.head["ok"]["lastSequence"]
        return sequence

    async def reset_stream(
        self, stream_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> None:
        check_id(stream_id, "stream_id")
        await self._client.call(stream_id, "reset", _named(fencing_token, commit_id))

    async def delete_stream(
        self, stream_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> None:
        check_id(stream_id, "stream_id")
        await self._client.call(stream_id, "delete", _named(fencing_token, commit_id))

    async def mark_stream(self, stream_id: str, *, fencing_token: FencingToken = UNSET) -> StreamMark | None:
        """Return a mark of the stream's present state, and keep the fencing token. `CloudflareStore` calls this before a deletion.

        Returns:
            None if there is no stream.

        Raises:
            StaleFencingTokenError: the stream has seen a higher token.
            StreamConnectionError: the stream could not be reached.
        """
        arguments: dict[str, JsonValue] = {"fencingToken": check_fencing_token(fencing_token)}
        try:
            reply = await self._client.call(check_id(stream_id, "stream_id"), "mark", arguments)
        except StreamNotFoundError:
            return None
        return StreamMark(*reply.head["ok"])

    async def delete_marked_stream(self, stream_id: str, mark: StreamMark) -> StreamMark | None:
        """Delete the stream if it has not changed since it was marked. `CloudflareStore` calls this.

        Returns:
            None if the stream is deleted. Otherwise the stream has changed, nothing was deleted, and the result is its present
            mark.

        Raises:
            StreamConnectionError: the stream could not be reached.
        """
        arguments: dict[str, JsonValue] = {"mark": list(mark), "commitId": secrets.token_hex(8)}
        reply = await self._client.call(check_id(stream_id, "stream_id"), "delete_marked", arguments)
        return None if reply.head["ok"] is None else StreamMark(*reply.head["ok"])

    async def truncate_stream(
        self,
        stream_id: str,
        first_sequence: int,
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> None:
        check_id(stream_id, "stream_id")
        check_whole_number(first_sequence, "first_sequence", low=1)
        arguments = {"firstSequence": first_sequence, **_named(fencing_token, commit_id)}
        await self._client.call(stream_id, "truncate", arguments)

    async def reset_fence(self, stream_id: str) -> None:
        check_id(stream_id, "stream_id")
        await self._client.call(stream_id, "reset_fence", {"commitId": secrets.token_hex(8)})

    async def get_info(self, stream_id: str) -> StreamInfo | None:
        reply = await self._client.call(check_id(stream_id, "stream_id"), "info", {})
        info: JsonObject | None = reply.head["ok"]
        if info is None:
            return None
        return StreamInfo.from_dict({**info, "output": decode_json(reply.payload) if reply.payload else None})

    def on(
        self, event: Literal["buffer_overflow"], callback: Callable[[BufferOverflowEvent], None]
    ) -> Callable[[], None]:
        if event != "buffer_overflow":
            raise InvalidArgumentError(f"there is no event {event!r}; there is 'buffer_overflow'")
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {type(callback).__name__}")
        return self._writers.on_overflow(callback)

    async def sse_response(self, stream_id: str, *, last_event_id: str | int | None = None) -> object:
        """Return the stream as Server-Sent Events: a JavaScript `Response` for a Worker's `fetch` to return.

        Over `LocalObjects` the result is an `HttpResponse` whose body is a `LocalEvents`.

        Args:
            stream_id: any id of a stream.
            last_event_id: the request's `Last-Event-ID` header as it came: the last sequence that the client has.

        Returns:
            Status 200 with the events; otherwise a JSON error: 404 unknown stream, 409 a position above the last.

        Raises:
            InvalidArgumentError: a malformed position; its `http_status` is 400.
            StreamConnectionError: the object could not be reached.
            StreamError: the namespace answers no HTTP.

        Cost: 1 object call.
        """
        check_id(stream_id, "stream_id")
        position = parse_position(last_event_id, None)
        return await self._client.fetch(stream_id, {"Last-Event-ID": str(position)})


def closing_arguments(turn_id: str, writer: str, incarnation: str | None, *, pauses: bool) -> JsonObject:
    """Return the arguments of `close_turn`."""
    return {"turnId": turn_id, "writer": writer, "incarnation": incarnation, "pauses": pauses}


def _named(fencing_token: FencingToken, commit_id: str | None) -> dict[str, JsonValue]:
    """Return the arguments for the caller's token and commit id. A call that is repeated under its commit id takes effect once."""
    return {
        "fencingToken": check_fencing_token(fencing_token),
        "commitId": secrets.token_hex(8) if commit_id is None else check_id(commit_id, "commit_id"),
    }


def _checked_error(error: object) -> str:
    if not isinstance(error, str):
        raise TypeError(f"error must be text, not {type(error).__name__}")
    if (size_bytes := len(encode_json(error, name="error").encode())) > MAX_CHUNK_BYTES:
        raise InvalidArgumentError(f"error has {size_bytes:,} bytes as JSON, the limit is {MAX_CHUNK_BYTES:,}")
    return error


def _turn_of(until_turn: str | tuple[str, str] | None) -> tuple[str | None, str | None]:
    """Return the turn id and the name of its attempt. The name is None when the caller gave only a turn id."""
    if until_turn is None:
        return None, None
    if not isinstance(until_turn, tuple):
        return check_id(until_turn, "until_turn"), None
    names = [check_id(name, "until_turn") for name in until_turn]
    if len(names) != 2:
        raise InvalidArgumentError(f"until_turn must be a turn id or `Turn.attempt`, got {len(names)} names")
    return names[0], names[1]
