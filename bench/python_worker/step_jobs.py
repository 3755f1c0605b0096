"""An agent's whole step under its session's lock."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench_job import Job, described, new_state
from lock_jobs import LOCK_TTL_S
from state_jobs import checkpoint_count
from stream_jobs import read_chunks, stream_manager, write_chunks
from usage_jobs import rollup_of

from agents_store_cloudflare import D1StateStore, D1UsageStore, DurableObjectLockManager

__all__ = ["STEP_JOBS"]


@dataclass(kw_only=True)
class Step(Job):
    async def set_up(self) -> None:
        await D1StateStore(self.env.AGENT_DB).save(new_state(self.key, self.input))

    async def once(self) -> None:
        database = self.database()
        lock = await DurableObjectLockManager(self.env.LOCKS).acquire(self.key, ttl=LOCK_TTL_S)
        if lock is None:
            raise RuntimeError("somebody has the lock")
        store = D1StateStore(database)
        state = await store.load_state(self.key, required=True)
        await write_chunks(stream_manager(self.env), self.key, self.input["chunks"])
        state.messages += self.input["added"]
        state.step_count += 1
        await store.save_checkpoint(self.key, state, fencing_token=lock)
        await D1UsageStore(database).record_entry({**self.input["entry"], "sessionId": self.key})
        if not await lock.release():
            raise RuntimeError("the lease was lost")

    async def read_back(self) -> object:
        manager = stream_manager(self.env)
        await manager.end_stream(self.key)
        return {
            **described(await D1StateStore(self.env.AGENT_DB).load_state(self.key, required=True)),
            "chunks": await read_chunks(manager, self.key),
            "checkpoints": await checkpoint_count(self.env, self.key),
            "rollup": rollup_of(await D1UsageStore(self.env.AGENT_DB).get_rollup(self.key)),
            "locked": await DurableObjectLockManager(self.env.LOCKS).is_locked(self.key),
        }


STEP_JOBS: Mapping[str, type[Job]] = {"step": Step}
