"""The database of tests refuses what D1 refuses, so that a test finds it first."""

import pytest

from agents_store_cloudflare.database import SqlError, SqlValue, Statement
from agents_store_cloudflare.database.sqlite import SqliteObjectSql
from agents_store_cloudflare.objects.rpc_text import decode_request
from agents_store_cloudflare.testing import SqliteDatabase


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("x" * 2_000_001, "SQLITE_TOOBIG"),
        (2**53, "SQLITE_MISMATCH"),
        (-(2**53), "SQLITE_MISMATCH"),
        (b"bytes", "SQLITE_MISMATCH"),
        (["a"], "SQLITE_MISMATCH"),
    ],
)
async def test_values_that_cannot_be_bound(value: SqlValue, code: str) -> None:
    """The batch refuses a value that JavaScript or D1 would change or refuse."""
    with pytest.raises(SqlError, match=code):
        await SqliteDatabase().batch([Statement("SELECT ?1", (value,))])


async def test_an_empty_batch() -> None:
    """A batch without statements is an error, as in D1."""
    with pytest.raises(SqlError, match="No SQL statements"):
        await SqliteDatabase().batch([])


ENDS_THE_TRANSACTION = "INSERT OR ROLLBACK INTO t VALUES (1), (1)"
"""As a full disk does, this makes SQLite itself roll back."""


async def test_an_error_that_ends_the_transaction() -> None:
    """The batch raises that error, and not one about its own rollback. Nothing is stored, and the next batch works."""
    database = SqliteDatabase()
    await database.batch([Statement("CREATE TABLE t (n PRIMARY KEY)")])
    with pytest.raises(SqlError, match="UNIQUE"):
        await database.batch([Statement("INSERT INTO t VALUES (2)"), Statement(ENDS_THE_TRANSACTION)])
    assert await database.batch([Statement("SELECT n FROM t")]) == [[]]


async def test_a_full_disk_is_named() -> None:
    """The error says that the database is full, whether a statement or the commit meets it."""
    database = SqliteDatabase()
    await database.batch([Statement("CREATE TABLE t (n)")])
    await database.batch([Statement("PRAGMA max_page_count = 10")])
    with pytest.raises(SqlError, match="full"):
        await database.batch([Statement("INSERT INTO t VALUES (?1)", ("x" * 8_000,))] * 20)
    assert await database.batch([Statement("SELECT count(*) FROM t")]) == [[[0]]]


async def test_a_commit_that_fails() -> None:
    """The batch is rolled back, and the next one works."""
    database = SqliteDatabase()
    await database.batch([Statement("CREATE TABLE a (n PRIMARY KEY)")])
    await database.batch([Statement("CREATE TABLE b (n REFERENCES a DEFERRABLE INITIALLY DEFERRED)")])
    with pytest.raises(SqlError, match="FOREIGN KEY"):
        await database.batch([Statement("INSERT INTO b VALUES (1)")])
    assert await database.batch([Statement("SELECT count(*) FROM b")]) == [[[0]]]


def test_an_error_that_ends_the_transaction_of_an_object() -> None:
    """The same holds for the database of an object, also inside a transaction of a transaction."""
    database = SqliteObjectSql()
    database.exec("CREATE TABLE t (n PRIMARY KEY)")

    def body() -> None:
        database.exec("INSERT INTO t VALUES (2)")
        database.transaction(lambda: database.exec(ENDS_THE_TRANSACTION))

    with pytest.raises(SqlError, match="UNIQUE"):
        database.transaction(body)
    assert database.exec("SELECT n FROM t") == []
    database.transaction(lambda: database.exec("INSERT INTO t VALUES (3)"))
    assert database.exec("SELECT n FROM t") == [[3]]


@pytest.mark.parametrize("head", ["[" * 5_000, "[1]", "5"])
def test_requests_that_are_no_requests(head: str) -> None:
    """A request that is no JSON object, however deep, gets an error, and the object does not crash."""
    with pytest.raises(ValueError, match=r"JSON|nest"):
        decode_request(head + "\npayload")
