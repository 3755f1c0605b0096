"""Many readers of one stream in the real runtime: all complete, a slow one holds nobody, memory stays bounded."""

import asyncio
import os
import re
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.end_to_end.sse_client import call
from tests.lengths import length
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parent / "streams_worker/wrangler.toml"
READERS = length(30, 100)
CHUNKS = 1_000
CHUNK_BYTES = 2_000
PATIENCE_S = 120.0
MOST_GROWTH_MB = 200
ID = re.compile(rb"^id: (\d+)\r?$", re.MULTILINE)


async def _connect(port: int, stream: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
    writer.write(f"GET /events?stream={stream} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    assert b" 200 " in await reader.readline()
    return reader, writer


async def _follow(port: int, stream: str) -> list[int]:
    """Return every number that an SSE reader gets, to the end."""
    reader, writer = await _connect(port, stream)
    received = b""
    while part := await reader.read(2**16):
        received += part
        if b"event: end" in received[-4_000:]:
            break
    writer.close()
    return [int(number) for number in ID.findall(received)]


def _memory_mb() -> float:
    """Return the memory of the workerd processes below this process."""
    return sum(memory_fields("VmRSS").values())


def memory_fields(name: str) -> dict[int, float]:
    """Return one field of `/proc/<pid>/status` in MB, for each workerd below this process."""
    statuses: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            statuses[int(folder.name)] = (folder / "status").read_text()
    return {
        pid: int(_field(status, name).split()[0]) / 1024
        for pid, status in statuses.items()
        if "workerd" in _field(status, "Name") and _is_below(statuses, pid)
    }


def _field(status: str, name: str) -> str:
    found = re.search(rf"^{name}:\s+(.+)$", status, re.MULTILINE)
    return found.group(1) if found else "0"


def _is_below(statuses: dict[int, str], pid: int) -> bool:
    while pid in statuses and pid != os.getpid():
        pid = int(_field(statuses[pid], "PPid"))
    return pid == os.getpid()


async def _load(url: str, stream: str, *, slow: int) -> tuple[list[list[int]], float]:
    port = int(url.rsplit(":", 1)[1])
    stuck = [await _connect(port, stream) for _ in range(slow)]
    readers = [asyncio.ensure_future(_follow(port, stream)) for _ in range(READERS)]
    await asyncio.sleep(0.5)
    started_s = time.monotonic()
    path = f"/flushes?stream={stream}&chunks={CHUNKS}&size={CHUNK_BYTES}&flush=20"
    assert (await asyncio.to_thread(call, url, "POST", path)).json == {"last": CHUNKS}
    await asyncio.to_thread(call, url, "POST", f"/end?stream={stream}")
    seen = await asyncio.wait_for(asyncio.gather(*readers), PATIENCE_S)
    took_s = time.monotonic() - started_s
    for reader, writer in stuck:  # it has been away, and gets all the same everything
        received = b""
        while part := await reader.read(2**20):
            received += part
        seen.append([int(number) for number in ID.findall(received)])
        writer.close()
    return seen, took_s


def test_many_readers_of_one_stream(tmp_path: Path) -> None:
    """SM-26: Every reader gets every chunk in order. A slow reader gets everything too, delays nobody, and costs no memory."""
    with LocalRuntime(CONFIG, persist=tmp_path) as runtime:
        for name in ("warm", "load", "slow"):
            call(runtime.url, "POST", f"/append?stream={name}", body=b"[]")
        asyncio.run(_load(runtime.url, "warm", slow=0))
        before_mb = _memory_mb()
        seen, took_s = asyncio.run(_load(runtime.url, "load", slow=0))
        after_mb = _memory_mb()
        with_slow, took_with_slow_s = asyncio.run(_load(runtime.url, "slow", slow=1))
        print(
            f"{READERS} readers, {CHUNKS} chunks of {CHUNK_BYTES} bytes: {took_s:.1f} s, with one that does not read "
            f"{took_with_slow_s:.1f} s; memory {before_mb:.0f} -> {after_mb:.0f} -> {_memory_mb():.0f} MB"
        )
    everything = list(range(1, CHUNKS + 1))
    assert [numbers for numbers in seen if numbers != everything] == []
    assert [numbers for numbers in with_slow if numbers != everything] == []
    assert before_mb > 0
    assert after_mb - before_mb < MOST_GROWTH_MB
