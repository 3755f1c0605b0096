"""A cron Worker that keeps the database small. It deletes expired sessions, and usage that is older than a limit."""

from datetime import timedelta
from typing import Any

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import D1StateStore, D1UsageStore, run_migration

__all__ = ["Default"]

MOST_SESSIONS_A_ROUND = 100
MOST_ROUNDS = 50


class Default(WorkerEntrypoint):
    """Works on its schedule. A request only gets a text that says so."""

    env: Any  # the bindings of wrangler.toml

    async def scheduled(self, controller: Any, env: Any, ctx: Any) -> None:
        """Delete expired data. It is safe to run again, also after it was cut off."""
        await run_migration(self.env.AGENT_DB)
        sessions = await delete_expired_sessions(D1StateStore(self.env.AGENT_DB))
        keep = timedelta(days=float(self.env.KEEP_USAGE_DAYS))
        entries = await D1UsageStore(self.env.AGENT_DB).delete_old_entries(keep)
        print(
            f"deleted {sessions} sessions and {entries} usage entries"
        )  # a log line; the logging module would make it an error

    async def fetch(self, request: Request) -> Response:
        """Say what this Worker is."""
        return Response("This Worker cleans up at the times of its cron trigger.\n")


async def delete_expired_sessions(state_store: D1StateStore) -> int:
    """Delete expired sessions in rounds, so that no batch grows large. The next run deletes the rest."""
    deleted = 0
    for _ in range(MOST_ROUNDS):
        ids = await state_store.cleanup_expired_sessions(limit=MOST_SESSIONS_A_ROUND)
        deleted += len(ids)
        if not ids:
            break
    return deleted
