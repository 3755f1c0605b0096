"""A table of one's own behind the fence of a session: the lock that covers the session covers it too."""

from typing import LiteralString

import pytest

from agents_store_cloudflare.contract.errors import D1StateError, StaleFencingTokenError
from agents_store_cloudflare.database import OneDatabase, Statement
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.state.fencing import fenced_batch
from agents_store_cloudflare.testing import FaultyDatabase, SqliteDatabase

OLD, NEW = 3, 4
PUT: LiteralString = "INSERT INTO notes VALUES (?1, ?2) ON CONFLICT (session_id) DO UPDATE SET text = excluded.text"
GET: LiteralString = "SELECT text FROM notes WHERE session_id = ?1"
IS_EMPTY: LiteralString = """
    SELECT CASE WHEN count(*) > 0 THEN json_extract('{}', 'agents-store ' || json_object('fault', 'taken', 'count', count(*))) END
    FROM notes
    WHERE session_id = ?1
"""


@pytest.fixture
async def database() -> SqliteDatabase:
    database = SqliteDatabase()
    await run_migration(database)
    await database.batch([Statement("CREATE TABLE notes (session_id TEXT PRIMARY KEY, text TEXT)")])
    return database


async def _write(database: FaultyDatabase | SqliteDatabase, text: str, token: int | None) -> None:
    await fenced_batch(OneDatabase(database), "write", "s", [Statement(PUT, ("s", text))], token=token)


async def _read(database: SqliteDatabase) -> object:
    [rows] = await fenced_batch(OneDatabase(database), "read", "s", [Statement(GET, ("s",))])
    return rows[0][0] if rows else None


async def test_an_old_holder_is_refused(database: SqliteDatabase) -> None:
    """ST-50: A batch with an older token writes nothing, and the error has both tokens. A batch without a token has no fence."""
    await _write(database, "new", NEW)
    with pytest.raises(StaleFencingTokenError) as raised:
        await _write(database, "old", OLD)
    assert (raised.value.expected, raised.value.actual) == (NEW, OLD)
    assert await _read(database) == "new"
    await _write(database, "anybody's", None)
    assert await _read(database) == "anybody's"


async def test_the_fence_is_the_sessions(database: SqliteDatabase) -> None:
    """ST-50: A raised fence refuses the old holder in the state store too, and the other way round."""
    store = D1StateStore(database)
    await _write(database, "a", OLD)
    await store.create_session("s", agent_type="x", fencing_token=NEW)
    with pytest.raises(StaleFencingTokenError):
        await _write(database, "b", OLD)
    await _write(database, "c", NEW + 1)
    with pytest.raises(StaleFencingTokenError):
        await store.update_status("s", "late", fencing_token=NEW)


async def test_a_lost_reply(database: SqliteDatabase) -> None:
    """ST-50: The batch is sent again and happens once."""
    faulty = FaultyDatabase(database)
    faulty.fail("after", "before")
    await _write(faulty, "once", NEW)
    assert await _read(database) == "once"
    faulty.fail("after", message="internal error; reference = x")
    with pytest.raises(D1StateError) as raised:
        await _write(faulty, "who knows", NEW)
    assert raised.value.outcome_unknown


async def test_conditions_of_ones_own(database: SqliteDatabase) -> None:
    """ST-50: A guard among the statements undoes the batch and the raised fence, and becomes the error that the caller chose."""
    statements = [Statement(IS_EMPTY, ("s",)), Statement(PUT, ("s", "first"))]
    homes = OneDatabase(database)
    await fenced_batch(homes, "claim", "s", statements, token=OLD)
    with pytest.raises(LookupError, match="1"):
        await fenced_batch(
            homes, "claim", "s", statements, token=NEW, faults={"taken": lambda facts: LookupError(facts["count"])}
        )
    await _write(database, "the old token is good", OLD)
    with pytest.raises(D1StateError, match="a condition of claim"):
        await fenced_batch(homes, "claim", "s", statements)


async def test_a_database_without_tables() -> None:
    """ST-50: The error names the remedy."""
    with pytest.raises(D1StateError, match="run_migration"):
        await _write(SqliteDatabase(), "x", NEW)
