"""The state store on sqlite, through the same conformance class as on D1, and what only a host can test."""

import enum

import pytest

from agents_store_cloudflare.contract.errors import D1StateError, InvalidArgumentError
from agents_store_cloudflare.contract.state.records import AgentState, Message
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore, StoreLimits
from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.testing.conformance.state import StateConformance
from agents_store_cloudflare.testing.conformance.state_contention import ContentionConformance
from agents_store_cloudflare.testing.conformance.state_history import HistoryConformance
from agents_store_cloudflare.testing.conformance.state_pops import PopConformance
from agents_store_cloudflare.testing.conformance.state_requests import RequestsConformance
from agents_store_cloudflare.testing.conformance.state_steps import StepsConformance


@pytest.fixture
async def database() -> SqliteDatabase:
    database = SqliteDatabase()
    await run_migration(database)
    return database


@pytest.fixture
def store(database: SqliteDatabase) -> D1StateStore:
    return D1StateStore(database)


class TestState(StateConformance):
    @pytest.fixture
    def state_store(self, store: D1StateStore) -> D1StateStore:
        return store


class TestHistory(HistoryConformance):
    @pytest.fixture
    def state_store(self, store: D1StateStore) -> D1StateStore:
        return store


class TestPops(PopConformance):
    @pytest.fixture
    def state_store(self, store: D1StateStore) -> D1StateStore:
        return store


class TestSteps(StepsConformance):
    @pytest.fixture
    def state_store(self, store: D1StateStore) -> D1StateStore:
        return store


class TestRequests(RequestsConformance):
    @pytest.fixture
    def state_store(self, store: D1StateStore) -> D1StateStore:
        return store


class TestContention(ContentionConformance):
    @pytest.fixture
    def state_store(self, store: D1StateStore) -> D1StateStore:
        return store


def _state(session_id: str, *contents: str) -> AgentState:
    messages: list[Message] = [{"role": "user", "content": content} for content in contents]
    return AgentState(session_id=session_id, agent_type="x", messages=messages)


async def test_rows_that_others_insert(database: SqliteDatabase, store: D1StateStore) -> None:
    """ST-7: A row that another service inserted becomes a separate session, and messages of sessions never mix."""
    await store.save(_state("a", "a0"))
    foreign = Statement(
        "INSERT INTO __agents_states (session_id, agent_type, created_at, updated_at) VALUES ('ext', 'x', 1, 1)"
    )
    await database.batch([foreign])
    await store.save(_state("b", "b0"))
    loaded = await store.load_state("ext", required=True)
    loaded.messages.append({"role": "user", "content": "secret"})
    await store.save(loaded)
    for session_id, content in (("a", "a0"), ("ext", "secret"), ("b", "b0")):
        assert list(await store.get_messages(session_id)) == [{"role": "user", "content": content}]


async def test_what_a_deleted_row_leaves_behind(database: SqliteDatabase, store: D1StateStore) -> None:
    """ST-22: After somebody deleted a state row by hand, no other session gets its messages or checkpoints."""
    await store.save_checkpoint("a", _state("a", "secret"))
    await database.batch([Statement("DELETE FROM __agents_states")])
    fresh = _state("b")
    await store.save(fresh)
    assert (await store.get_messages("b")).messages == []
    assert await store.get_latest_checkpoint("b") is None
    fresh.messages.append({"role": "user"})
    await store.save(fresh)


@pytest.mark.parametrize(("column", "value"), [("message_count", 2**24 - 1), ("checkpoint_count", 2**24 - 1)])
async def test_a_full_session(database: SqliteDatabase, store: D1StateStore, column: str, value: int) -> None:
    """ST-12: A session has at most 2^24 messages and checkpoints. More are refused and never stored in another session's range."""
    await store.save(_state("a"))
    setting: dict[str, Statement] = {
        "message_count": Statement("UPDATE __agents_states SET message_count = ?1", (value,)),
        "checkpoint_count": Statement("UPDATE __agents_states SET checkpoint_count = ?1", (value,)),
    }
    await database.batch([setting[column]])
    state = await store.load_state("a", required=True, messages="none")
    state.messages.extend([{"role": "user"}, {"role": "user"}])
    with pytest.raises(D1StateError, match="full"):
        await store.save_checkpoint("a", state)


@pytest.mark.parametrize(
    "message",
    ["…exceeded timeout which caused object to be reset.", "internal error; reference = x", "error code: 502"],
)
async def test_unknown_outcomes(database: SqliteDatabase, message: str) -> None:
    """ST-21: An error counts as an unknown outcome unless it says that nothing happened. It has the commit id for a repetition."""
    from agents_store_cloudflare.testing import FaultyDatabase

    faulty = FaultyDatabase(database)
    store = D1StateStore(faulty)
    state = _state("a", "once")
    faulty.fail("after", message=message)
    with pytest.raises(D1StateError) as raised:
        await store.save(state)
    assert raised.value.outcome_unknown
    assert await store.save(state, commit_id=raised.value.commit_id) == 1
    assert (await store.get_messages("a")).total == 1


def test_limits_keep_clear_of_d1s() -> None:
    """ST-12: A limit above D1's own is refused."""
    with pytest.raises(InvalidArgumentError, match="max_state_bytes"):
        StoreLimits(max_state_bytes=1_830_001)


async def test_enums_in_messages(store: D1StateStore) -> None:
    """ST-3, ST-9: Text and numbers of subclasses are stored as plain values, and later compare as these."""

    class Role(enum.StrEnum):
        USER = "user"

    class Number(enum.IntEnum):
        ONE = 1

    state = _state("a")
    state.messages.append({"role": Role.USER, "content": Number.ONE})
    await store.save(state)
    again = AgentState.from_dict({**state.to_dict(), "messages": [{"role": "user", "content": 1}]})
    again.messages.append({"role": "user"})
    assert await store.save(again) == 2


async def test_user_text_is_no_word_of_the_database(database: SqliteDatabase) -> None:
    """ST-21: A refused write sends one batch, whatever the stored status says. Shortened facts count as a refusal too."""
    from agents_store_cloudflare.contract.errors import RunConflictError
    from agents_store_cloudflare.database import SqlError
    from agents_store_cloudflare.testing import FaultyDatabase

    counted = FaultyDatabase(database)
    store = D1StateStore(counted)
    await store.save(AgentState(session_id="a", agent_type="x", status="Network connection lost, no such table"))
    counted.sent.clear()
    with pytest.raises(RunConflictError):
        await store.start_run("a", "r", expect_statuses=["running"])
    assert len(counted.sent) == 1
    for text in (
        'agents-store {"fault":"version","version":7,"status":"Network conn',
        'agents-store {"fault":"vers',
        "agents-store ",
    ):
        cut = SqlError(f"D1_ERROR: bad JSON path: '{text}")
        assert cut.guard is not None
        assert (cut.transient, cut.outcome_unknown, cut.constraint, cut.is_missing_table()) == (
            False,
            False,
            None,
            False,
        )
    assert SqlError('x \'agents-store {"fault":"version","version":7,"status":"Net').guard == {
        "fault": "version",
        "version": 7,
    }
    counted.fail("before", message='D1_ERROR: bad JSON path: \'agents-store {"fault":"vers')
    with pytest.raises(D1StateError, match="nothing was written") as raised:
        await store.update_status("a", "x")
    assert not raised.value.outcome_unknown
