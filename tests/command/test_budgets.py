"""`budgets`: what it shows, and what one damaged row costs."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.usage import D1UsageStore
from tests.command.conftest import Outcome

Command = Callable[..., Outcome]


@pytest.fixture
async def _budgets(migrated: SqliteDatabase) -> None:
    usage = D1UsageStore(migrated)
    await usage.set_budget("tenant", 1_000, "tokens")
    await usage.set_budget("a session", 400, "tokens", parent="tenant")
    await usage.set_budget("other", 7, "micros")
    reservation = await usage.reserve("a session", 100)
    assert reservation is not None
    await usage.settle(reservation, 150)
    assert await usage.reserve("tenant", 30, ttl=3600) is not None


@pytest.mark.usefixtures("migrated")
def test_no_budgets(command: Command, file: Path) -> None:
    """A database without budgets says so."""
    assert command("budgets", "--database", file) == Outcome(0, "no budgets\n", "")


@pytest.mark.usefixtures("_budgets")
def test_scopes_and_trees(command: Command, file: Path) -> None:
    """The command shows limits, spent, reserved and remaining amounts, and the tree of a scope. It names an unknown scope."""
    rows = [line.split() for line in command("budgets", "--database", file).out.splitlines()]
    assert rows[0] == ["scope", "unit", "cap", "spent", "reserved", "remaining", "overruns", "in"]
    assert rows[1][:6] == ["other", "micros", "7", "0", "0", "7"]
    assert rows[2][:6] == ["tenant", "tokens", "1,000", "150", "30", "820"]
    tree = command("budgets", "a session", "--database", file, "--json").json()["budgets"]
    assert [(each["scope"], each["settled"], each["remaining"]) for each in tree] == [
        ("tenant", 150, 820),
        ("a session", 150, 250),
    ]
    missing = command("budgets", "nobody", "--database", file)
    assert (missing.status, missing.out) == (1, "")
    assert "'nobody'" in missing.err


@pytest.mark.usefixtures("_budgets")
@pytest.mark.parametrize("column", ["cap", "unit", "parent", "root", "chain", "reserved", "settled", "overruns"])
@pytest.mark.parametrize("value", ["{", "abc", b"\x00\xff", 1.5])
def test_a_damaged_row(command: Command, file: Path, column: str, value: object) -> None:
    """The other scopes are shown unchanged. A value that cannot be shown is named, with status 1."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(f"UPDATE __agents_budgets SET {column} = ? WHERE scope = 'other'", (value,))
    done = command("budgets", "--database", file, "--json")
    shown = {each["scope"]: each for each in done.json()["budgets"]}
    assert shown["tenant"]["remaining"] == 820
    assert len(shown) == 3
    assert (done.status, bool(done.err)) in {(0, False), (1, True)}
    assert "error: " not in done.err
    if column in {"cap", "reserved", "settled"}:
        assert done.status == 1
        assert "__agents_budgets" in done.err
