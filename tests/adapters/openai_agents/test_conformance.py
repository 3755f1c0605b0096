"""The published kit over `D1Session`, and over the SDK's own session, which shows that the kit asks for nothing special."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import SQLiteSession

from agents_store_cloudflare.adapters.openai_agents import D1Session
from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.testing.conformance.openai_session import OpenAISessionConformance
from tests.homes.worlds import HomeWorld


class TestD1Session(OpenAISessionConformance):
    """OA-1: A `D1Session` passes the kit."""

    @pytest.fixture(autouse=True)
    def _database(self, database: SqliteDatabase) -> None:
        self.database = database

    async def open(self, session_id: str, **settings: Any) -> Any:
        """Open a session of the test's database."""
        return D1Session(session_id, self.database, **settings)


class TestInHomes(OpenAISessionConformance):
    """OA-1: the same for sessions that live in homes of their own."""

    @pytest.fixture(autouse=True)
    async def _world(self) -> None:
        self.homes = (await HomeWorld().store()).session_homes

    async def open(self, session_id: str, **settings: Any) -> Any:
        """Open a session in its home."""
        return D1Session(session_id, self.homes, **settings)


class TestTheSdksOwnSession(OpenAISessionConformance):
    """The SDK's reference session passes the kit."""

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> Iterator[None]:
        self.file = tmp_path / "sessions.db"
        self.opened: list[SQLiteSession] = []
        yield
        for session in self.opened:
            session.close()  # its connections would be dropped open

    async def open(self, session_id: str, **settings: Any) -> Any:
        """Open a session of the test's file."""
        self.opened.append(SQLiteSession(session_id, self.file, **settings))
        return self.opened[-1]
