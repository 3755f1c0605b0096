"""Durable Streams over HTTP: this package's Worker beside the published reference server, which is a Node program.

Unlike the other comparisons this one crosses runtimes: the Worker runs in workerd behind wrangler's proxy, the server in Node alone.
"""

import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from bench.findings import Published
from bench.peers.installed import INSTALLED, installed
from bench.ratios import compared
from bench.workers import BenchError
from tools.local_runtime import LocalRuntime
from tools.places import NODE_BIN, ROOT

__all__ = ["JOBS", "durable_entry", "run_durable"]

CONFIG = ROOT / "examples/durable_streams/wrangler.toml"
SERVER = Path(__file__).parent / "durable_server.mjs"
MESSAGE = b'{"text":"' + b"x" * 1_000 + b'"}'
TIMEOUT_S = 60
JOBS = {
    "one connection: 200 appends of 1 KB, one after the other": (1, 200),
    "50 connections: 20 appends each, to 50 streams": (50, 20),
}
READ = "read 200 messages of 1 KB"
READERS = 100
CROWD = f"{READERS} readers of one stream wait in long polls: one append, until the last has it"
WAITING_S = 1.0
"""Until all of them wait."""


class Connection:
    """One client's connection, kept alive."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)

    def send(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Return the body of the answer.

        Raises:
            BenchError: it was refused.
        """
        self._connection.request(method, path, body=body, headers={"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise BenchError(f"{method} {path}: status {answer.status}: {text.decode(errors='replace')[:300]}")
        return text


def run_durable(rounds: int) -> list[Published]:
    """Both servers in turns, the other one first each time; a first round warms up."""
    with _node_server() as node, LocalRuntime(CONFIG, vars={"LONG_POLL_S": "4", "SUBSCRIPTIONS": "off"}) as runtime:
        urls = {"node": node, "worker": runtime.url}
        found: dict[str, dict[str, list[float]]] = {name: {"node": [], "worker": []} for name in (*JOBS, READ, CROWD)}
        for turn in range(-1, rounds):
            for side in ("node", "worker") if turn % 2 == 0 else ("worker", "node"):
                print(f"bench: Durable Streams, {side}, round {turn + 1} of {rounds}", flush=True)
                for name, took_ms in _measured(urls[side], turn):
                    if turn >= 0:
                        found[name][side].append(took_ms)
    return [durable_entry(name, times["node"], times["worker"]) for name, times in found.items()]


def durable_entry(name: str, node_ms: Sequence[float], worker_ms: Sequence[float]) -> Published:
    """One job, as a published run has it."""
    comparison = compared(list(zip(node_ms, worker_ms, strict=True)))
    ratio = comparison.ratio
    return {
        "name": name,
        "nodeMs": median(node_ms),
        "workerMs": median(worker_ms),
        "ratio": {"median": ratio.median, "lowest": ratio.lowest, "highest": ratio.highest},
    }


def _measured(url: str, turn: int) -> Generator[tuple[str, float]]:
    for name, (connections, appends) in JOBS.items():
        paths = [f"/v1/stream/{turn + 1}-{connections}-{number}" for number in range(connections)]
        clients = [Connection(url) for _ in paths]
        for client, path in zip(clients, paths, strict=True):
            client.send("PUT", path)
        yield name, _took_ms(partial(_append, clients, paths, appends))
    whole = f"/v1/stream/{turn + 1}-1-0?offset=-1"
    reader = Connection(url)
    texts: list[bytes] = []
    yield READ, _took_ms(lambda: texts.append(reader.send("GET", whole)))
    if texts[0].count(b'"text"') != JOBS[next(iter(JOBS))][1]:
        raise BenchError(f"{url}: a reader got {texts[0].count(b'text')} messages")
    yield CROWD, _heard_ms(url, f"/v1/stream/{turn + 1}-crowd")


def _heard_ms(url: str, path: str) -> float:
    """From the append to the last reader's answer."""
    writer = Connection(url)
    writer.send("PUT", path)
    with ThreadPoolExecutor(READERS) as pool:
        answers = [
            pool.submit(Connection(url).send, "GET", f"{path}?offset=now&live=long-poll") for _ in range(READERS)
        ]
        time.sleep(WAITING_S)
        took_ms = _took_ms(lambda: (writer.send("POST", path, MESSAGE), [answer.result() for answer in answers]))
    if any(answer.result().count(b'"text"') != 1 for answer in answers):
        raise BenchError(f"{url}: a reader has not got the message")
    return took_ms


def _append(clients: Sequence[Connection], paths: Sequence[str], appends: int) -> None:
    def one(client: Connection, path: str) -> None:
        for _ in range(appends):
            client.send("POST", path, MESSAGE)

    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(one, clients, paths))


def _took_ms(work: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    work()
    return (time.perf_counter() - started_s) * 1_000


@contextmanager
def _node_server() -> Generator[str]:
    installed()
    program = INSTALLED / SERVER.name
    program.write_text(SERVER.read_text())
    process = subprocess.Popen([NODE_BIN / "node", program], stdout=subprocess.PIPE, text=True, cwd=INSTALLED)
    try:
        assert process.stdout is not None
        url = next((line.strip() for line in process.stdout if line.startswith("http://")), "")
        if not url:
            raise BenchError("the reference server of Durable Streams did not start")
        yield url
    finally:
        process.terminate()
        process.wait()
