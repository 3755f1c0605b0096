"""`sessions`: lists the sessions."""

from __future__ import annotations

import argparse

from agents_store_cloudflare.command.opening import open_database
from agents_store_cloudflare.command.parsers import Commands, add_command, whole_number
from agents_store_cloudflare.command.text import json_text, print_table, time_text
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.state.records import AgentState, SessionPage

__all__ = ["add_parser", "message_count"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "sessions", _run, help="list the sessions, the newest first")
    parser.add_argument("--prefix", metavar="TEXT", help="sessions whose id begins with this")
    parser.add_argument("--status", metavar="STATUS")
    parser.add_argument("--agent-type", metavar="TYPE")
    parser.add_argument("--parent", metavar="SESSION", help="the children of this session")
    parser.add_argument("--limit", type=whole_number, default=50, metavar="N", help="at most 1,000; default: 50")
    parser.add_argument("--cursor", metavar="CURSOR", help="go on where an earlier page ended")


async def _run(options: argparse.Namespace) -> int:
    with open_database(options) as opened:
        await opened.check_schema()
        page = await opened.states.list_sessions(
            prefix=options.prefix,
            agent_type=options.agent_type,
            status=options.status,
            parent_session_id=options.parent,
            limit=options.limit,
            cursor=options.cursor,
        )
    if options.json:
        print(json_text({"sessions": [*map(_summary, page.items)], "nextCursor": page.next_cursor}))
    else:
        _print(page)
    return 0


def _print(page: SessionPage) -> None:
    if not page.items:
        print("no sessions")
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
    """The number of stored messages. The state may have loaded fewer."""
    return state.stored_history.count if state.stored_history else len(state.messages)
