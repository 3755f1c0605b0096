"""Holders of locks in the real runtime, killed with SIGKILL again and again: what they saw is recorded, and shows no violation."""

import json
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from agents_store_cloudflare.testing.history import Recorder, check_history, read_history
from agents_store_cloudflare.testing.history.operations import Outcome
from tests.lengths import length, rounds
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parent / "locks_worker/wrangler.toml"
ROUNDS = rounds(2, 12)
OPERATIONS_A_ROUND = length(100, 450)
HOLDERS = 8
KEYS = ("crowded", "crowded", "crowded", "busy", "busy", "quiet", "quieter")
TIMEOUT_S = 60
MARGIN_MS = 50  # the object reads its clock a little before or after its caller does


class LostReplyError(Exception):
    """The reply is lost. The request may have been served or not."""


class Holder:
    """A caller that continues until the world ends. Its tokens may be old."""

    def __init__(
        self, number: int, url: str, recorder: Recorder, is_over: threading.Event, is_up: threading.Event
    ) -> None:
        self._number = number
        self._url = url
        self._recorder = recorder
        self._is_over = is_over
        self._is_up = is_up
        self._dice = random.Random()
        self._count = 0

    def run(self) -> None:
        while not self._is_over.is_set():
            key = self._dice.choice(KEYS)
            token = self._grant(key)
            for _ in range(self._dice.randint(1, 8) if token is not None else 0):
                if self._is_over.is_set():
                    return
                self._do_something(key, token or 0)
            if token is not None and self._dice.random() < 0.7:
                self._of_token("release", key, token)

    def _do_something(self, key: str, token: int) -> None:
        fate = self._dice.random()
        if fate < 0.3:
            self._write("write", f"register-{key}", token)
        elif fate < 0.55:
            self._write("append", f"log-{key}", token)
        elif fate < 0.8:
            self._read(f"register-{key}")
        elif fate < 0.9:
            self._of_token("refresh", key, token)
        else:
            self._is_over.wait(self._dice.choice([0.1, 0.4, 1.2]))  # longer than some ttls

    def _grant(self, key: str) -> int | None:
        start = self._recorder.now()
        try:
            outcome, value = self._ask(
                op="grant", key=key, ttl_ms=self._dice.randint(200, 1_500), wait=self._dice.choice([0, 1])
            )
        except LostReplyError:
            return None
        if outcome != "ok" or value is None:
            return None
        token, until = value
        self._recorder.add("grant", "ok", start, key=key, token=token, valid_until=until, client=f"{self._number}")
        return int(token)

    def _of_token(self, op: str, key: str, token: int) -> None:
        start, now_ms = self._recorder.now(), time.time_ns() // 1_000_000
        until = None
        outcome: Outcome = "unknown"
        try:
            _, value = self._ask(op=op, key=key, token=token, ttl_ms=500)
        except LostReplyError:
            pass
        else:
            outcome = "ok" if value else "refused"
            until = value if value and op == "refresh" else None
        if op == "release":
            self._recorder.add("release", outcome, start, key=key, token=token)
        else:
            reading = None if until is None else now_ms - MARGIN_MS
            self._recorder.add("refresh", outcome, start, key=key, token=token, valid_until=until, clock=reading)

    def _write(self, op: str, resource: str, token: int) -> None:
        self._count += 1
        start, value = self._recorder.now(), f"{self._number}-{self._count}"
        outcome: Outcome = "unknown"
        try:
            outcome, _ = self._ask(op=op, resource=resource, token=token, value=value)
        except LostReplyError:
            self._is_up.wait(TIMEOUT_S)
        self._recorder.add("write", outcome, start, resource=resource, token=token, value=value)

    def _read(self, resource: str) -> None:
        start = self._recorder.now()
        try:
            outcome, value = self._ask(op="read", resource=resource)
        except LostReplyError:
            return
        if outcome == "ok":
            self._recorder.add("read", "ok", start, resource=resource, value=value)

    def _ask(self, **asked: object) -> tuple[Outcome, Any]:
        try:
            return _ask(self._url, **asked)
        except (URLError, HTTPException, OSError, ValueError):
            self._is_up.wait(TIMEOUT_S)
            time.sleep(0.05)  # where it is up, and fails all the same, this is not to turn in a circle
            raise LostReplyError from None


def _ask(url: str, **asked: object) -> tuple[Outcome, Any]:
    with urlopen(f"{url}/?{urlencode(asked)}", timeout=TIMEOUT_S) as response:
        answer = json.load(response)
    return answer["outcome"], answer["value"]


def _tables(persist: Path) -> Iterator[tuple[set[str], int]]:
    """For each lock's object, return its tables and the number of texts that it keeps."""
    for path in persist.rglob("*LockServer/*.sqlite"):
        if path.name.startswith("metadata"):
            continue
        with sqlite3.connect(path) as connection:
            tables = {
                str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            if not tables:
                continue  # the object that `migrate` asks for its kind: it has written nothing
            [(kept,)] = connection.execute("SELECT count(*) FROM _cf_KV")
            yield tables, kept
        connection.close()


def test_no_kill_breaks_a_promise(tmp_path: Path) -> None:
    """LK-2, LK-3, LK-28, ST-11, SM-13: The recorded histories of all holders show no violation, through kills and restarts."""
    is_over, is_up = threading.Event(), threading.Event()
    history = tmp_path / "history.jsonl"
    persist = tmp_path / "state"
    with (
        LocalRuntime(CONFIG, persist=persist, ready_path="/?op=migrate") as runtime,
        Recorder(history) as recorder,
        ThreadPoolExecutor(HOLDERS) as pool,
    ):
        is_up.set()
        holders = [Holder(number, runtime.url, recorder, is_over, is_up) for number in range(HOLDERS)]
        work = [pool.submit(holder.run) for holder in holders]
        try:
            for number in range(1, ROUNDS + 1):
                _await_count(recorder, number * OPERATIONS_A_ROUND)
                is_up.clear()
                runtime.kill()
                runtime.restart()
                is_up.set()
            _await_count(recorder, ROUNDS * OPERATIONS_A_ROUND + 20)
        finally:
            is_over.set()
            is_up.set()
        for each in work:
            each.result(TIMEOUT_S)
        for key in sorted(set(KEYS)):
            start = recorder.now()
            outcome, values = _ask(runtime.url, op="contents", resource=f"log-{key}")
            recorder.add("contents", outcome, start, resource=f"log-{key}", values=values)
    operations = read_history(history)
    assert check_history(operations) == []
    seen = {(each.op, each.outcome) for each in operations}
    assert ("write", "refused") in seen
    assert any(outcome == "unknown" for _, outcome in seen)
    # LK-18: a lock's object has made no table of its own, and keeps one row.
    databases = list(_tables(persist))
    assert len(databases) == len(set(KEYS))
    for tables, kept in databases:
        assert {name for name in tables if not name.startswith("_cf_")} == set()
        assert kept == 1


def _await_count(recorder: Recorder, count: int) -> None:
    deadline_s = time.monotonic() + length(120, 300)
    while recorder.count < count:
        assert time.monotonic() < deadline_s, f"{recorder.count} of {count} operations: nobody gets anywhere"
        time.sleep(0.02)
