"""The local runtime under load: turns that begin when their time has come, whatever became of the others, and many idle listeners.

An open loop: each client begins a turn every second. A turn's time counts from the moment when it should have begun, so that a
runtime that falls behind cannot hide it.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from bench.findings import Published
from bench.processes import resident_bytes, runtimes
from tools.local_runtime import LocalRuntime

__all__ = ["CONFIG", "Load", "answered_turns", "cuts", "load_entry", "memory_of", "prepared", "run_load"]

CONFIG = Path(__file__).parent / "load_worker" / "wrangler.toml"
CLIENTS = (1, 4, 16, 64)
INTERVAL_S = 1.0
TURNS_A_SESSION = 50
LISTENERS = 1_000
AT_ONCE = 50
PATIENCE_S = 120.0
MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One step of the load: so many clients for so long.

    Attributes:
        times_ms: of the turns that were answered with 200.
        errors: how many were answered otherwise, or not at all.
        memory_bytes: of the runtime, before and after.
    """

    clients: int
    seconds: float
    times_ms: Sequence[float]
    errors: int
    memory_bytes: tuple[int, int]


def run_load(seconds: float) -> Published:
    """Every step, in one runtime; then the listeners, in another one.

    Args:
        seconds: the length of each step.
    """
    with LocalRuntime(CONFIG) as runtime:
        asyncio.run(prepared(runtime.url))
        steps = [load_entry(_step(runtime, clients, seconds)) for clients in CLIENTS]
    with LocalRuntime(CONFIG) as runtime:
        listeners = asyncio.run(_listeners(runtime))
    return {"seconds": seconds, "steps": steps, "listeners": listeners}


def load_entry(load: Load) -> Published:
    """One step, as a published run has it."""
    p50_ms, p95_ms, p99_ms = cuts(load.times_ms)
    return {
        "clients": load.clients,
        "offered": load.clients / INTERVAL_S,
        "answered": len(load.times_ms) / load.seconds,
        "p50Ms": p50_ms,
        "p95Ms": p95_ms,
        "p99Ms": p99_ms,
        "errors": load.errors,
        "beforeBytes": load.memory_bytes[0],
        "afterBytes": load.memory_bytes[1],
    }


def cuts(times_ms: Sequence[float]) -> list[float]:
    """Return the times under which 50, 95 and 99 of 100 turns stayed; 0 if hardly a turn was answered."""
    if len(times_ms) < 2:
        return [0.0] * 3
    found = quantiles(times_ms, n=100, method="inclusive")
    return [found[49], found[94], found[98]]


def _step(runtime: LocalRuntime, clients: int, seconds: float) -> Load:
    print(f"bench: load of {clients} clients", flush=True)
    before = memory_of(runtime)
    began_s = time.monotonic()
    answers = asyncio.run(answered_turns(runtime.url, clients, seconds))
    took_s = time.monotonic() - began_s
    times_ms = [time_ms for status, time_ms in answers if status == 200]
    return Load(
        clients=clients,
        seconds=took_s,
        times_ms=times_ms,
        errors=len(answers) - len(times_ms),
        memory_bytes=(before, memory_of(runtime)),
    )


async def prepared(url: str) -> None:
    """Make the tables, and run one turn."""
    await _status(url, "POST", "/migrate")
    await _turn(url, "warm")


async def answered_turns(url: str, clients: int, seconds: float) -> list[tuple[int, float]]:
    """Begin each client's turns when they are due; each turn's status and milliseconds, in the order in which they were due."""
    turns = int(seconds / INTERVAL_S)
    starts = [
        (turn * INTERVAL_S + client / clients * INTERVAL_S, f"{clients}-{client}-{turn // TURNS_A_SESSION}")
        for turn in range(turns)
        for client in range(clients)
    ]
    began_s = time.monotonic()
    return list(await asyncio.gather(*[_client(url, session, began_s + at_s) for at_s, session in starts]))


async def _client(url: str, session: str, due_s: float) -> tuple[int, float]:
    """One turn at its time: the status, and the milliseconds since it was due."""
    await asyncio.sleep(max(due_s - time.monotonic(), 0))
    status = await _turn(url, session)
    return status, (time.monotonic() - due_s) * 1_000


async def _turn(url: str, session: str) -> int:
    return await _status(url, "POST", f"/turn?session={session}")


async def _listeners(runtime: LocalRuntime) -> Published:
    """Idle listeners, each on a stream of its own; then one chunk each, and the time until the last listener has its chunk."""
    print(f"bench: {LISTENERS:,} listeners", flush=True)
    url, gate = runtime.url, asyncio.Semaphore(AT_ONCE)
    await _status(url, "POST", "/chunk?stream=warm")
    before = memory_of(runtime)

    async def opened(number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with gate:
            await _status(url, "POST", f"/chunk?stream=s{number}")
            reader, writer = await _connected(url, "GET", f"/events?stream=s{number}")
            await asyncio.wait_for(reader.readuntil(b"hello"), PATIENCE_S)
            return reader, writer

    async def told(number: int) -> None:
        async with gate:
            await _status(url, "POST", f"/chunk?stream=s{number}")

    connections = await asyncio.gather(*[opened(number) for number in range(LISTENERS)])
    idle = memory_of(runtime)
    began_s = time.monotonic()
    heard = [asyncio.wait_for(reader.readuntil(b"hello"), PATIENCE_S) for reader, _ in connections]
    await asyncio.gather(*heard, *[told(number) for number in range(LISTENERS)])
    took_s = time.monotonic() - began_s
    for _, writer in connections:
        writer.close()
    return {"listeners": LISTENERS, "seconds": took_s, "beforeBytes": before, "idleBytes": idle}


async def _status(url: str, method: str, path: str) -> int:
    """200 if the request was answered so; 0 if it was answered otherwise, or the connection failed, or nothing came in time."""
    try:
        reader, writer = await _connected(url, method, path)
        await asyncio.wait_for(reader.read(), PATIENCE_S)
    except (OSError, TimeoutError, ValueError):
        return 0
    writer.close()
    return 200


async def _connected(url: str, method: str, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request on a connection of its own, and read the head of the answer.

    Raises:
        ValueError: the status is not 200.
    """
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        writer.close()
        raise ValueError(head.split(b"\r\n", 1)[0].decode())
    return reader, writer


def memory_of(runtime: LocalRuntime) -> int:
    """The resident bytes of the runtime's processes."""
    return sum(resident_bytes(process) for process in runtimes(runtime.process_id))
