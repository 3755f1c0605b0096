"""The operations of the stream manager, its writers and readers."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from typing import Any

from agents_store_cloudflare import DurableObjectStreamManager, StreamNotFoundError, StreamObject
from agents_store_cloudflare.contract.arguments import UNSET, FencingToken
from agents_store_cloudflare.contract.errors import AgentsStoreError, StaleFencingTokenError
from agents_store_cloudflare.contract.streams.manager import StreamManager, StreamReader, StreamWriter
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.testing import FakeClock, LocalObjects
from tests.instruments.operations import NOW_MS, Call, Operation, Role, plain
from tests.instruments.seams import Seam, WatchedNamespace

__all__ = ["STREAMS", "StreamWorld"]

FENCE = 5
IDS = ("s", "paused", "ended", "new")
READS = {
    "StreamManager.get_info", "StreamManager.create_reader", "StreamManager.on", "StreamReader.close",
}  # fmt: skip


def chunk(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "data": {"deep": [1]}}


async def no_pause(_seconds: float) -> None:
    await asyncio.sleep(0)


class StreamWorld:
    """An open stream, a paused one, and an ended one."""

    manager_type: type[DurableObjectStreamManager] = DurableObjectStreamManager

    def __init__(self) -> None:
        self.clock = FakeClock(NOW_MS)
        self.seam = Seam()
        self.objects = LocalObjects(StreamObject, clock=self.clock)
        self.options = StreamOptions(now_ms=self.clock.now_ms, sleep=no_pause)
        self.mine = self.manager_type(WatchedNamespace(self.objects, self.seam), options=self.options)
        self.theirs = DurableObjectStreamManager(self.objects, options=self.options)

    @classmethod
    async def open(cls) -> StreamWorld:
        world = cls()
        manager = world.theirs
        for stream_id in IDS[:3]:
            async with manager.create_writer(stream_id, "a", "t", fencing_token=FENCE) as writer:
                for number in (1, 2, 3):
                    await writer.write(chunk(f"old {number}"))
        await manager.pause_stream("paused")
        await manager.end_stream("ended", {"answer": [1]})
        return world

    async def picture(self) -> str:
        shown: dict[str, Any] = {}
        for stream_id in IDS:
            info = await self.theirs.get_info(stream_id)
            shown[stream_id] = None if info is None else {**info.to_dict(), "chunks": await self._chunks(stream_id)}
        return plain({**shown, "fences": [await self._fence(stream_id) for stream_id in IDS]})

    async def _chunks(self, stream_id: str) -> list[Any]:
        reader = await self.theirs.create_reader(stream_id, follow=False)
        found: list[Any] = []
        try:
            found.extend([(reader.sequence, each) async for each in reader])
        except AgentsStoreError as error:
            found.append(f"{type(error).__name__}: {error}")
        await reader.close()
        return found

    async def _fence(self, stream_id: str) -> int | str:
        for token in range(1, 20):
            try:
                await self.theirs.pause_stream(stream_id, fencing_token=token)
            except StaleFencingTokenError:
                continue
            except StreamNotFoundError:
                return "missing"
            except AgentsStoreError:
                return token
            return token
        raise AssertionError("a fence above all tokens")

    async def left_over(self) -> list[str]:
        return []

    async def probe(self, client: Any) -> None:
        async with client.create_writer("probe", "a", "t") as writer:
            await writer.write(chunk("probe"))
            assert await writer.flush() >= 1
        await client.delete_stream("probe")

    def close(self) -> None:
        self.objects.close()


def _op(name: str, method: str, *arguments: Any, is_retried: bool = True, **keywords: Any) -> Operation:
    async def prepare(world: StreamWorld, client: DurableObjectStreamManager) -> Call:
        return Call(getattr(client, method), deepcopy(list(arguments)), keywords)

    return Operation(name, (f"StreamManager.{method}",), prepare, is_retried)


def _writer(
    name: str, method: str, *arguments: Any, stream_id: str = "s", waiting: int = 0, **keywords: Any
) -> Operation:
    """Return a call of an open writer with this number of chunks in its buffer."""

    async def prepare(world: StreamWorld, client: DurableObjectStreamManager) -> Call:
        writer = await client.create_writer(stream_id, "a", "t")
        for number in range(waiting):
            await writer.write(chunk(f"waiting {number}"))
        return Call(getattr(writer, method), deepcopy(list(arguments)), keywords)

    return Operation(name, (f"StreamWriter.{method}",), prepare)


async def _open_writer(world: StreamWorld, client: DurableObjectStreamManager) -> Call:
    async def open_it(*, fencing_token: FencingToken = UNSET) -> None:
        await client.create_writer("new", "a", "t", fencing_token=fencing_token)

    return Call(open_it)


async def _write_block(world: StreamWorld, client: DurableObjectStreamManager) -> Call:
    async def block(*, fencing_token: FencingToken = UNSET) -> int:
        async with client.create_writer("s", "a", "t", fencing_token=fencing_token) as writer:
            await writer.write(chunk("in a block"))
            return await writer.flush()

    return Call(block)


async def _read_block(world: StreamWorld, client: DurableObjectStreamManager) -> Call:
    async def block() -> list[Any]:
        async with client.create_resumable_reader("ended", 1) as reader:
            return [each async for each in reader]

    return Call(block)


async def _live_block(world: StreamWorld, client: DurableObjectStreamManager) -> Call:
    async def block() -> list[Any]:
        found: list[Any] = []
        async with client.create_resumable_reader("s", 1) as reader:
            async for each in reader:
                found.append(each)
                if len(found) == 2:
                    break
        return found

    return Call(block)


STREAMS = Role(
    "streams",
    (StreamManager, StreamWriter, StreamReader),
    frozenset(READS),
    False,
    StreamWorld.open,
    (
        _op("end", "end_stream", "s", {"answer": [42]}),
        _op("end in another way", "end_stream", "s", {"answer": [43]}, status="stopped"),
        _op("end with a higher token", "end_stream", "s", {"answer": [42]}, fencing_token=7),
        _op("fail", "fail_stream", "s", "broken"),
        _op("pause", "pause_stream", "s"),
        _op("resume", "resume_stream", "paused"),
        _op("resume what goes on", "resume_stream", "s"),
        _op("pause the paused one", "pause_stream", "paused"),
        _op("end the paused one", "end_stream", "paused"),
        _op("reset", "reset_stream", "s"),
        _op("reset the ended one", "reset_stream", "ended"),
        _op("delete", "delete_stream", "s"),
        _op("delete the paused one", "delete_stream", "paused"),
        _op("truncate", "truncate_stream", "s", 3),
        _op("truncate more", "truncate_stream", "s", 4),
        _op("reset the fence", "reset_fence", "s"),
        Operation("open a writer", ("StreamManager.create_writer",), _open_writer),
        _writer("write at a position", "write", chunk("at 4"), expected_sequence=4),
        _writer("flush", "flush", waiting=2),
        _writer("flush into the new one", "flush", waiting=1, stream_id="new"),
        _writer("close", "close", waiting=1),
        Operation(
            "write in a block",
            ("StreamWriter.write", "StreamWriter.close"),
            _write_block,
            is_retried=False,
            is_block=True,
        ),
        Operation(
            "read in a block", ("StreamManager.create_resumable_reader",), _read_block, is_retried=False, is_block=True
        ),
        Operation("read live in a block", ("StreamReader.close",), _live_block, is_retried=False, is_block=True),
    ),
)
