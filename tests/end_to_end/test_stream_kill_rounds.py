"""SIGKILL at random moments while writers append and readers follow: what was acknowledged is read once, in order."""

import json
import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.sse_client import call, events
from tests.lengths import rounds
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parent / "streams_worker/wrangler.toml"
ROUNDS = rounds(3, 100)
WRITERS = 3
SSE_READERS = 2
STREAM = "kill-rounds"
DEAD = (OSError, HTTPException, ValueError)


class Writer:
    """Writes its own numbers. It never writes an unacknowledged number again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.acknowledged: list[tuple[int, int]] = []
        self.next_number = 0

    def write(self, url: str, stop: threading.Event, dice: random.Random) -> None:
        while not stop.is_set():
            numbers = [self.next_number + offset for offset in range(dice.randint(1, 4))]
            self.next_number = numbers[-1] + 1
            chunks = [{"type": "text", "writer": self.name, "n": number} for number in numbers]
            try:
                answer = call(url, "POST", f"/append?stream={STREAM}", body=json.dumps(chunks).encode())
                last = answer.json["last"] if answer.status == 200 else None
            except DEAD:
                return
            if last is not None:
                self.acknowledged += [(last - len(numbers) + 1 + place, n) for place, n in enumerate(numbers)]


class Reader:
    """Follows the stream. It keeps its chunks and its position together."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, str, int]] = []

    @property
    def position(self) -> int:
        return self.kept[-1][0] if self.kept else 0

    def keep(self, sequence: int, chunk: Any) -> None:
        self.kept.append((sequence, chunk["writer"], chunk["n"]))

    def follow_events(self, url: str, stop: threading.Event) -> None:
        while not stop.is_set():
            with suppress(*DEAD, AssertionError):
                headers = {"Last-Event-ID": str(self.position)}
                for event in events(url, f"/events?stream={STREAM}", headers=headers):
                    if event.kind == "chunk":
                        self.keep(event.sequence, event.data)
                    if event.kind == "end":
                        return
            time.sleep(0.02)  # a client that reconnects

    def follow_pages(self, url: str, stop: threading.Event) -> None:
        while not stop.is_set():
            with suppress(*DEAD):
                answer = call(url, "GET", f"/page?stream={STREAM}&from={self.position}")
                page: list[tuple[int, Any]] = answer.json if answer.status == 200 else []
                for sequence, chunk in page:
                    self.keep(sequence, chunk)
            time.sleep(0.02)


def test_every_acknowledged_chunk_is_read_once(tmp_path: Path) -> None:
    """SM-1, SM-9, SM-16, SM-28: Every reader gets every acknowledged chunk once, in order and without a gap, and any other chunk at
    most once.
    """
    dice = random.Random()
    writers = [Writer(f"w{number}") for number in range(WRITERS)]
    readers = [Reader() for _ in range(SSE_READERS + 1)]
    with LocalRuntime(CONFIG, persist=tmp_path) as runtime:
        call(runtime.url, "POST", f"/append?stream={STREAM}", body=b"[]")
        for number in range(ROUNDS):
            stop = threading.Event()
            with ThreadPoolExecutor(WRITERS + len(readers)) as pool:
                work: list[Future[None]] = [
                    pool.submit(writer.write, runtime.url, stop, random.Random(dice.random())) for writer in writers
                ]
                work += [pool.submit(reader.follow_events, runtime.url, stop) for reader in readers[:SSE_READERS]]
                work.append(pool.submit(readers[-1].follow_pages, runtime.url, stop))
                time.sleep(dice.uniform(0.1, 1.0))  # the moment of the kill is the point
                runtime.kill()
                stop.set()
                for each in work:
                    each.result()
            runtime.restart()
            print(f"round {number + 1}: {sum(len(writer.acknowledged) for writer in writers)} acknowledged")
        call(runtime.url, "POST", f"/end?stream={STREAM}")
        with ThreadPoolExecutor(SSE_READERS) as pool:
            for reader in readers[:SSE_READERS]:
                pool.submit(reader.follow_events, runtime.url, threading.Event())
        for sequence, chunk in call(runtime.url, "GET", f"/page?stream={STREAM}&from={readers[-1].position}").json:
            readers[-1].keep(sequence, chunk)
    _check(writers, readers)


def _check(writers: list[Writer], readers: list[Reader]) -> None:
    assert sum(len(writer.acknowledged) for writer in writers) > ROUNDS
    for reader in readers:
        assert [sequence for sequence, _, _ in reader.kept] == list(range(1, len(reader.kept) + 1))
        assert len({(writer, number) for _, writer, number in reader.kept}) == len(reader.kept)
        for writer in writers:
            read = [(sequence, number) for sequence, name, number in reader.kept if name == writer.name]
            assert [number for _, number in read] == sorted(number for _, number in read)
            assert set(writer.acknowledged) <= set(read)
