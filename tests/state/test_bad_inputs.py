"""Ten thousand generated bad inputs over all calls: each is refused by its error before anything is sent, and nothing changes."""

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import (
    CheckpointNotFoundError,
    InvalidArgumentError,
    StateSizeExceededError,
)
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore, StoreLimits
from agents_store_cloudflare.testing import SqliteDatabase
from tests.bad_values import MOST_BYTES, bad_value

CASES = 10_000
SEEDS = 10
LIMITS = StoreLimits(max_state_bytes=MOST_BYTES, max_message_bytes=MOST_BYTES, max_staged_write_bytes=MOST_BYTES)


class Watched(SqliteDatabase):
    """Keeps the sent statements, and counts all changed rows."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        self.sent += [statement.sql.split()[0] for statement in statements]
        return await super().batch(statements)

    async def changes(self) -> list[Row]:
        [rows] = await super().batch([Statement("SELECT total_changes() AS changes")])
        return rows


WRITE = {"fencing_token": "token", "commit_id": "optional id"}
GOOD_STATE: dict[str, Any] = {"session_id": "s", "agent_type": "x", "version": 1, "storedHistory": [0, 0, 0, 0]}
CHECKPOINT = "cpv1-s-s0-t5-000001"


def _leave(_: AgentState) -> None:
    """Change nothing."""


# What a call needs, where it is not said below.
GOOD: dict[str, Any] = {
    "session_id": "s",
    "agent_type": "x",
    "state": GOOD_STATE,
    "status": "x",
    "expected": ["x"],
    "new": "y",
    "session": "s",
    "change": _leave,
    "messages": [{"role": "user"}],
    "count": 1,
    "expected_version": 1,
    "changes": {},
    "keep_last": 1,
    "checkpoint_id": CHECKPOINT,
    "new_session_id": "f",
    "step_id": "t",
    "run_id": "r",
    "sub_session_id": "c0",
    "refs": [{"subSessionId": "c", "agentType": "x"}],
}
GOOD_FOR: dict[str, dict[str, Any]] = {
    "create_session": {"session_id": "new"},
    "stage_changes": {"change": {"toolCallId": "c"}},
    "update_run": {"run_id": "r0"},
    "delete_session": {"session_id": "none"},
}
# Each call (*: a write) with the kinds of its arguments (!: needed).
SIGNATURES = """
    create_session*: session_id!=id agent_type!=label initial_state=optional-object parent_session_id=optional-id exist_ok=flag
    save_state*: session_id!=id state!=state expected_version=version
    save*: state!=state expected_version=version
    update_state*: change! session_id!=id attempts=limit
    load_state: session_id!=id required=flag messages=messages-wanted
    exists: session_id!=id
    session_exists: session_id!=id
    update_status*: session_id!=id status!=label
    compare_and_set_status*: session_id!=id expected!=statuses new!=label
    increment_resume_count*: session_id!=id
    increment_step_count*: session_id!=id
    list_sessions: prefix=optional-label agent_type=optional-label status=optional-label parent_session_id=optional-id limit=limit
      cursor=cursor
    reset_fence: session_id!=id
    append_messages*: session!=id messages!=messages-or-none create=optional-label
    pop_messages*: session_id!=id count=limit drop_checkpoints=flag expected_version=version
    truncate_messages*: session_id!=id count!=whole drop_checkpoints=flag
    replace_messages*: session_id!=id messages!=messages expected_version!=whole drop_checkpoints=flag
    merge_custom_state*: session_id!=id changes!=merge
    get_messages: session_id!=id offset=whole limit=limit include_thinking=flag
    save_checkpoint*: session_id!=id state=state run_id=optional-id stream_sequence=version
    get_latest_checkpoint: session_id!=id
    get_checkpoint: session_id!=id checkpoint_id!=text
    list_checkpoints: session_id!=id limit=limit cursor=cursor include_state=flag
    prune_checkpoints*: session_id!=id keep_last!=limit-of-prune older_than=span older_than_ms=span
    stage_changes*: session_id!=id step_id!=id change!=change
    get_staged_changes: session_id!=id step_id=optional-id
    promote_staging*: session_id!=id step_id!=id
    discard_staging*: session_id!=id step_id!=id
    save_state_and_promote_staging*: session_id!=id state!=state step_id!=id checkpoint=flag run_id=optional-id stream_sequence=version
      expected_version=version
    start_run*: session_id!=id run_id!=id expect_statuses=optional-statuses expect_current_run_id=optional-id status=label
      step_count=whole start_sequence=version
    update_run*: session_id!=id run_id!=id status=optional-label step_count=version completed_at=version error=text
    get_current_run: session_id!=id
    list_runs: session_id!=id limit=limit before_turn=version
    add_sub_session_refs*: session_id!=id refs!=refs
    update_sub_session_ref*: session_id!=id sub_session_id!=id status=optional-label completed_at=version output=json error=text
    get_sub_session_refs: session_id!=id
    get_session_tree: session_id!=id
    delete_session*: session_id!=id delete_usage=flag
    restore_checkpoint*: session_id!=id checkpoint_id!=text
    fork_session*: session_id!=id checkpoint_id!=text new_session_id!=id
    cleanup_expired_sessions: now=version limit=limit delete_usage=flag
"""


def _calls() -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Return each call with its good arguments and their kinds."""
    for signature in re.split(r"\n    (?! )", SIGNATURES.rstrip())[1:]:
        name, _, rest = signature.partition(":")
        parts = [part.partition("=") for part in rest.split()]
        needed = [argument.rstrip("!") for argument, _, _ in parts if argument.endswith("!")]
        kinds = {argument.rstrip("!"): kind.replace("-", " ") for argument, _, kind in parts if kind}
        name, is_write = name.rstrip("*"), name.endswith("*")
        good = {**GOOD, **GOOD_FOR.get(name, {})}
        yield name, {argument: good[argument] for argument in needed}, {**kinds, **(WRITE if is_write else {})}


CALLS = list(_calls())
# Decided in Python from what was read: nothing but reads may have been sent.
READ_FIRST = {("merge_custom_state", "changes"), ("save_state_and_promote_staging", "state")}


@pytest.fixture
async def database() -> Watched:
    database = Watched()
    await run_migration(database)
    store = D1StateStore(database, now_ms=lambda: 5)
    await store.create_session("s", agent_type="x")
    assert (await store.save_checkpoint("s")).id == CHECKPOINT
    await store.start_run("s", "r0")
    await store.add_sub_session_refs("s", [{"subSessionId": "c0", "agentType": "x"}])
    return database


@pytest.mark.parametrize(("name", "good", "_"), CALLS, ids=lambda value: value if isinstance(value, str) else "")
async def test_the_good_inputs_are_good(database: Watched, name: str, good: dict[str, Any], _: dict[str, str]) -> None:
    """ST-5: The good inputs are accepted, so each bad input is refused only for its one mistake."""
    await getattr(D1StateStore(database, limits=LIMITS), name)(**good)
    assert database.sent


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_bad_inputs_are_refused(database: Watched, seed: int) -> None:
    """ST-4, ST-5, ST-11, ST-12, ST-18, ST-28, ST-36: A bad input raises TypeError, ValueError or StateSizeExceededError.

    Nothing is sent or changed.
    """
    choice, store, before = random.Random(seed), D1StateStore(database, limits=LIMITS), await database.changes()
    for _ in range(CASES // SEEDS):
        name, good, kinds = choice.choice(CALLS)
        argument = choice.choice(list(kinds))
        arguments = {**good, argument: bad_value(kinds[argument], choice)}
        database.sent.clear()
        try:
            await getattr(store, name)(**arguments)
        except (TypeError, ValueError, InvalidArgumentError, StateSizeExceededError):
            pass
        except Exception as error:
            raise AssertionError((name, argument, repr(arguments[argument])[:200])) from error
        else:
            pytest.fail(f"{name} took {argument}={arguments[argument]!r:.200}")
        reads = (name, argument) in READ_FIRST and set(database.sent) <= {"SELECT"}
        assert not database.sent or reads, (name, argument, repr(arguments[argument])[:200])
    assert await database.changes() == before


@pytest.mark.parametrize(
    "wrong", ["", "s9999999999999999-t5-000001", "s0-t9999999999999999-000001", "s0-t5-00000g", "s0-t٥-000001"]
)
async def test_checkpoint_ids_that_no_store_gave(database: Watched, wrong: str) -> None:
    """ST-31, ST-32: Such an id names no checkpoint, and nothing is sent."""
    store, checkpoint_id = D1StateStore(database), f"cpv1-s-{wrong}"
    database.sent.clear()
    assert await store.get_checkpoint("s", checkpoint_id) is None
    for call in (store.restore_checkpoint("s", checkpoint_id), store.fork_session("s", checkpoint_id, "f")):
        with pytest.raises(CheckpointNotFoundError):
            await call
    assert not database.sent
