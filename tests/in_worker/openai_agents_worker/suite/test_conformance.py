"""The published kit over `D1Session` on real D1, and in real homes."""

from typing import Any

import pytest

from agents_store_cloudflare import SessionOptions, create_cloudflare_store
from agents_store_cloudflare.adapters.openai_agents import D1Session
from agents_store_cloudflare.testing.conformance.openai_session import OpenAISessionConformance


class TestD1Session(OpenAISessionConformance):
    """OA-1: A `D1Session` passes the kit."""

    @pytest.fixture(autouse=True)
    def _database(self, database: Any) -> None:
        self.database = database

    async def open(self, session_id: str, **settings: Any) -> Any:
        """Open a session of the test's database."""
        return D1Session(session_id, self.database, **settings)


class TestInHomes(OpenAISessionConformance):
    """OA-1: the same for sessions that live in homes of their own."""

    @pytest.fixture(autouse=True)
    def _homes(self, env: Any, database: Any) -> None:
        options = SessionOptions(directory_delay=0)
        self.store = create_cloudflare_store(
            db=database, streams=env.STREAMS, sessions=env.SESSIONS, session_options=options
        )
        self.opened: set[str] = set()

    async def open(self, session_id: str, **settings: Any) -> Any:
        """Open a session in its home. An earlier test may have used the home."""
        if session_id not in self.opened:
            self.opened.add(session_id)
            await self.store.delete_session(session_id)
        return D1Session(session_id, self.store.session_homes, **settings)
