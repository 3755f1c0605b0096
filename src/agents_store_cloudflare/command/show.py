"""`show`: shows one session, shortened so that a person can read it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from agents_store_cloudflare.command.homes import no_session
from agents_store_cloudflare.command.opening import OpenDatabase, open_database
from agents_store_cloudflare.command.parsers import Commands, add_command, whole_number
from agents_store_cloudflare.command.salvage import Shown, rows_of_session, show
from agents_store_cloudflare.command.session_parts import staged_changes_of
from agents_store_cloudflare.command.sessions import message_count
from agents_store_cloudflare.command.text import (
    json_text,
    print_table,
    printable,
    shortened,
    terminal_columns,
    time_text,
)
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.state.records import (
    AgentState,
    Checkpoint,
    Message,
    Run,
    StagedChange,
    SubSessionRef,
)

__all__ = ["add_parser", "bare_state"]

RUNS = 20
CHECKPOINTS = 100


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "show", _run, help="show one session: its state, last messages, runs, references and staged changes"
    )
    parser.add_argument("session", metavar="SESSION")
    parser.add_argument(
        "--messages", type=whole_number, default=10, metavar="N", help="how many of the last; default: 10"
    )
    parser.add_argument("--checkpoints", action="store_true", help=f"the newest {CHECKPOINTS} checkpoints too")


async def _run(options: argparse.Namespace) -> int:
    with open_database(options) as opened:
        await opened.check_schema()

        async def view(database: OpenDatabase) -> Shown:
            found = await _look(database, options)
            return Shown.of(found.to_dict(), found.print)

        return await show(opened, view, lambda: rows_of_session(opened, options.session), json=options.json)


async def _look(opened: OpenDatabase, options: argparse.Namespace) -> _Shown:
    session_id, states, checkpoints = options.session, opened.states, options.checkpoints
    state = await states.load_state(session_id, messages=options.messages)
    if state is None:
        raise await no_session(opened, session_id)
    page = await states.list_checkpoints(session_id, limit=CHECKPOINTS, include_state=False) if checkpoints else None
    return _Shown(
        state,
        await states.list_runs(session_id, limit=RUNS),
        await states.get_sub_session_refs(session_id),
        [each async for each in staged_changes_of(opened, session_id)],
        None if page is None else page.items,
    )


def bare_state(state: AgentState) -> JsonObject:
    """Return the state for `AgentState.from_dict`, without messages and without facts that belong to this database."""
    return {key: value for key, value in state.to_dict().items() if key not in {"messages", "storedHistory"}}


class _Shown:
    """The shown parts of a session."""

    def __init__(
        self,
        state: AgentState,
        runs: Sequence[Run],
        references: Sequence[SubSessionRef],
        staged: Sequence[tuple[str, StagedChange]],
        checkpoints: Sequence[Checkpoint] | None,
    ) -> None:
        self._state = state
        self._runs = runs
        self._references = references
        self._staged = staged
        self._checkpoints = checkpoints
        first = message_count(state) - len(state.messages)
        self._messages = list(enumerate(state.messages, first))

    def to_dict(self) -> dict[str, object]:
        body: dict[str, object] = {
            "state": bare_state(self._state),
            "messageCount": message_count(self._state),
            "messages": [{"sequence": sequence, "message": message} for sequence, message in self._messages],
            "runs": [run.to_dict() for run in self._runs],
            "references": [reference.to_dict() for reference in self._references],
            "stagedChanges": [{"stepId": step_id, "change": change.to_dict()} for step_id, change in self._staged],
        }
        if self._checkpoints is not None:
            body["checkpoints"] = [checkpoint.to_dict() for checkpoint in self._checkpoints]
        return body

    def print(self) -> None:
        self._print_state()
        self._print_messages()
        _print_part(
            "runs, the latest first",
            ("turn", "run", "status", "steps", "started (UTC)", "completed (UTC)"),
            [
                (
                    run.turn,
                    run.run_id,
                    run.status,
                    run.step_count,
                    time_text(run.started_at),
                    time_text(run.completed_at),
                )
                for run in self._runs
            ],
        )
        _print_part(
            "references",
            ("sub-session", "agent type", "status", "location", "tool call"),
            [
                (each.sub_session_id, each.agent_type, each.status, each.location, each.parent_tool_call_id)
                for each in self._references
            ],
        )
        _print_part(
            "staged changes",
            ("step", "tool call", "staged (UTC)"),
            [(step_id, change.tool_call_id, time_text(change.timestamp)) for step_id, change in self._staged],
        )
        _print_part(
            "checkpoints, the newest first",
            ("checkpoint", "status", "step", "messages", "kept (UTC)"),
            [
                (each.id, each.status, each.step_count, each.message_count, time_text(each.timestamp))
                for each in self._checkpoints or ()
            ],
        )

    def _print_state(self) -> None:
        state, columns = self._state, terminal_columns()
        print(printable(f"{state.session_id}  {state.agent_type}  {state.status}"))
        print(f"  version {state.version}, step {state.step_count}, resumed {state.resume_count} times")
        print(f"  created {time_text(state.created_at)}, updated {time_text(state.updated_at)} (UTC)")
        facts = {
            "stream": state.stream_id or state.session_id,
            "parent": state.parent_session_id,
            "root": state.root_session_id,
            "expires": time_text(state.expires_at) or None,
            "aborted": (state.abort_reason or "without a reason") if state.aborted else None,
            "error": state.error,
            "output": None if state.output is None else json_text(state.output),
            "suspended at": state.suspended_step_id,
            "custom state": json_text(state.custom_state) if state.custom_state else None,
            "more": json_text(state.extra) if state.extra else None,
        }
        for name, value in facts.items():
            if value is not None:
                print(shortened(f"  {name}: {value}", columns))

    def _print_messages(self) -> None:
        total = message_count(self._state)
        if not self._messages:
            print(f"{total:,} messages")
            return
        print(f"messages {self._messages[0][0]:,} to {self._messages[-1][0]:,} of {total:,}")
        for sequence, message in self._messages:
            print(
                shortened(f"  {sequence:>{len(str(total))}}  {_kind_of(message)}: {_gist(message)}", terminal_columns())
            )


def _kind_of(message: Message) -> str:
    """Return the message's role, or its type if it has no role."""
    return str(message.get("role") or message.get("type") or "message")


def _gist(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, str) and content:
        return content
    rest = {key: value for key, value in message.items() if key != "role" and value not in (None, "")}
    return json_text(rest)


def _print_part(title: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if rows:
        print(title)
        print_table([f"  {headings[0]}", *headings[1:]], [(_indented(row[0]), *row[1:]) for row in rows])


def _indented(value: object) -> str:
    return f"  {value}"
