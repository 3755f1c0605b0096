"""The history of a chat as openai-agents keeps it in SQLite, written for D1 by hand: its two tables, a row an item, its calls.

Its `SQLiteSession` opens a file, which no Worker has. Whoever ports it gets this: the statements of one call become one batch, because
no transaction of D1 lasts over an await. It stores no chunk, takes no lock and counts no usage, so it does the jobs of the history alone.
"""

import json
from functools import partial
from typing import Any

from delays import Delays
from door import answered, make_tables
from workers import Request, Response, WorkerEntrypoint

__all__ = ["Default"]

SESSIONS = """
  CREATE TABLE IF NOT EXISTS agent_sessions (
    session_id TEXT PRIMARY KEY,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
  )"""
MESSAGES = """
  CREATE TABLE IF NOT EXISTS agent_messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL REFERENCES agent_sessions (session_id) ON DELETE CASCADE,
    message_data TEXT NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
  )"""
SCHEMA = (SESSIONS, MESSAGES, "CREATE INDEX IF NOT EXISTS agent_messages_session ON agent_messages (session_id, id)")
ADDED_AT_ONCE = 500


class D1Session:
    """One session's items, in the order in which they came."""

    def __init__(self, db: Any, session_id: str, delays: Delays) -> None:
        self.db = db
        self.session_id = session_id
        self.delays = delays
        names = ("batches", "rowsRead", "rowsWritten", "calls", "objectRowsRead", "objectRowsWritten")
        self.cost: dict[str, float] = dict.fromkeys(names, 0)

    async def add_items(self, items: list[dict[str, Any]]) -> None:
        """Make the session if it is new, insert each item, and say when."""
        insert = self.db.prepare("INSERT INTO agent_messages (session_id, message_data) VALUES (?, ?)")
        await self._batch(
            self.db.prepare("INSERT OR IGNORE INTO agent_sessions (session_id) VALUES (?)").bind(self.session_id),
            *[insert.bind(self.session_id, json.dumps(item)) for item in items],
            self.db.prepare("UPDATE agent_sessions SET updated_at = CURRENT_TIMESTAMP WHERE session_id = ?").bind(
                self.session_id
            ),
        )

    async def get_items(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Every item, or the newest so many; the oldest of them first."""
        if limit is None:
            query = "SELECT message_data FROM agent_messages WHERE session_id = ? ORDER BY id"
            [found] = await self._batch(self.db.prepare(query).bind(self.session_id))
            return [json.loads(row.message_data) for row in found.results]
        query = "SELECT message_data FROM agent_messages WHERE session_id = ? ORDER BY id DESC LIMIT ?"
        [found] = await self._batch(self.db.prepare(query).bind(self.session_id, limit))
        return [json.loads(row.message_data) for row in reversed(found.results)]

    async def pop_item(self) -> dict[str, Any] | None:
        """Take the newest item away."""
        newest = "SELECT id FROM agent_messages WHERE session_id = ? ORDER BY id DESC LIMIT 1"
        query = f"DELETE FROM agent_messages WHERE id = ({newest}) RETURNING message_data"
        [found] = await self._batch(self.db.prepare(query).bind(self.session_id))
        return json.loads(found.results[0].message_data) if found.results else None

    async def _batch(self, *statements: Any) -> Any:
        await self.delays.hop()
        results = await self.db.batch(list(statements))
        self.cost["batches"] += 1
        self.cost["rowsRead"] += sum(result.meta.rows_read for result in results)
        self.cost["rowsWritten"] += sum(result.meta.rows_written for result in results)
        return results


class History:
    """The jobs of the history on one session."""

    def __init__(self, env: Any, order: dict[str, Any], delays: Delays) -> None:
        self.job: str = order["job"]
        self.given: dict[str, Any] = order["input"]
        self.session = D1Session(env.DB, order["key"], delays)
        self.read: list[dict[str, Any]] = []

    async def set_up(self) -> None:
        """The history. The long one is made once."""
        if self.job != "chat_page":
            await self.session.add_items(self.given["history"])
            return
        count = self.given["page"]["count"]
        if await self.session.get_items(1):
            return
        for first in range(0, count, ADDED_AT_ONCE):
            numbers = range(first, min(first + ADDED_AT_ONCE, count))
            await self.session.add_items([{"role": "user", "content": f"message {number}"} for number in numbers])

    async def once(self) -> None:
        """What is timed."""
        if self.job == "chat_page":
            given = self.given["page"]
            # It has no offset: what lies further back is read with all that came after it.
            self.read = (await self.session.get_items(given["count"] - given["offset"]))[: given["limit"]]
            return
        self.read = await self.session.get_items()
        await self.session.add_items([self.given["question"]])
        await self.session.add_items([self.given["answer"]])

    async def costs(self) -> dict[str, float]:
        """What was counted so far. It has no objects."""
        return dict(self.session.cost)

    async def read_back(self) -> dict[str, Any]:
        """What is stored, and what was read."""
        if self.job == "chat_page":
            return {"page": self.read}
        return {"loaded": self.read, "messages": await self.session.get_items()}


class Default(WorkerEntrypoint):
    """The door for the host."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Make the tables, or run one job."""
        return await answered(request, prepare=lambda: make_tables(self.env.DB, SCHEMA), job=partial(History, self.env))
