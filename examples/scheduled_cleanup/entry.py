"""A cron Worker that keeps the database small: expired sessions go, usage older than a limit goes."""

from datetime import timedelta
from typing import Any

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import D1StateStore, D1UsageStore, run_migration

__all__ = ["Default"]

MOST_SESSIONS_A_ROUND = 100
MOST_ROUNDS = 50


class Default(WorkerEntrypoint):
    """Works by its schedule; requests only hear that it does."""

    env: Any  # the bindings of wrangler.toml

    async def scheduled(self, controller: Any, env: Any, ctx: Any) -> None:
        """Delete what has had its time. Running again, or being cut off in between, does no harm."""
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
    """In rounds, so that no batch grows large; the next run takes what this one leaves."""
    deleted = 0
    for _ in range(MOST_ROUNDS):
        ids = await state_store.cleanup_expired_sessions(limit=MOST_SESSIONS_A_ROUND)
        deleted += len(ids)
        if not ids:
            break
    return deleted
