"""The jobs on usage."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench_job import Job

from agents_store_cloudflare import D1UsageStore, UsageEntry, UsageRollup

__all__ = ["USAGE_JOBS", "prepare_usage", "rollup_of"]


@dataclass(kw_only=True)
class RecordUsage(Job):
    async def once(self) -> None:
        entries = [{**entry, "sessionId": self.key} for entry in self.input["entries"]]
        await D1UsageStore(self.database()).record_entries(entries)

    async def read_back(self) -> object:
        store = D1UsageStore(self.env.AGENT_DB)
        stored = await store.get_entries(self.key)
        return {
            "ids": len({entry.id for entry in stored}),
            "entries": [without_ids(entry) for entry in stored],
            "rollup": rollup_of(await store.get_rollup(self.key)),
        }


@dataclass(kw_only=True)
class Rollup(Job):
    rollup: UsageRollup = field(init=False)

    async def once(self) -> None:
        self.rollup = await D1UsageStore(self.database()).get_rollup(self.input["session"])

    async def read_back(self) -> object:
        return {"rollup": rollup_of(self.rollup)}


USAGE_JOBS: Mapping[str, type[Job]] = {"record_usage": RecordUsage, "rollup": Rollup}


async def prepare_usage(env: Any, given: Mapping[str, Any]) -> None:
    """Record the same entries under new ids, again and again."""
    store = D1UsageStore(env.AGENT_DB)
    entries = [{**entry, "sessionId": given["session"]} for entry in given["entries"]]
    for _ in range(given["times"]):
        await store.record_entries(entries)


def rollup_of(rollup: UsageRollup) -> object:
    """Return the totals of a session that both sides give."""
    return {
        "entryCount": rollup.entry_count,
        "prompt": rollup.tokens.prompt,
        "cached": rollup.tokens.cached,
        "total": rollup.tokens.total,
        "durationMs": rollup.tool_stats.total_duration_ms,
    }


def without_ids(entry: UsageEntry) -> object:
    """Return the fields of the entry without its id."""
    return {
        key: value for key, value in entry.to_dict().items() if key not in {"id", "sessionId"} and value is not None
    }
