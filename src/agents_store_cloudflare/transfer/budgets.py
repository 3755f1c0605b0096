"""Copies of budgets: a tree of scopes with its reservations and settlements.

Budgets are not part of a session, because sessions share scopes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, LiteralString, TypeAlias, cast

from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import InvalidArgumentError, UsageError
from agents_store_cloudflare.contract.json_values import encode_json
from agents_store_cloudflare.database import Database, Row, SqlError, Statement, batch_with_retry
from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION
from agents_store_cloudflare.state import copied_accounts_sql
from agents_store_cloudflare.transfer import budgets_sql
from agents_store_cloudflare.transfer.copies import FORMAT, check_format, held
from agents_store_cloudflare.transfer.places import place_of
from agents_store_cloudflare.transfer.staging import claim, stage_texts
from agents_store_cloudflare.transfer.tables import StoredRow, columns_of

__all__ = ["BUDGET_TABLES", "BudgetCopy", "budget_roots", "check_budgets", "export_budgets", "import_budgets"]

BudgetCopy: TypeAlias = dict[str, Any]
"""`format`, `schema`, `root`, `stored` (table -> rows)."""

PAGE: Final = 500
ATTEMPTS: Final = 5

BUDGET_TABLES: tuple[LiteralString, ...] = ("__agents_reservations", "__agents_settlements", "__agents_budgets")
"""The tables of budgets, in the order of the statements of `budgets_sql`."""


async def budget_roots(source: object) -> AsyncIterator[str]:
    """Yield the outermost scope of every tree of budgets, in order."""
    db, after = place_of(source).accounts, ""
    while True:
        rows: list[Row]
        [rows] = await _read(db, Statement(budgets_sql.SELECT_ROOTS, (after, PAGE)))
        for [root] in rows:
            after = cast("str", root)
            yield after
        if len(rows) < PAGE:
            return


async def export_budgets(source: object, scope: str) -> BudgetCopy:
    """Return the whole tree of budgets of a scope, for `import_budgets`.

    Stop the reservations and settlements in the tree before. If somebody reserves or settles meanwhile, the call begins again.

    Args:
        source: the store of `create_cloudflare_store`, a D1 binding or a `Database`.
        scope: any scope of the tree.

    Raises:
        UsageError: the scope has no budget, somebody reserved or settled again and again meanwhile, or the database failed.
    """
    db = place_of(source).accounts
    [rows] = await _read(db, Statement(budgets_sql.SELECT_ROOT, (check_id(scope, "scope"),)))
    if not rows:
        raise UsageError(f"scope {scope!r} has no budget")
    root = cast("str", rows[0][0])
    stored = await _quiet(db, root)
    return {"format": FORMAT, "schema": CURRENT_SCHEMA_VERSION, "root": root, "stored": stored}


async def _quiet(db: Database, root: str) -> dict[str, list[StoredRow]]:
    """Return the rows of a tree. They were read while the sums of its budgets stayed the same."""
    tables = list(zip(BUDGET_TABLES, budgets_sql.SELECT_TREE, strict=True))
    budgets = tables[-1]
    for _ in range(ATTEMPTS):
        before = [row async for row in _rows_of(db, *budgets, root)]
        stored = {table: [row async for row in _rows_of(db, table, sql, root)] for table, sql in tables}
        if before == stored[budgets[0]]:
            return stored
    raise UsageError(f"budgets of {root!r} were reserved or settled while they were copied; copy them when nobody does")


async def import_budgets(target: object, copy: Mapping[str, Any], *, replace: bool = False) -> None:
    """Store the budgets of a copy (caps, spent and reserved amounts) in one transaction.

    Args:
        target: the store of `create_cloudflare_store`, a D1 binding or a `Database`, migrated.
        copy: the result of `export_budgets`.
        replace: replace the tree of the same root.

    Raises:
        InvalidArgumentError: the copy has another format or is incomplete; or one of its scopes has a budget already, and `replace`
            is False or the scope stands in another tree. Nothing was written.
        UsageError: the database failed.
    """
    db, own = place_of(target).accounts, held(copy)
    try:
        stored, root = await _checked(db, own), cast("str", own["root"])
        await _refuse_existing(db, stored, root, replace=replace)
        number, _ = await claim(db)
        await stage_texts(db, number, [stored[table] for table in BUDGET_TABLES])
        await _show(db, stored, root, number, replace=replace)
    except SqlError as error:
        raise _failed(copy, error) from error


async def check_budgets(target: object, copy: Mapping[str, Any], *, replace: bool = False) -> None:
    """Raise the errors that `import_budgets` raises before it writes. Nothing is written."""
    db, own = place_of(target).accounts, held(copy)
    try:
        await _refuse_existing(db, await _checked(db, own), cast("str", own["root"]), replace=replace)
    except SqlError as error:
        raise _failed(copy, error) from error


async def _rows_of(db: Database, table: LiteralString, sql: LiteralString, root: str) -> AsyncIterator[StoredRow]:
    columns, skipped = await columns_of(db, table), 0
    while True:
        rows: list[Row]
        [rows] = await _read(db, Statement(sql, (root, PAGE, skipped)))
        for row in rows:
            yield dict(zip(columns, row, strict=True))
        skipped += len(rows)
        if len(rows) < PAGE:
            return


async def _read(db: Database, statement: Statement) -> list[list[Row]]:
    try:
        return await batch_with_retry(db, [statement])
    except SqlError as error:
        raise UsageError(f"the budgets could not be read: {error}") from error


async def _checked(db: Database, copy: Mapping[str, Any]) -> Mapping[str, list[StoredRow]]:
    check_format(copy)
    root, stored = check_id(copy.get("root"), "root"), copy.get("stored")
    found: dict[str, list[StoredRow]] = {}
    for table in BUDGET_TABLES:
        rows = cast("dict[str, object]", stored).get(table) if isinstance(stored, dict) else None
        found[table] = _own_rows(rows, set(await columns_of(db, table)), root)
        if not found[table] and rows != []:
            raise InvalidArgumentError(f"the copy's rows of {table} are missing, or are not of the tree {root!r}")
    scopes = {row["scope"] for row in found["__agents_budgets"]}
    if root not in scopes or any(row["scope"] not in scopes for rows in found.values() for row in rows):
        raise InvalidArgumentError(f"the copy of the budgets of {root!r} lacks a scope that it names")
    return found


def _own_rows(rows: object, columns: set[str], root: str) -> list[StoredRow]:
    """Return the rows if all of them belong to the tree, and an empty list otherwise."""
    listed = cast("list[StoredRow | None]", rows if isinstance(rows, list) else [])
    own = [row for row in listed if isinstance(row, dict) and row.keys() == columns and row["root"] == root]
    return own if len(own) == len(listed) else []


async def _refuse_existing(db: Database, stored: Mapping[str, list[StoredRow]], root: str, *, replace: bool) -> None:
    statement = Statement(budgets_sql.SELECT_EXISTING, (_scopes(stored), root, int(replace)))
    [rows] = await batch_with_retry(db, [statement])
    if rows and rows[0][0] is not None:
        raise _exists(cast("str", rows[0][0]), replace=replace)


async def _show(db: Database, stored: Mapping[str, list[StoredRow]], root: str, number: int, *, replace: bool) -> None:
    statements = [
        Statement(budgets_sql.GUARD, (_scopes(stored), root, int(replace), number + 1)),
        *(Statement(sql, (root,)) for sql in budgets_sql.DELETE_TREE),
        *(Statement(sql, (number + 1,)) for sql in budgets_sql.INSERT_TREE),
        Statement(copied_accounts_sql.DELETE_STAGED, (number + 1,)),
    ]
    try:
        await batch_with_retry(db, statements)
    except SqlError as error:
        if error.guard is None:
            raise
        if error.guard["fault"] == "exists":
            raise _exists(cast("str", error.guard.get("scope")), replace=replace) from None
        # "shown": the reply of the first attempt was lost.


def _scopes(stored: Mapping[str, list[StoredRow]]) -> str:
    return encode_json([cast("str", row["scope"]) for row in stored["__agents_budgets"]], name="scopes")


def _exists(scope: str, *, replace: bool) -> InvalidArgumentError:
    if replace:
        return InvalidArgumentError(f"scope {scope!r} has a budget in another tree, which is not replaced")
    return InvalidArgumentError(f"scope {scope!r} has a budget already; replace=True replaces the whole tree")


def _failed(copy: Mapping[str, Any], error: SqlError) -> UsageError | InvalidArgumentError:
    if error.constraint:
        return InvalidArgumentError(
            f"budgets of {copy.get('root')!r} were not imported: rows contradict each other ({error})"
        )
    return UsageError(f"import_budgets of {copy.get('root')!r} failed: {error}", outcome_unknown=error.outcome_unknown)
