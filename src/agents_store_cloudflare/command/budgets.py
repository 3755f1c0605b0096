"""`budgets`: shows the caps of scopes, and the amounts that were taken."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TypeAlias

from agents_store_cloudflare.command.failure import CommandError
from agents_store_cloudflare.command.opening import OpenDatabase, open_database
from agents_store_cloudflare.command.parsers import Commands, add_command
from agents_store_cloudflare.command.salvage import Shown, rows_of_tables, show
from agents_store_cloudflare.command.text import print_table
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.usage.budgets import Budget
from agents_store_cloudflare.database import Statement, batch_with_retry
from agents_store_cloudflare.usage.budget_sql import LIST_BUDGETS
from agents_store_cloudflare.usage.budgets import budget_of

__all__ = ["add_parser"]

_Columns: TypeAlias = tuple[object, ...]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "budgets", _run, help="show the caps of scopes: spent, reserved, remaining")
    parser.add_argument("scope", nargs="?", metavar="SCOPE", help="this scope and all in the same tree")


async def _run(options: argparse.Namespace) -> int:
    with open_database(options) as opened:
        await opened.check_schema()

        async def view(database: OpenDatabase) -> Shown:
            budgets = await _budgets(database, options.scope)
            return Shown.of({"budgets": [_body(each) for each in budgets]}, lambda: _print(budgets))

        # Reservations are copied first. Otherwise they would be added to budgets that count them already.
        rows = partial(rows_of_tables, opened, "__agents_reservations", "__agents_budgets")
        return await show(opened, view, rows, json=options.json)


async def _budgets(opened: OpenDatabase, scope: str | None) -> list[Budget]:
    statement = Statement(LIST_BUDGETS, (scope,))
    [rows] = await batch_with_retry(opened.database, [statement])
    if scope is not None and not rows:
        raise CommandError(f"scope {scope!r} has no budget; `budgets` lists all budgets")
    return [budget_of(row) for row in rows]


def _body(budget: Budget) -> JsonObject:
    return {**budget.to_dict(), "remaining": budget.remaining}


def _print(budgets: list[Budget]) -> None:
    if not budgets:
        print("no budgets")
        return
    headings = ("scope", "unit", "cap", "spent", "reserved", "remaining", "overruns", "in")
    print_table(headings, [_row(each) for each in budgets])


def _row(budget: Budget) -> _Columns:
    return (
        budget.scope,
        budget.unit,
        budget.cap,
        budget.settled,
        budget.reserved,
        budget.remaining,
        budget.overruns,
        budget.parent,
    )
