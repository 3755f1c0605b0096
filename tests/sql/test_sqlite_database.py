"""The database of tests refuses what D1 refuses, so that a test finds it first."""

import pytest

from agents_store_cloudflare.database import SqlError, SqlValue, Statement
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


@pytest.mark.parametrize("head", ["[" * 5_000, "[1]", "5"])
def test_requests_that_are_no_requests(head: str) -> None:
    """A request that is no JSON object, however deep, gets an error, and the object does not crash."""
    with pytest.raises(ValueError, match=r"JSON|nest"):
        decode_request(head + "\npayload")
