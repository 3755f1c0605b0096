"""The operations of the state store."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from agents_store_cloudflare import D1StateStore, StateNotFoundError, run_migration
from agents_store_cloudflare.contract.errors import StaleFencingTokenError
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.contract.state.store import StateStore
from agents_store_cloudflare.testing import FakeClock, SqliteDatabase
from agents_store_cloudflare.usage import D1UsageStore
from tests.instruments.images import copy_of
from tests.instruments.operations import NOW_MS, Call, Operation, Role, plain
from tests.instruments.seams import Seam, WatchedDatabase

__all__ = ["STATE", "StateWorld"]

MESSAGE = {"role": "user", "content": [{"type": "text", "text": "hello"}]}
STAGED = {"toolCallId": "t9", "mergeChanges": {"b": [1]}, "timestamp": 9}
REFS = [{"subSessionId": name, "agentType": "x", "location": "local"} for name in ("r1", "r2", "r3")]
USAGE = {
    "id": "u", "sessionId": "s", "kind": "custom", "source": {"type": "agent", "name": "x"}, "name": "n", "value": 2,
    "data": {"a": [1]},
}  # fmt: skip
READS = {
    "load_state", "exists", "session_exists", "list_sessions", "get_messages", "get_latest_checkpoint", "get_checkpoint",
    "list_checkpoints", "get_staged_changes", "get_current_run", "list_runs", "get_sub_session_refs", "get_session_tree",
}  # fmt: skip
FENCE = 5


class StateWorld:
    """A session with every kind of content, a child, and an expired session."""

    store_type: type[D1StateStore] = D1StateStore
    filled: tuple[SqliteDatabase, list[str]] | None = None

    def __init__(self, database: SqliteDatabase) -> None:
        self.clock = FakeClock(NOW_MS)
        self.seam = Seam()
        self.database = database
        self.mine = self.store_type(WatchedDatabase(self.database, self.seam), now_ms=self.clock.now_ms)
        self.theirs = D1StateStore(self.database, now_ms=self.clock.now_ms)
        self.usage = D1UsageStore(self.database, now_ms=self.clock.now_ms)
        self.checkpoints: list[str] = []

    @classmethod
    async def open(cls) -> StateWorld:
        if StateWorld.filled is None:
            first = StateWorld(SqliteDatabase())
            await first.fill()
            StateWorld.filled = copy_of(first.database), first.checkpoints
            first.close()
        image, checkpoints = StateWorld.filled
        world = cls(copy_of(image))
        world.checkpoints = list(checkpoints)
        return world

    async def fill(self) -> None:
        await run_migration(self.database)
        store = self.theirs
        state = await store.create_session(
            "s", agent_type="x", initial_state={"list": [1], "deep": {"a": {"b": 1}}}, fencing_token=FENCE
        )
        for number in (1, 2):
            state.messages.append({"role": "user", "content": f"{number}'s"})
            state.messages.append({"role": "assistant"})
            self.checkpoints.append((await store.save_checkpoint("s", state)).id)
        for call in ("t1", "t2"):
            patches = [{"op": "add", "path": "/list/-", "value": call}]
            await store.stage_changes("s", "step", {"toolCallId": call, "patches": patches, "timestamp": 1})
        await store.start_run("s", "run 1")
        await store.add_sub_session_refs("s", REFS[:1])
        await store.create_session("child", agent_type="x", parent_session_id="s")
        await store.save(AgentState(session_id="old", agent_type="x", expires_at=5))

    async def picture(self) -> str:
        store = self.theirs
        ids = sorted({each.session_id for each in (await store.list_sessions(limit=1000)).items})
        shown: dict[str, Any] = {"sessions": ids, "totals": await self.usage.get_totals("agent")}
        for session_id in ids:
            shown[session_id] = {
                "state": (await store.load_state(session_id, required=True)).to_dict(),
                "messages": (await store.get_messages(session_id, limit=1000)).messages,
                "checkpoints": [each.to_dict() for each in (await store.list_checkpoints(session_id)).items],
                "latest": await store.get_latest_checkpoint(session_id),
                "staged": await store.get_staged_changes(session_id),
                "runs": await store.list_runs(session_id),
                "current run": await store.get_current_run(session_id),
                "references": await store.get_sub_session_refs(session_id),
                "tree": await store.get_session_tree(session_id),
                "usage": await self.usage.get_entries(session_id),
            }
        shown["fence"] = [await self._fence(session_id) for session_id in ("s", "child", "new", "fork")]
        return plain(shown)

    async def _fence(self, session_id: str) -> int:
        """Return the lowest accepted token. Ask it last, because the token is kept."""
        for token in range(1, 20):
            try:
                await self.theirs.compare_and_set_status(session_id, [], "x", fencing_token=token)
            except StaleFencingTokenError:
                continue
            except StateNotFoundError:
                return token
            return token
        raise AssertionError("a fence above all tokens")

    async def left_over(self) -> list[str]:
        return []

    async def probe(self, client: Any) -> None:
        await client.create_session("probe", agent_type="x")
        assert await client.append_messages("probe", [MESSAGE]) == 0
        await client.delete_session("probe")

    def close(self) -> None:
        self.database.close()


def _op(name: str, method: str, *arguments: Any, is_retried: bool = True, **keywords: Any) -> Operation:
    async def prepare(world: StateWorld, client: D1StateStore) -> Call:
        own = [world.checkpoints[0] if each == "FIRST" else deepcopy(each) for each in arguments]
        return Call(getattr(client, method), own, {key: deepcopy(value) for key, value in keywords.items()})

    return Operation(name, (f"StateStore.{method}",), prepare, is_retried)


def _with_state(name: str, method: str, *, named: bool = True, **keywords: Any) -> Operation:
    """Return a call that gets the loaded and changed state."""

    async def prepare(world: StateWorld, client: D1StateStore) -> Call:
        state = await world.theirs.load_state("s", required=True)
        state.messages.append({"role": "assistant", "content": [{"text": "grown"}]})
        state.custom_state["grown"] = {"deep": [True]}
        arguments = ["s", state] if named else [state]
        return Call(getattr(client, method), arguments, {key: deepcopy(value) for key, value in keywords.items()})

    return Operation(name, (f"StateStore.{method}",), prepare)


async def _append_to_state(world: StateWorld, client: D1StateStore) -> Call:
    state = await world.theirs.load_state("s", required=True)
    return Call(client.append_messages, [state, [deepcopy(MESSAGE)]])


def _grow(state: AgentState) -> None:
    state.messages.append({"role": "assistant", "content": "updated"})
    state.custom_state["updated"] = True


STATE = Role(
    "state",
    (StateStore,),
    frozenset(f"StateStore.{name}" for name in READS),
    False,
    StateWorld.open,
    (
        _op("create", "create_session", "new", agent_type="x", initial_state={"a": [1]}, parent_session_id="s"),
        _op("create or get", "create_session", "s", agent_type="x", exist_ok=True),
        _with_state("save", "save_state"),
        _with_state("save with usage", "save_state", usage=[USAGE]),
        _op("update", "update_state", "s", _grow),
        _op("status", "update_status", "s", "running"),
        _op("compare and set", "compare_and_set_status", "s", ["active"], "running"),
        _op("resume count", "increment_resume_count", "s"),
        _op("step count", "increment_step_count", "s"),
        _op("merge", "merge_custom_state", "s", {"list": [2], "deep": {"c": {}}}),
        _op("append", "append_messages", "s", [MESSAGE]),
        Operation("append to a state", ("StateStore.append_messages",), _append_to_state),
        _op("pop what a checkpoint counts", "pop_messages", "s"),
        _op("pop", "pop_messages", "s", drop_checkpoints=True),
        _op("append or create", "append_messages", "made", [MESSAGE], create="x"),
        _op("truncate", "truncate_messages", "s", 1, drop_checkpoints=True),
        _op("replace", "replace_messages", "s", [MESSAGE], expected_version=3, drop_checkpoints=True),
        _op("checkpoint", "save_checkpoint", "s", run_id="r", stream_sequence=3),
        _with_state("save and checkpoint", "save_checkpoint"),
        _op("restore", "restore_checkpoint", "s", "FIRST"),
        _op("fork", "fork_session", "s", "FIRST", "fork"),
        _op("prune", "prune_checkpoints", "s", keep_last=1),
        _op("stage", "stage_changes", "s", "step", STAGED),
        _op("discard", "discard_staging", "s", "step"),
        _op("promote", "promote_staging", "s", "step"),
        _with_state("save and promote", "save_state_and_promote_staging", step_id="step"),
        _op("start run", "start_run", "s", "run 2"),
        _op("start run after run 1", "start_run", "s", "run 3", expect_current_run_id="run 1"),
        _op("update run", "update_run", "s", "run 1", status="failed", error="e"),
        _op("add references", "add_sub_session_refs", "s", REFS),
        _op("update a reference", "update_sub_session_ref", "s", "r1", status="failed", output={"a": [1]}),
        _op("delete", "delete_session", "s", delete_usage=True, commit_id="d"),
        _op("delete a child", "delete_session", "child", commit_id="d"),
        _op("recreate a child", "create_session", "child", agent_type="x", exist_ok=True),
        _op("reset the fence", "reset_fence", "s"),
        _op("clean up", "cleanup_expired_sessions", NOW_MS, is_retried=False),
    ),
)
