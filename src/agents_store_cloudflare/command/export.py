"""`export`: writes a whole session as exact JSON lines, page by page. docs/command.md describes the format."""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator

from agents_store_cloudflare.command import session_parts
from agents_store_cloudflare.command.failure import BAD_ARGUMENTS, CommandError
from agents_store_cloudflare.command.homes import in_homes, no_session
from agents_store_cloudflare.command.opening import OpenDatabase, open_database
from agents_store_cloudflare.command.parsers import Commands, add_command
from agents_store_cloudflare.command.sessions import message_count
from agents_store_cloudflare.command.show import bare_state
from agents_store_cloudflare.command.text import printable
from agents_store_cloudflare.contract.arguments import system_now_ms
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.transfer import budget_roots, export_budgets, list_remains
from agents_store_cloudflare.transfer.lines import LineWriter
from agents_store_cloudflare.transfer.moments import Mark, mark_of
from agents_store_cloudflare.transfer.places import place_of
from agents_store_cloudflare.transfer.tables import TABLES, rows_of

__all__ = ["add_parser"]

SESSIONS_PAGE = 20  # a state may have 1.8 MB


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "export", _run, help="write all of a session as JSON lines", json=False)
    parser.add_argument("session", nargs="?", metavar="SESSION")
    parser.add_argument(
        "--all",
        action="store_true",
        help="every session, the newest first, and the rows that deleted sessions have left",
    )
    parser.add_argument("--budgets", action="store_true", help="budgets too: all, or the budgets of the scope SESSION")
    parser.add_argument(
        "--without-homes", action="store_true", help="with --all: leave out the sessions that live in homes"
    )
    parser.add_argument("--streams", action="store_true", help="not possible here: see docs/command.md")


async def _run(options: argparse.Namespace) -> int:
    if options.all == (options.session is not None):
        raise CommandError("export needs a SESSION or --all", status=BAD_ARGUMENTS)
    if options.streams:
        raise CommandError(
            "streams lie in Durable Objects, which only a Worker reaches: export inside the Worker (docs/command.md)",
            status=BAD_ARGUMENTS,
        )
    with open_database(options) as opened:
        await opened.check_schema()
        if options.all and not options.without_homes and (count := await in_homes(opened)):
            raise CommandError(
                f"{count} sessions live in homes, which this command cannot reach, so the file would lack them: export them with "
                "`export_all` in a Worker (docs/homes.md), or leave them out with --without-homes"
            )
        first = None if options.all else await _state(opened, options.session)
        writer = LineWriter()
        print(writer.head(system_now_ms()))
        if first is not None:
            await _export(opened, writer, first)
        else:
            async for state in _all_states(opened):
                await _export(opened, writer, state)
            async for session_id in list_remains(opened.database):
                await _export_remains(opened, writer, session_id)
        if options.budgets:
            async for root in _roots(opened, options.session):
                await _export_budgets(opened, writer, root)
        print(writer.tail())
    return 0


async def _state(opened: OpenDatabase, session_id: str) -> AgentState:
    state = await opened.states.load_state(session_id, messages="none")
    if state is None:
        raise await no_session(opened, session_id)
    return state


async def _all_states(opened: OpenDatabase) -> AsyncIterator[AgentState]:
    cursor = None
    while True:
        page = await opened.states.list_sessions(limit=SESSIONS_PAGE, cursor=cursor)
        for state in page.items:
            yield state
        cursor = page.next_cursor
        if cursor is None:
            return


async def _export(opened: OpenDatabase, writer: LineWriter, state: AgentState) -> None:
    """Yield the lines of one session. Its state comes first, its `end` line last. A session without an `end` line is incomplete."""
    before = await mark_of(place_of(opened.database), state.session_id)
    print(writer.begin(state.session_id, bare_state(state)))
    async for line in _lines(opened, writer, state):
        print(line)
    is_as_listed = before is not None and [row["version"] for row in before[0]] == [state.version]
    await _end(opened, writer, state.session_id, before, changed=not is_as_listed)


async def _end(
    opened: OpenDatabase, writer: LineWriter, session_id: str, before: Mark | None, *, changed: bool = False
) -> None:
    """Print the last line of a session. It says whether somebody changed the session or its usage meanwhile."""
    changed = changed or before != await mark_of(place_of(opened.database), session_id)
    print(writer.end(changed=changed))
    if changed:
        print(printable(f"session {session_id!r} changed meanwhile; export it again"), file=sys.stderr)


async def _export_remains(opened: OpenDatabase, writer: LineWriter, session_id: str) -> None:
    before = await mark_of(place_of(opened.database), session_id)
    print(writer.begin(session_id, None))
    for table in TABLES:
        async for row in rows_of(opened.database, table, session_id):
            print(writer.line("row", table=table, row=row))
    await _end(opened, writer, session_id, before, changed=before is None or bool(before[0]))


async def _roots(opened: OpenDatabase, scope: str | None) -> AsyncIterator[str]:
    """Return the roots of every tree of budgets, or the root of the scope's tree, if there is one."""
    if scope is None:
        async for root in budget_roots(opened.database):
            yield root
    elif await opened.usage.get_budget(scope) is not None:
        yield (await export_budgets(opened.database, scope))["root"]


async def _export_budgets(opened: OpenDatabase, writer: LineWriter, root: str) -> None:
    copy = await export_budgets(opened.database, root)
    print(writer.begin_budgets(root))
    for table, rows in copy["stored"].items():
        for row in rows:
            print(writer.line("row", table=table, row=row))
    print(writer.end())


async def _lines(opened: OpenDatabase, writer: LineWriter, state: AgentState) -> AsyncIterator[str]:
    session_id = state.session_id
    async for sequence, message in session_parts.messages_of(opened, session_id, message_count(state)):
        yield writer.line("message", sequence=sequence, message=message)
    async for checkpoint in session_parts.checkpoints_of(opened, session_id):
        yield writer.line("checkpoint", checkpoint=checkpoint.to_dict())
    async for run in session_parts.runs_of(opened, session_id):
        yield writer.line("run", run=run.to_dict())
    for reference in await opened.states.get_sub_session_refs(session_id):
        yield writer.line("reference", reference=reference.to_dict())
    async for step_id, change in session_parts.staged_changes_of(opened, session_id):
        yield writer.line("stagedChange", stepId=step_id, change=change.to_dict())
    async for entry in session_parts.entries_of(opened, session_id):
        yield writer.line("usage", entry=entry.to_dict())
    for table in TABLES:
        async for row in rows_of(opened.database, table, session_id):
            yield writer.line("row", table=table, row=row)
