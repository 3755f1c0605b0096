"""The jobs on sessions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench_job import Job, described, new_state

from agents_store_cloudflare import AgentState, D1StateStore, MessagePage, PromoteResult, run_migration

__all__ = ["STATE_JOBS", "fill_session", "prepare_session", "prepare_tables"]

TURNS_BETWEEN_LOADS = 50
STEP = "step-1"


@dataclass(kw_only=True)
class Save(Job):
    state: AgentState = field(init=False)

    async def set_up(self) -> None:
        self.state = new_state(self.key, self.input)
        await D1StateStore(self.env.AGENT_DB).save(self.state)

    async def once(self) -> None:
        self.state.messages += self.input["added"]
        self.state.step_count += 1
        await D1StateStore(self.database()).save(self.state)

    async def read_back(self) -> object:
        return described(await D1StateStore(self.env.AGENT_DB).load_state(self.key, required=True))


@dataclass(kw_only=True)
class Load(Job):
    state: AgentState = field(init=False)

    async def once(self) -> None:
        self.state = await D1StateStore(self.database()).load_state(self.input["session"], required=True)

    async def read_back(self) -> object:
        return described(self.state)


@dataclass(kw_only=True)
class Page(Job):
    page: MessagePage = field(init=False)

    async def once(self) -> None:
        store = D1StateStore(self.database())
        self.page = await store.get_messages(
            self.input["session"], offset=self.input["offset"], limit=self.input["limit"]
        )

    async def read_back(self) -> object:
        return self.page.to_dict()


@dataclass(kw_only=True)
class CheckpointRestore(Job):
    state: AgentState = field(init=False)

    async def set_up(self) -> None:
        await D1StateStore(self.env.AGENT_DB).save(new_state(self.key, self.input))

    async def once(self) -> None:
        store = D1StateStore(self.database())
        checkpoint = await store.save_checkpoint(self.key)
        self.state = await store.restore_checkpoint(self.key, checkpoint.id)

    async def read_back(self) -> object:
        return {**described(self.state), "checkpoints": await checkpoint_count(self.env, self.key)}


@dataclass(kw_only=True)
class Promote(Job):
    has_before_each: bool = True
    promoted: PromoteResult = field(init=False)

    async def set_up(self) -> None:
        await D1StateStore(self.env.AGENT_DB).save(new_state(self.key, self.input))

    async def before_each(self) -> None:
        store = D1StateStore(self.env.AGENT_DB)
        for change in self.input["changes"]:
            await store.stage_changes(self.key, STEP, change)

    async def once(self) -> None:
        self.promoted = await D1StateStore(self.database()).promote_staging(self.key, STEP)

    async def read_back(self) -> object:
        state = await D1StateStore(self.env.AGENT_DB).load_state(self.key, required=True)
        return {"applied": list(self.promoted.applied), "customState": state.custom_state}


STATE_JOBS: Mapping[str, type[Job]] = {
    "save": Save,
    "load": Load,
    "page": Page,
    "checkpoint_restore": CheckpointRestore,
    "promote": Promote,
}


async def prepare_tables(env: Any, _given: Mapping[str, Any]) -> None:
    """The package's schema."""
    await run_migration(env.AGENT_DB)


async def prepare_session(env: Any, given: Mapping[str, Any]) -> None:
    """A session saved once a turn, as an agent saves it."""
    await fill_session(D1StateStore(env.AGENT_DB), given)


async def fill_session(store: D1StateStore, given: Mapping[str, Any]) -> None:
    """Save the given turns of a session, one after the other."""
    state = new_state(given["session"], given)
    for number, turn in enumerate(given["turns"], start=1):
        state.messages += turn
        state.step_count += 1
        await store.save(state)
        if number % TURNS_BETWEEN_LOADS == 0:
            state = await store.load_state(state.session_id, required=True, messages="none")


async def checkpoint_count(env: Any, session_id: str) -> int:
    """Return how many checkpoints a session has, up to a page of them."""
    page = await D1StateStore(env.AGENT_DB).list_checkpoints(session_id, limit=100, include_state=False)
    return len(page.items)
