"""A chat as a Python Worker is written from Cloudflare's documentation: SDK bindings, a row a message, an RPC a chunk.

No fence, no version, no run, no usage totals: a lock object that says yes or no, a table of messages, a table of usage, a stream object.
A reader that waits asks again every 50 ms.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from delays import Delays
from door import answered, make_tables
from workers import DurableObject, Request, Response, WorkerEntrypoint

__all__ = ["Default", "Lock", "Stream"]

MESSAGES = """
  CREATE TABLE IF NOT EXISTS messages (
    session_id TEXT NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (session_id, number)
  )"""
USAGE = """
  CREATE TABLE IF NOT EXISTS usage (
    id INTEGER PRIMARY KEY, session_id TEXT NOT NULL, model TEXT NOT NULL, prompt INTEGER NOT NULL, completion INTEGER NOT NULL
  )"""
SCHEMA = (MESSAGES, USAGE, "CREATE INDEX IF NOT EXISTS usage_session ON usage (session_id)")
STORED_S = 1.0
POLL_S = 0.05
ROWS_AT_ONCE = 33
"""A statement takes 100 parameters."""


class Stream(DurableObject):
    """One session's chunks, one row each."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self.cursors: list[Any] = []
        ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS chunks (number INTEGER PRIMARY KEY, body TEXT NOT NULL)")

    def append(self, body: str) -> None:
        """Store one chunk."""
        self._exec("INSERT INTO chunks (body) VALUES (?)", body)

    def read(self, after: int) -> str:
        """Every chunk after that number, as one JSON text."""
        rows = self._exec("SELECT body FROM chunks WHERE number > ? ORDER BY number", after).toArray()
        return json.dumps([row.body for row in rows])

    def rows(self) -> str:
        """What was read and written so far."""
        return counted(self.cursors)

    def _exec(self, *query: Any) -> Any:
        cursor = self.ctx.storage.sql.exec(*query)
        self.cursors.append(cursor)
        return cursor


class Lock(DurableObject):
    """Held or free, in one row."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self.cursors: list[Any] = []
        ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS held (id INTEGER PRIMARY KEY)")

    def acquire(self) -> bool:
        """Whether it was free."""
        free = not list(self._exec("SELECT id FROM held").toArray())
        if free:
            self._exec("INSERT INTO held (id) VALUES (1)")
        return free

    def release(self) -> None:
        """Free it."""
        self._exec("DELETE FROM held")

    def rows(self) -> str:
        """What was read and written so far."""
        return counted(self.cursors)

    def _exec(self, *query: Any) -> Any:
        cursor = self.ctx.storage.sql.exec(*query)
        self.cursors.append(cursor)
        return cursor


def counted(cursors: list[Any]) -> str:
    """The rows of statements, as SQLite counts them for the bill."""
    read, written = (sum(int(getattr(each, name)) for each in cursors) for name in ("rowsRead", "rowsWritten"))
    return json.dumps({"objectRowsRead": read, "objectRowsWritten": written})


class Chat:
    """One session, and the jobs on it."""

    def __init__(self, env: Any, order: dict[str, Any], delays: Delays) -> None:
        self.env = env
        self.job: str = order["job"]
        self.key: str = order["key"]
        self.given: dict[str, Any] = order["input"]
        self.delays = delays
        self.counts = {"batches": 0, "rowsRead": 0, "rowsWritten": 0, "calls": 0}
        self.goes_on = asyncio.Event()
        self.stopped = asyncio.Event()
        self.running: asyncio.Task[None] | None = None
        self.first: Any = None
        self.heard: list[Any] = []
        self.resumed: list[str] = []
        self.page: list[Any] = []
        self.loaded: list[Any] = []

    def objects(self) -> list[Any]:
        """The session's objects: its lock and its stream."""
        return [self.env.LOCKS.getByName(self.key), self.env.STREAMS.getByName(self.key)]

    async def set_up(self) -> None:
        """The history. To resume: also a turn that stops in its middle. The long history is made once."""
        if self.job == "chat_page":
            await self._long_history(self.given["page"]["count"])
        else:
            for number, message in enumerate(self.given["history"]):
                await self._insert(number, message)
        if self.job == "chat_resume":
            self.running = asyncio.ensure_future(self.turn(stops=True))
            await self.stopped.wait()
            await asyncio.sleep(STORED_S)

    async def once(self) -> None:
        """What is timed."""
        if self.job == "chat_turn":
            await self.turn()
        elif self.job == "chat_first":
            self.running = asyncio.ensure_future(self.turn())
            self.first = await self._first_chunk()
        elif self.job == "chat_crowd":
            self.running = asyncio.ensure_future(self.turn())
            self.heard = await asyncio.gather(*[self._first_chunk() for _ in range(self.given["readers"])])
        elif self.job == "chat_page":
            given = self.given["page"]
            query = "SELECT body FROM messages WHERE session_id = ? ORDER BY number LIMIT ? OFFSET ?"
            rows = await self._run(query, self.key, given["limit"], given["offset"])
            self.page = [json.loads(row.body) for row in rows.results]
        elif self.job == "chat_history":
            self.loaded = await self._messages()
            for number, name in enumerate(["question", "answer"], start=len(self.loaded)):
                await self._insert(number, self.given[name])
        else:
            self.resumed = await self._read(self.given["quarter"])

    async def costs(self) -> dict[str, float]:
        """What was counted so far."""
        counts = dict(self.counts)
        parts = [json.loads(await each.rows()) for each in self.objects()]
        return {**counts, **{name: sum(part[name] for part in parts) for name in parts[0]}}

    async def turn(self, *, stops: bool = False) -> None:
        """Lock, load, store the question, stream, store the answer, record the usage, unlock."""
        given, (lock, stream) = self.given, self.objects()
        if not await self._call(lock.acquire):
            raise RuntimeError("somebody has the lock")
        messages = await self._messages()
        await self._insert(len(messages), given["question"])
        async for chunk in self._model(stops=stops):
            await self._call(stream.append, json.dumps(chunk))
        await self._insert(len(messages) + 1, given["answer"])
        usage = given["usage"]
        await self._run(
            "INSERT INTO usage (session_id, model, prompt, completion) VALUES (?, ?, ?, ?)",
            *(self.key, usage["model"], usage["prompt"], usage["completion"]),
        )
        await self._call(lock.release)

    async def read_back(self) -> dict[str, Any]:
        """What is stored."""
        if self.page:
            return {"page": self.page}
        if self.loaded:
            return {"loaded": self.loaded, "messages": await self._messages()}
        self.goes_on.set()
        if self.running is not None:
            await self.running
        sums = await self._run("SELECT sum(prompt + completion) AS total FROM usage WHERE session_id = ?", self.key)
        return {
            "messages": await self._messages(),
            "chunks": await self._read(0),
            "tokens": sums.results[0].total,
            **({"first": self.first} if self.first is not None else {}),
            **({"heard": self.heard} if self.heard else {}),
            **({"resumed": self.resumed} if self.resumed else {}),
        }

    async def _model(self, *, stops: bool) -> AsyncGenerator[dict[str, Any]]:
        given = self.given
        for number, chunk in enumerate(given["chunks"], start=1):
            yield chunk
            if number % given["groupChunks"] == 0:
                await asyncio.sleep(given["groupMs"] / 1_000)
            if stops and number == given["middle"]:
                self.stopped.set()
                await self.goes_on.wait()

    async def _long_history(self, count: int) -> None:
        found = await self._run("SELECT count(*) AS total FROM messages WHERE session_id = ?", self.key)
        if found.results[0].total:
            return
        for first in range(0, count, ROWS_AT_ONCE):
            values: list[Any] = []
            for number in range(first, min(first + ROWS_AT_ONCE, count)):
                values += [self.key, number, json.dumps({"role": "user", "content": f"message {number}"})]
            places = ", ".join(["(?, ?, ?)"] * (len(values) // 3))
            await self._run(f"INSERT INTO messages (session_id, number, body) VALUES {places}", *values)

    async def _messages(self) -> list[dict[str, Any]]:
        rows = await self._run("SELECT body FROM messages WHERE session_id = ? ORDER BY number", self.key)
        return [json.loads(row.body) for row in rows.results]

    async def _insert(self, number: int, message: dict[str, Any]) -> None:
        query = "INSERT INTO messages (session_id, number, body) VALUES (?, ?, ?)"
        await self._run(query, self.key, number, json.dumps(message))

    async def _first_chunk(self) -> str:
        while not (chunks := await self._read(0)):  # noqa: ASYNC110 - it asks another object
            await asyncio.sleep(POLL_S)
        return chunks[0]

    async def _read(self, after: int) -> list[str]:
        text = await self._call(self.env.STREAMS.getByName(self.key).read, after)
        return [json.loads(body)["text"] for body in json.loads(text)]

    async def _run(self, query: str, *values: Any) -> Any:
        await self.delays.hop()
        answer = await self.env.DB.prepare(query).bind(*values).all()
        self.counts["batches"] += 1
        self.counts["rowsRead"] += answer.meta.rows_read
        self.counts["rowsWritten"] += answer.meta.rows_written
        return answer

    async def _call(self, method: Any, *values: Any) -> Any:
        await self.delays.hop()
        self.counts["calls"] += 1
        return await method(*values)


class Default(WorkerEntrypoint):
    """The door for the host."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Make the tables, or run one job."""
        return await answered(request, prepare=lambda: make_tables(self.env.DB, SCHEMA), job=partial(Chat, self.env))
