"""`usage`: shows the usage of sessions."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Literal, LiteralString, TypeAlias, cast, get_args

from agents_store_cloudflare.command.failure import BAD_ARGUMENTS, CommandError
from agents_store_cloudflare.command.opening import OpenDatabase, open_database
from agents_store_cloudflare.command.parsers import Commands, add_command, whole_number
from agents_store_cloudflare.command.salvage import Rows, Shown, View, rows_of_tables, selected, show
from agents_store_cloudflare.command.text import print_table, printable, time_text
from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageRollup, UsageTotals
from agents_store_cloudflare.transfer.tables import columns_of

__all__ = ["add_parser"]

By: TypeAlias = Literal["day", "model", "agent", "tool"]

_COUNTS = ("prompt", "completion", "reasoning", "cached", "total")
_OF_TOTALS = ("by", "agent", "model", "tool", "first_day", "last_day", "limit")


# -> (session id, number, parent) of every session.
_SELECT_PARENTS: LiteralString = "SELECT session_id, session_no, parent_session_id FROM __agents_states"

# ?1 session id. Primary key.
_SELECT_TOTALS: LiteralString = "SELECT {columns} FROM __agents_usage_by_session WHERE session_id = ?1"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "usage", _run, help="show the usage of one session, or of all together")
    parser.add_argument("session", nargs="?", metavar="SESSION")
    parser.add_argument("--tree", action="store_true", help="with the session's descendants")
    totals = parser.add_argument_group("without SESSION: the totals of all")
    totals.add_argument("--by", choices=get_args(By), help="default: model")
    totals.add_argument("--agent", metavar="NAME")
    totals.add_argument("--model", metavar="NAME")
    totals.add_argument("--tool", metavar="NAME")
    totals.add_argument("--first-day", metavar="YYYY-MM-DD", help="UTC")
    totals.add_argument("--last-day", metavar="YYYY-MM-DD", help="UTC, inclusive")
    totals.add_argument("--limit", type=whole_number, metavar="N")


async def _run(options: argparse.Namespace) -> int:
    _check(options)
    with open_database(options) as opened:
        await opened.check_schema()
        if options.session is not None:
            return await show(opened, _rollup_view(options), lambda: _rows(opened, options), json=options.json)
        rows = partial(rows_of_tables, opened, "__agents_usage_by_day")
        return await show(opened, _totals_view(options), rows, json=options.json)


def _rollup_view(options: argparse.Namespace) -> View:
    async def view(opened: OpenDatabase) -> Shown:
        rollup = await opened.usage.get_rollup(options.session, include_sub_agents=options.tree)
        return Shown.of(rollup.to_dict(), lambda: _print_rollup(rollup))

    return view


def _totals_view(options: argparse.Namespace) -> View:
    by: By = options.by or "model"

    async def view(opened: OpenDatabase) -> Shown:
        totals = await opened.usage.get_totals(
            by,
            first_day=options.first_day,
            last_day=options.last_day,
            agent=options.agent,
            model=options.model,
            tool=options.tool,
            limit=options.limit,
        )
        body = {"by": by, "totals": [each.to_dict() for each in totals]}
        return Shown.of(body, lambda: _print_totals(by, totals))

    return view


async def _rows(opened: OpenDatabase, options: argparse.Namespace) -> Rows:
    """Return the rows of totals: of the session, or of all sessions with the parents of each."""
    if options.tree:
        async for each in rows_of_tables(opened, "__agents_usage_by_session", "__agents_usage_sub_sessions"):
            yield each
        async for row in selected(opened, _SELECT_PARENTS, ("session_id", "session_no", "parent_session_id")):
            yield "__agents_states", {**row, "agent_type": "", "created_at": 0, "updated_at": 0}
        return
    table: LiteralString = "__agents_usage_by_session"
    columns = await columns_of(opened.database, table)
    listed = cast("LiteralString", ", ".join(columns))  # type: ignore[redundant-cast]
    async for row in selected(opened, _SELECT_TOTALS.replace("{columns}", listed), columns, (options.session,)):
        yield table, row


def _check(options: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    if options.session is None:
        if options.tree:
            raise CommandError("--tree needs a SESSION", status=BAD_ARGUMENTS)
    elif given := [name for name in _OF_TOTALS if getattr(options, name) is not None]:
        option = given[0].replace("_", "-")
        raise CommandError(f"--{option} is for the totals of all, without a SESSION", status=BAD_ARGUMENTS)


def _print_rollup(rollup: UsageRollup) -> None:
    print(printable(f"{rollup.session_id}: {rollup.entry_count:,} entries{_cost(rollup)}"))
    if rollup.entry_count:
        print(f"from {time_text(rollup.first_timestamp)} to {time_text(rollup.last_timestamp)} (UTC)")
    if rollup.tokens_by_model:
        rows = [(model, *_counts(tokens)) for model, tokens in sorted(rollup.tokens_by_model.items())]
        print_table(("model", *_COUNTS), rows)
    for title, calls in (("tool", rollup.tool_stats.by_tool), ("sub-agent", rollup.sub_agent_stats.by_agent)):
        if calls:
            print_table((title, "calls"), sorted(calls.items()))
    if rollup.custom:
        rows = [(name, value["count"], str(value["total"])) for name, value in sorted(rollup.custom.items())]
        print_table(("custom", "entries", "total"), rows)


def _print_totals(by: str, totals: list[UsageTotals]) -> None:
    if not totals:
        print("no usage")
    else:
        headings = (by, "entries", "calls", "failed", *_COUNTS, "cost")
        rows = [
            (
                each.key or "-",
                each.entry_count,
                each.calls,
                each.failed,
                *_counts(each.tokens),
                _dollars(each.cost_micros),
            )
            for each in totals
        ]
        print_table(headings, rows)


def _counts(tokens: TokenCounts) -> list[int]:
    return [getattr(tokens, name) or 0 for name in _COUNTS]


def _cost(rollup: UsageRollup) -> str:
    if not rollup.cost_micros:
        return ""
    unpriced = f" and {rollup.unpriced_entries:,} unpriced" if rollup.unpriced_entries else ""
    return f", {_dollars(rollup.cost_micros)}{unpriced}"


def _dollars(micros: int) -> str:
    """Return an amount in dollars, exact to the millionth."""
    sign, size = ("-", -micros) if micros < 0 else ("", micros)
    return f"{sign}${size // 1_000_000:,}.{size % 1_000_000:06d}" if micros else "-"
