"""The conformance tests for calls that are sent again after others have acted.

Each takes effect once, in the order of the first sending.

Subclass `StreamRepeatConformance` and give it a `stream_namespace`. Each test names the clauses that it proves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeAlias

import pytest

from agents_store_cloudflare.contract.errors import (
    AgentsStoreError,
    InvalidArgumentError,
    StaleFencingTokenError,
    StreamNotFoundError,
)
from agents_store_cloudflare.objects import ObjectCallError, ObjectNamespace
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.testing.conformance.stream_fixtures import (
    StreamFixtures,
    Time,
    while_time_passes,
    write_numbers,
)

__all__ = ["StreamRepeatConformance"]

Call: TypeAlias = Callable[[DurableObjectStreamManager, str], Awaitable[Any]]


async def _write(manager: DurableObjectStreamManager, stream_id: str) -> None:
    await write_numbers(manager, stream_id, 1)


CALLS: Final[Mapping[str, Call]] = {
    "write": _write,
    "end": lambda manager, stream_id: manager.end_stream(stream_id, {"answer": 1}),
    "fail": lambda manager, stream_id: manager.fail_stream(stream_id, "no"),
    "pause": lambda manager, stream_id: manager.pause_stream(stream_id),
    "resume": lambda manager, stream_id: manager.resume_stream(stream_id),
    "truncate": lambda manager, stream_id: manager.truncate_stream(stream_id, 3),
    "reset": lambda manager, stream_id: manager.reset_stream(stream_id),
    "delete": lambda manager, stream_id: manager.delete_stream(stream_id),
}
"""Every call that changes a stream."""

OTHERS: Final[Mapping[str, tuple[str, ...]]] = {
    **{name: (name,) for name in CALLS},
    "delete, then write": ("delete", "write"),
    "reset, then write": ("reset", "write"),
    "reset, then end": ("reset", "end"),
    "resume, then write": ("resume", "write"),
}
"""The acts of others before a call is sent again."""


class Interference:
    """A namespace that loses the replies of one caller. Somebody else acts before the call is sent again.

    Args:
        between: the act of somebody else after the first reply is lost.
        skipped: the number of the caller's calls that pass before.
    """

    def __init__(self, namespace: ObjectNamespace, between: Callable[[], Awaitable[None]], *, skipped: int = 0) -> None:
        self._namespace = namespace
        self._between = between
        self._skipped = skipped
        self.has_interfered: bool = False

    async def call(self, name: str, request: str) -> str:
        """Send one text to the object and return its reply. The chosen call takes effect, and its reply is lost."""
        reply = await self._namespace.call(name, request)
        if self.has_interfered:
            return reply
        if self._skipped:
            self._skipped -= 1
            return reply
        self.has_interfered = True
        await self._between()
        raise ObjectCallError("Network connection lost.", retryable=True)


class StreamRepeatConformance(StreamFixtures):
    """The contract of `StreamManager` for repeated calls: each takes effect once, whatever others did in between.

    Attributes:
        others: the acts of `OTHERS` in between. A slow backend takes a sample of them.
    """

    others: tuple[str, ...] = tuple(OTHERS)

    @pytest.mark.parametrize("call", CALLS)
    async def test_a_call_sent_again_after_others_have_acted(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, clock: Time, unique: str, call: str
    ) -> None:
        """SM-9: The result is the same as if the first reply had come and the others had acted after it."""
        manager = DurableObjectStreamManager(stream_namespace, options=stream_options)

        async def act(others: str, stream_id: str) -> None:
            for other in OTHERS[others]:
                with suppress(AgentsStoreError):
                    await CALLS[other](manager, stream_id)

        for others in self.others:
            smooth, troubled = f"{unique}-{others}-smooth", f"{unique}-{others}-troubled"
            for stream_id in (smooth, smooth, troubled, troubled):
                await _write(manager, stream_id)
            await CALLS[call](manager, smooth)
            await act(others, smooth)
            between = partial(act, others, troubled)
            lossy = Interference(stream_namespace, between, skipped=1 if call == "write" else 0)
            caller = DurableObjectStreamManager(lossy, options=stream_options)
            with suppress(AgentsStoreError):
                await while_time_passes(clock, CALLS[call](caller, troubled))
            assert lossy.has_interfered
            assert await _stands(manager, troubled) == await _stands(manager, smooth), f"{call}; {others}"

    async def test_a_writer_whose_creation_is_sent_again_makes_no_deleted_stream_anew(
        self,
        stream_manager: DurableObjectStreamManager,
        stream_namespace: ObjectNamespace,
        stream_options: StreamOptions,
        clock: Time,
        unique: str,
    ) -> None:
        """SM-9: A repeated creation does not bring back a stream that others have deleted."""
        lossy = Interference(stream_namespace, lambda: stream_manager.delete_stream(unique))
        caller = DurableObjectStreamManager(lossy, options=stream_options)
        writer = await while_time_passes(clock, _opened(caller, unique))
        assert await stream_manager.get_info(unique) is None
        await writer.write({"type": "text", "n": 1})
        with pytest.raises(StreamNotFoundError):
            await writer.flush()

    async def test_a_flush_of_a_deleted_stream_is_recognised(
        self, stream_manager: DurableObjectStreamManager, stream_namespace: ObjectNamespace, clock: Time, unique: str
    ) -> None:
        """SM-9: A flush that was stored before a deletion is not stored again in the stream that others make anew."""
        lossy = Interference(stream_namespace, lambda: stream_manager.delete_stream(unique), skipped=1)
        options = StreamOptions(sleep=clock.advance)
        writer = await DurableObjectStreamManager(lossy, options=options).create_writer(unique, "agent", "researcher")
        await writer.write({"type": "text", "n": 1})
        assert await writer.flush() == 1
        assert list(writer.pending) == []
        await _write(stream_manager, unique)
        info = await stream_manager.get_info(unique)
        assert info is not None
        assert (info.first_sequence, info.last_sequence) == (2, 2)

    async def test_a_call_repeated_by_its_caller(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-9: Calls with the same commit id take effect once. A different call under this id is refused."""
        await _write(stream_manager, unique)
        await stream_manager.end_stream(unique, 1, commit_id="end-1")
        await stream_manager.reset_stream(unique)
        await stream_manager.end_stream(unique, 1, commit_id="end-1")
        info = await stream_manager.get_info(unique)
        assert info is not None
        assert info.status == "active"
        with pytest.raises(InvalidArgumentError, match="commit_id"):
            await stream_manager.end_stream(unique, 2, commit_id="end-1")
        with pytest.raises(InvalidArgumentError, match="commit_id"):
            await stream_manager.pause_stream(unique, commit_id="end-1")

    async def test_a_call_that_changes_nothing_keeps_its_fence(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-13: End, fail, pause, resume and truncate keep a higher token and refuse a lower one, even if they change nothing."""
        for name in ("pause", "resume", "truncate", "end", "fail"):
            stream_id = f"{unique}-{name}"
            await _write(stream_manager, stream_id)
            call = _fenced(stream_manager, name, stream_id)
            await call(5)
            await call(9)
            for stale in (call, _fenced(stream_manager, "reset", stream_id)):
                with pytest.raises(StaleFencingTokenError) as caught:
                    await stale(6)
                assert caught.value.expected == 9

    async def test_a_repetition_keeps_its_fence(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-13: When a new lock holder repeats a call, it has no second effect, and the earlier holder is refused from then on."""
        for name in ("pause", "resume", "truncate", "end", "fail", "reset", "delete"):
            stream_id = f"{unique}-{name}"
            await _write(stream_manager, stream_id)
            call = _fenced(stream_manager, name, stream_id, commit_id="once")
            await call(5)
            stood = await _stands(stream_manager, stream_id)
            await call(9)
            await call(6)  # a late repetition by an older holder gets the first answer too
            assert await _stands(stream_manager, stream_id) == stood
            with pytest.raises(StaleFencingTokenError) as caught:
                await stream_manager.create_writer(stream_id, "a", "t", fencing_token=6)
            assert caught.value.expected == 9

    async def test_an_operator_forgets_a_fence(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-13: After `reset_fence` any token is accepted, also for a deleted stream. An unknown stream stays unknown."""
        await (await stream_manager.create_writer(unique, "a", "t", fencing_token=2**53 - 1)).close()
        with pytest.raises(StaleFencingTokenError):
            await stream_manager.end_stream(unique, fencing_token=3)
        await stream_manager.reset_fence(unique)
        await stream_manager.pause_stream(unique, fencing_token=3)
        await stream_manager.delete_stream(unique, fencing_token=2**53 - 1)
        await stream_manager.reset_fence(unique)
        await (await stream_manager.create_writer(unique, "a", "t", fencing_token=1)).close()
        await stream_manager.reset_fence(f"{unique}-none")
        assert await stream_manager.get_info(f"{unique}-none") is None


async def _opened(manager: DurableObjectStreamManager, stream_id: str) -> Any:
    return await manager.create_writer(stream_id, "agent", "researcher")


def _fenced(
    manager: DurableObjectStreamManager, name: str, stream_id: str, commit_id: str | None = None
) -> Callable[[int], Awaitable[None]]:
    arguments: dict[str, tuple[Any, ...]] = {"truncate": (1,), "fail": ("no",)}
    method = getattr(manager, f"{name}_stream")
    return lambda token: method(stream_id, *arguments.get(name, ()), fencing_token=token, commit_id=commit_id)


async def _stands(manager: DurableObjectStreamManager, stream_id: str) -> tuple[object, ...] | None:
    """Return the facts of a stream, without its times."""
    info = await manager.get_info(stream_id)
    if info is None:
        return None
    place = (info.status, info.first_sequence, info.last_sequence, info.count)
    return (*place, info.end_status, info.output, info.error)
