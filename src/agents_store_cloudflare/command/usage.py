"""`usage`: what sessions used."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence

from agents_store_cloudflare.command.opening import OpenDatabase, open_database
from agents_store_cloudflare.command.parsers import Commands, add_command, whole_number
from agents_store_cloudflare.command.text import json_text, print_table, printable, time_text
from agents_store_cloudflare.records import UsageRollup

__all__ = ["add_parser"]

_COUNTS = ("prompt", "completion", "reasoning", "cached", "total")


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "usage", _run, help="add up what one session used, or all of them")
    parser.add_argument("session", nargs="?", metavar="SESSION", help="absent: the sessions used last, and their sum")
    parser.add_argument("--tree", action="store_true", help="with its descendants")
    parser.add_argument("--agent", metavar="NAME", help="without SESSION: those with entries of this agent")
    parser.add_argument(
        "--limit", type=whole_number, default=100, metavar="N", help="without SESSION: how many sessions; default: 100"
    )


async def _run(options: argparse.Namespace) -> int:
    with open_database(options) as opened:
        await opened.check_schema()
        rollups = await _rollups(opened, options)
    if options.json:
        bodies = [rollup.to_dict() for rollup in rollups]
        print(json_text(bodies[0] if options.session is not None else {"sessions": bodies}))
    elif options.session is not None:
        _print_session(rollups[0])
    else:
        _print_sessions(rollups)
    return 0


async def _rollups(opened: OpenDatabase, options: argparse.Namespace) -> list[UsageRollup]:
    if options.session is not None:
        session_ids = [options.session]
    else:
        session_ids = await opened.usage.find_session_ids(agent_type=options.agent, limit=options.limit)
    return [await opened.usage.get_rollup(session_id, include_sub_agents=options.tree) for session_id in session_ids]


def _print_session(rollup: UsageRollup) -> None:
    print(printable(f"{rollup.session_id}: {rollup.entry_count:,} entries"))
    if rollup.entry_count:
        print(f"from {time_text(rollup.first_timestamp)} to {time_text(rollup.last_timestamp)} (UTC)")
    _print_parts([rollup])
    if rollup.custom:
        print_table(
            ("custom", "entries", "total"),
            [(name, value["count"], str(value["total"])) for name, value in rollup.custom.items()],
        )


def _print_sessions(rollups: Sequence[UsageRollup]) -> None:
    if not rollups:
        print("no usage")
        return
    rows = [
        (
            each.session_id,
            each.entry_count,
            each.tokens.total or 0,
            each.tool_stats.total_calls,
            time_text(each.last_timestamp),
        )
        for each in rollups
    ]
    print_table(("session", "entries", "tokens", "tool calls", "last (UTC)"), rows)
    print(f"{len(rollups):,} sessions, together:")
    _print_parts(rollups)


def _print_parts(rollups: Iterable[UsageRollup]) -> None:
    models: dict[str, Counter[str]] = {}
    tools: Counter[str] = Counter()
    agents: Counter[str] = Counter()
    for rollup in rollups:
        for model, tokens in rollup.tokens_by_model.items():
            models.setdefault(model, Counter()).update({name: getattr(tokens, name) or 0 for name in _COUNTS})
        tools.update(rollup.tool_stats.by_tool)
        agents.update(rollup.sub_agent_stats.by_agent)
    if models:
        rows = [(model, *(counts[name] for name in _COUNTS)) for model, counts in sorted(models.items())]
        print_table(("model", *_COUNTS), rows)
    for title, counted in (("tool", tools), ("sub-agent", agents)):
        if counted:
            print_table((title, "calls"), sorted(counted.items()))
