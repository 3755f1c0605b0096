"""What an import must bring back, whatever failed on its way: the session as its reads show it."""

import json

from agents_store_cloudflare.contract.state import StateStore
from agents_store_cloudflare.contract.usage import UsageStore

__all__ = ["seen"]


async def seen(states: StateStore, usage: UsageStore) -> str:
    """Return the session `s` by its reads, without the version and the times of the copy."""
    state = await states.load_state("s")
    if state is None:
        return "nothing"
    entries = [entry.to_dict() for entry in await usage.get_entries("s")]
    totals = [total.to_dict() for total in await usage.get_totals("tool")]
    checkpoints = await states.list_checkpoints("s")
    runs = [run.to_dict() for run in await states.list_runs("s")]
    return json.dumps([state.messages, state.custom_state, entries, totals, len(checkpoints.items), runs])
