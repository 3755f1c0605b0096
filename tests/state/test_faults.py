"""Every write of the state store at its worst moment: afterwards it has happened once, or not at all and says so."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from agents_store_cloudflare.contract.errors import D1StateError
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import retry
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import FaultyDatabase, SqliteDatabase
from agents_store_cloudflare.testing.faults import Moment

Write: TypeAlias = Callable[[D1StateStore, str, AgentState], Awaitable[Any]]


async def _save(store: D1StateStore, commit_id: str, state: AgentState) -> Any:
    return await store.save_state("s", state, commit_id=commit_id, fencing_token=5)


async def _status(store: D1StateStore, commit_id: str, _: AgentState) -> Any:
    return await store.update_status("s", "running", commit_id=commit_id, fencing_token=5)


async def _checkpoint(store: D1StateStore, commit_id: str, _: AgentState) -> Any:
    return (await store.save_checkpoint("s", commit_id=commit_id, fencing_token=5)).id


async def _save_and_checkpoint(store: D1StateStore, commit_id: str, state: AgentState) -> Any:
    return (await store.save_checkpoint("s", state, commit_id=commit_id, fencing_token=5)).id


WRITES: list[Write] = [_save, _status, _checkpoint, _save_and_checkpoint]
writes = pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pause(attempt: int) -> None:
        assert attempt < retry.ATTEMPTS

    monkeypatch.setattr(retry, "pause_before_retry", pause)


class Prepared(FaultyDatabase):
    """A database with one session, and that session loaded with one added message."""

    def __init__(self, database: SqliteDatabase, loaded: AgentState) -> None:
        super().__init__(database)
        self._loaded = loaded.to_dict()

    def changed(self) -> AgentState:
        state = AgentState.from_dict(self._loaded)
        state.messages.append({"role": "assistant"})
        return state


@pytest.fixture
async def database() -> Prepared:
    return await _prepared()


async def _prepared() -> Prepared:
    database = SqliteDatabase()
    await run_migration(database)
    state = AgentState(session_id="s", agent_type="x", messages=[{"role": "user"}])
    await D1StateStore(database).save_state("s", state)
    return Prepared(database, state)


async def _picture(database: FaultyDatabase) -> list[Any]:
    """Return the stored rows without times and commit ids."""
    store = D1StateStore(database)
    state = await store.load_state("s", required=True)
    checkpoint = await store.get_latest_checkpoint("s")
    assert state is not None
    return [state.version, state.status, state.messages, checkpoint and checkpoint.message_count]


async def _undisturbed(write: Write) -> list[Any]:
    database = await _prepared()
    await write(D1StateStore(database), "c", database.changed())
    return await _picture(database)


@writes
@pytest.mark.parametrize("moments", [("before",), ("after",), ("after", "before", "after")], ids="-".join)
async def test_a_lost_reply_is_answered_by_the_retry(
    database: Prepared, write: Write, moments: tuple[Moment, ...]
) -> None:
    """ST-10, ST-20, ST-21: The store's own retries store once, and the caller notices nothing."""
    database.fail(*moments)
    await write(D1StateStore(database), "c", database.changed())
    assert len(database.sent) <= len(moments) + 2
    assert await _picture(database) == await _undisturbed(write)


@writes
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_when_retries_run_out_the_caller_repeats(database: Prepared, write: Write, moment: Moment) -> None:
    """ST-10, ST-21: The error says that the outcome is unknown. A repetition with the same commit id takes effect once."""
    moments: list[Moment] = [moment] * retry.ATTEMPTS
    database.fail(*moments)
    store = D1StateStore(database)
    with pytest.raises(D1StateError, match="Network connection lost") as raised:
        await write(store, "c", database.changed())
    assert raised.value.outcome_unknown
    assert raised.value.__cause__ is not None
    first = await write(store, "c", database.changed())
    second = await write(store, "c", database.changed())
    assert first == second
    assert await _picture(database) == await _undisturbed(write)


@pytest.mark.parametrize("name", ["load_state", "exists", "get_messages", "get_latest_checkpoint"])
async def test_reads_are_one_batch_and_raise(database: Prepared, name: str) -> None:
    """ST-20, ST-21: A read is one batch and is retried. A failure is never reported as a missing session."""
    read: Callable[[str], Awaitable[object]] = getattr(D1StateStore(database), name)
    await read("s")
    assert len(database.sent) == 1
    database.fail("before", "after")
    await read("s")
    database.fail("before", message="D1_ERROR: D1 DB is overloaded. Requests queued for too long.")
    with pytest.raises(D1StateError, match="overloaded") as raised:
        await read("s")
    assert not raised.value.outcome_unknown


async def test_an_unmigrated_database_says_so() -> None:
    """ST-21: without tables the error names the remedy."""
    with pytest.raises(D1StateError, match="run_migration"):
        await D1StateStore(SqliteDatabase()).load_state("s")
