"""D1 over its HTTP API: the stores' own contract over real HTTP, and what HTTP adds to it."""

import socket
from pathlib import Path

import pytest

from agents_store_cloudflare.command.remote import RemoteDatabase
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import SqlError, Statement, batch_with_retry
from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION, get_agents_migration_version, run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.testing.conformance.state import StateConformance
from agents_store_cloudflare.testing.conformance.state_history import HistoryConformance
from agents_store_cloudflare.testing.conformance.state_steps import StepsConformance
from agents_store_cloudflare.testing.conformance.usage import UsageConformance
from agents_store_cloudflare.usage import D1UsageStore
from tests.command.d1_api_stub import ACCOUNT, DATABASE, TOKEN, D1ApiStub, Planned, d1_api_stub

ONE = [Statement("SELECT 1")]


@pytest.fixture
def state_store(migrated: SqliteDatabase, remote: RemoteDatabase) -> D1StateStore:
    return D1StateStore(remote)


class TestState(StateConformance):
    @pytest.fixture
    def state_store(self, state_store: D1StateStore) -> D1StateStore:
        return state_store


class TestHistory(HistoryConformance):
    @pytest.fixture
    def state_store(self, state_store: D1StateStore) -> D1StateStore:
        return state_store


class TestSteps(StepsConformance):
    @pytest.fixture
    def state_store(self, state_store: D1StateStore) -> D1StateStore:
        return state_store


class TestUsage(UsageConformance):
    @pytest.fixture
    def usage_store(self, migrated: SqliteDatabase, remote: RemoteDatabase) -> D1UsageStore:
        return D1UsageStore(remote)

    @pytest.fixture
    def state_store(self, state_store: D1StateStore) -> D1StateStore:
        return state_store


async def test_what_is_sent(stub: D1ApiStub, remote: RemoteDatabase) -> None:
    """Each batch is one POST to the documented path. Numbers stay numbers, texts stay texts, and whole floats come back as integers."""
    sql = "SELECT ?1, ?2, ?3, ?4, typeof(?1)"
    assert await remote.batch([Statement(sql, (7, "é\0😀", None, 1.5)), *ONE]) == [
        [[7, "é\0😀", None, 1.5, "real"]],
        [[1]],
    ]
    [(path, authorization, body)] = stub.requests
    assert path == f"/client/v4/accounts/{ACCOUNT}/d1/database/{DATABASE}/raw"
    assert authorization == f"Bearer {TOKEN}"
    assert body == {"batch": [{"sql": sql, "params": [7, "é\0😀", None, 1.5]}, {"sql": "SELECT 1", "params": []}]}


async def test_it_migrates(stub: D1ApiStub, remote: RemoteDatabase) -> None:
    """`run_migration` works over HTTP, and a second run has nothing to do."""
    assert await get_agents_migration_version(remote) == 0
    assert await run_migration(remote) == CURRENT_SCHEMA_VERSION
    sent = len(stub.requests)
    assert await run_migration(remote) == CURRENT_SCHEMA_VERSION
    assert len(stub.requests) == sent + 1


async def test_a_refused_statement(remote: RemoteDatabase) -> None:
    """The error has the database's text and the violated constraint, which the API leaves out. Nothing has happened."""
    make = Statement("CREATE TABLE t (a INTEGER PRIMARY KEY)")
    insert = Statement("INSERT INTO t VALUES (1)")
    with pytest.raises(SqlError, match=r"UNIQUE constraint failed: t\.a") as caught:
        await remote.batch([make, insert, insert])
    assert (caught.value.constraint, caught.value.transient, caught.value.outcome_unknown) == ("UNIQUE", False, False)
    with pytest.raises(SqlError) as caught:
        await remote.batch([insert])
    assert caught.value.is_missing_table()


@pytest.mark.parametrize(
    ("planned", "flags", "words"),
    [
        (Planned(status=429, body=b'{"errors":[{"code":971,"message":"slow down"}]}'), (True, False), "slow down"),
        (Planned(status=503, body=b"<html>down</html>"), (True, True), "503"),
        (Planned(status=401, body=b'{"errors":[{"code":1,"message":"bad"}]}'), (False, False), "CLOUDFLARE_API_TOKEN"),
        (Planned(status=302, headers={"Location": "http://127.0.0.1:9/"}), (False, False), "302"),
        (Planned(body=b"no JSON"), (False, True), "without a message"),
        (Planned(body=b'{"success":true,"result":[]}'), (False, True), "results of 1 statements"),
        (Planned(body=b'{"success":true,"result":[{"success":false}]}'), (False, True), "a statement failed"),
        (Planned(hang_up=True), (True, True), "Network connection lost"),
        (
            Planned(status=500, body=b'{"errors":[{"code":7500,"message":"D1 storage caused object to be reset"}]}'),
            (True, True),
            "reset",
        ),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Planned) else "",
)
async def test_other_answers(
    stub: D1ApiStub, remote: RemoteDatabase, planned: Planned, flags: tuple[bool, bool], words: str
) -> None:
    """Every answer gives rows, or an error that says whether to try again and whether the batch may have happened. Redirects are errors."""
    stub.planned.append(planned)
    with pytest.raises(SqlError, match=words) as caught:
        await remote.batch(ONE)
    assert (caught.value.transient, caught.value.outcome_unknown) == flags
    assert len(stub.requests) == 1


async def test_a_late_answer(file: Path) -> None:
    """After the time-out the outcome is unknown, and the batch may be tried again."""
    with d1_api_stub(file) as stub:
        stub.planned.append(Planned(delay_s=0.5, body=b"{}"))
        with pytest.raises(SqlError, match="timed out") as caught:
            await RemoteDatabase(ACCOUNT, DATABASE, TOKEN, base_url=stub.url, timeout_s=0.1).batch(ONE)
    assert (caught.value.transient, caught.value.outcome_unknown) == (True, True)


async def test_nobody_there() -> None:
    """A refused connection has changed nothing."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(SqlError, match="could not be reached") as caught:
            await RemoteDatabase(ACCOUNT, DATABASE, TOKEN, base_url=url).batch(ONE)
    assert (caught.value.transient, caught.value.outcome_unknown) == (True, False)


async def test_lost_replies(stub: D1ApiStub, state_store: D1StateStore, no_pauses: None) -> None:
    """A save with lost replies is stored once, and a read is tried again."""
    stub.planned += [Planned(after=True, hang_up=True), Planned(after=True, status=502)]
    state = AgentState(session_id="s", agent_type="x", messages=[{"role": "user"}])
    assert await state_store.save_state("s", state) == 1
    stub.planned += [Planned(status=429)] * 3
    loaded = await state_store.load_state("s", required=True)
    assert (loaded.version, loaded.messages) == (1, [{"role": "user"}])


async def test_a_read_gives_up(stub: D1ApiStub, remote: RemoteDatabase, no_pauses: None) -> None:
    """After four attempts the read raises the error."""
    stub.planned += [Planned(status=503)] * 4
    with pytest.raises(SqlError, match="503"):
        await batch_with_retry(remote, ONE)
    assert len(stub.requests) == 4


async def test_the_token_is_in_no_message(stub: D1ApiStub, remote: RemoteDatabase) -> None:
    """No message has the token, even if the server's text has it."""
    stub.planned.append(Planned(status=400, body=f'{{"errors":[{{"code":1,"message":"bad {TOKEN}"}}]}}'.encode()))
    with pytest.raises(SqlError) as caught:
        await remote.batch(ONE)
    assert TOKEN not in str(caught.value)
    assert TOKEN not in repr(remote)
    with pytest.raises(InvalidArgumentError) as refused:
        RemoteDatabase(ACCOUNT, DATABASE, f"{TOKEN}\nX: y")
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("url", ["http://example.com/v4", "ftp://127.0.0.1", "file:///etc/passwd", "127.0.0.1"])
def test_the_token_travels_encrypted(url: str) -> None:
    """Only this machine is called without TLS."""
    with pytest.raises(InvalidArgumentError, match="https"):
        RemoteDatabase(ACCOUNT, DATABASE, TOKEN, base_url=url)


@pytest.mark.parametrize(
    ("account", "database"), [("../x", DATABASE), (ACCOUNT, "a/b"), (ACCOUNT, ""), ("é", DATABASE)]
)
def test_ids_stay_in_their_place(account: str, database: str) -> None:
    """A value that is no id does not become a part of the address."""
    with pytest.raises(InvalidArgumentError, match="letters, digits"):
        RemoteDatabase(account, database, TOKEN)


async def test_what_cannot_be_bound(stub: D1ApiStub, remote: RemoteDatabase) -> None:
    """Too large numbers and texts are refused before anything is sent."""
    for value in (2**53, "x" * 2_000_001):
        with pytest.raises(SqlError) as caught:
            await remote.batch([Statement("SELECT ?1", (value,))])
        assert not caught.value.outcome_unknown
    assert stub.requests == []
