"""What the tests of adapters need of a world with homes, on the Worker's own Durable Objects."""

import workers
from real_d1 import RealD1

from agents_store_cloudflare import CloudflareStore, SessionOptions, create_cloudflare_store, run_migration

__all__ = ["HomeWorld"]


class HomeWorld:
    """The Worker's bindings. Its homes outlive a test; its D1 begins empty."""

    async def store(self) -> CloudflareStore:
        """Return a store over them. Its directory has each change at once."""
        database = RealD1(workers.env.AGENT_DB)
        await run_migration(database)
        return create_cloudflare_store(
            db=database,
            streams=workers.env.STREAMS,
            sessions=workers.env.SESSIONS,
            session_options=SessionOptions(directory_delay=0),
        )
