"""`sessions`: lists the sessions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final, LiteralString, cast

from agents_store_cloudflare.command.homes import note_homes
from agents_store_cloudflare.command.opening import OpenDatabase, open_database
from agents_store_cloudflare.command.parsers import Commands, add_command, whole_number
from agents_store_cloudflare.command.salvage import Rows, Shown, selected, show
from agents_store_cloudflare.command.text import print_table, printable, time_text
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.state.records import AgentState, SessionPage
from agents_store_cloudflare.database import Statement, batch_with_retry
from agents_store_cloudflare.state.cursors import number_of
from agents_store_cloudflare.state.stored_text import stored_text, text_of
from agents_store_cloudflare.transfer.tables import columns_of

__all__ = ["add_parser", "message_count"]

STATUSES: Final = 20
"""The most statuses that are named when there is no session with the wanted one."""


# ?1 session number of the last row of the page before, ?2 agent type, ?3 status, ?4 parent, ?5 prefix (each NULL for any), ?6 most
# rows. By the index on session numbers.
_SELECT_PAGE: LiteralString = """
    SELECT {columns}
    FROM __agents_states
    WHERE session_no < ?1
      AND (?2 IS NULL OR agent_type = ?2)
      AND (?3 IS NULL OR status = ?3)
      AND (?4 IS NULL OR parent_session_id = ?4)
      AND (?5 IS NULL OR substr(session_id, 1, length(?5)) = ?5)
    ORDER BY session_no DESC
    LIMIT ?6
"""


# ?1 most rows -> (status). Reads the whole table: an operator's call.
_SELECT_STATUSES: LiteralString = "SELECT DISTINCT status FROM __agents_states ORDER BY status LIMIT ?1"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "sessions", _run, help="list the sessions, the newest first")
    parser.add_argument("--prefix", metavar="TEXT", help="sessions whose id begins with this")
    parser.add_argument("--status", metavar="STATUS")
    parser.add_argument("--agent-type", metavar="TYPE")
    parser.add_argument("--parent", metavar="SESSION", help="the children of this session")
    parser.add_argument("--limit", type=whole_number, default=50, metavar="N", help="at most 1,000; default: 50")
    parser.add_argument("--cursor", metavar="CURSOR", help="continue after an earlier page")


async def _run(options: argparse.Namespace) -> int:
    with open_database(options) as opened:
        await opened.check_schema()

        async def view(database: OpenDatabase) -> Shown:
            page = await _page(database, options)
            body = {"sessions": [*map(_summary, page.items)], "nextCursor": page.next_cursor}
            statuses = await _statuses(database) if options.status is not None and not page.items else []
            return Shown.of(body, lambda: _print(page, statuses))

        status = await show(opened, view, lambda: _rows(opened, options), json=options.json)
        await note_homes(opened)
    return status


async def _page(opened: OpenDatabase, options: argparse.Namespace) -> SessionPage:
    return await opened.states.list_sessions(
        prefix=options.prefix,
        agent_type=options.agent_type,
        status=options.status,
        parent_session_id=options.parent,
        limit=options.limit,
        cursor=options.cursor,
    )


async def _rows(opened: OpenDatabase, options: argparse.Namespace) -> Rows:
    """Return the rows of the page, for a page that cannot be read. One more row shows whether there is another page."""
    table: LiteralString = "__agents_states"
    columns = await columns_of(opened.database, table)
    listed = cast("LiteralString", ", ".join(columns))  # type: ignore[redundant-cast]
    given = (options.agent_type, options.status, options.parent, options.prefix)
    parameters = (number_of(options.cursor, "sessions"), *map(stored_text, given), options.limit + 1)
    async for row in selected(opened, _SELECT_PAGE.replace("{columns}", listed), columns, parameters):
        yield table, row


async def _statuses(opened: OpenDatabase) -> list[str]:
    """Return statuses that sessions have. The one of the options may be misspelt, and a status may be any text, so it is no error."""
    [rows] = await batch_with_retry(opened.database, [Statement(_SELECT_STATUSES, (STATUSES,))])
    return [text_of(str(row[0])) for row in rows]


def _print(page: SessionPage, statuses: Sequence[str]) -> None:
    if not page.items:
        print(
            "no sessions"
            + (f"; there are sessions with the statuses {', '.join(map(printable, statuses))}" if statuses else "")
        )
        return
    headings = ("session", "agent type", "status", "version", "messages", "updated (UTC)", "parent")
    print_table(headings, [_row(state) for state in page.items])
    if page.next_cursor:
        print(f"more with --cursor {page.next_cursor}")


def _row(state: AgentState) -> tuple[object, ...]:
    return (
        state.session_id,
        state.agent_type,
        state.status,
        state.version,
        message_count(state),
        time_text(state.updated_at),
        state.parent_session_id,
    )


def _summary(state: AgentState) -> JsonObject:
    return {
        "sessionId": state.session_id,
        "agentType": state.agent_type,
        "status": state.status,
        "version": state.version,
        "messageCount": message_count(state),
        "stepCount": state.step_count,
        "parentSessionId": state.parent_session_id,
        "createdAt": state.created_at,
        "updatedAt": state.updated_at,
        "expiresAt": state.expires_at,
    }


def message_count(state: AgentState) -> int:
    """Return the number of stored messages. The state may have loaded fewer."""
    return state.stored_history.count if state.stored_history else len(state.messages)
