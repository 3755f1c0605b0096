"""A Worker that migrates its databases: GET /run/DB_A runs it ten times at once, GET /look/DB_A reports."""

import asyncio
import json
from typing import Any

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.migrations import get_agents_table_names, is_migrated, run_migration

__all__ = ["Default"]


class Default(WorkerEntrypoint):
    """The door for the test."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Answer one command."""
        command, _, binding = request.url.split("/", 3)[-1].partition("/")
        if command == "run":
            versions = await asyncio.gather(*(run_migration(getattr(self.env, binding)) for _ in range(10)))
            return Response(json.dumps(versions))
        if command == "look":
            return Response(json.dumps(await self._look(getattr(self.env, binding))))
        return Response("ready")

    async def _look(self, binding: Any) -> dict[str, Any]:
        database = as_database(binding)
        [files] = await database.batch([Statement("SELECT name FROM d1_migrations ORDER BY name")])
        [rows] = await database.batch(
            [Statement("SELECT session_id, version FROM __agents_states ORDER BY session_id")]
        )
        return {
            "migrated": await is_migrated(database),
            "tables": await get_agents_table_names(database),
            "files": [row[0] for row in files],
            "sessions": rows,
        }
