"""The messages, checkpoints, runs, staged changes and usage of a session, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import LiteralString, cast

from agents_store_cloudflare.command.opening import OpenDatabase
from agents_store_cloudflare.contract.state.records import Checkpoint, Message, Run, StagedChange
from agents_store_cloudflare.contract.usage.records import UsageEntry
from agents_store_cloudflare.database import Statement, batch_with_retry

__all__ = ["checkpoints_of", "entries_of", "messages_of", "runs_of", "staged_changes_of"]

MESSAGES_PAGE = 50  # a message may have 1.8 MB
CHECKPOINTS_PAGE = 100
RUNS_PAGE = 500
ENTRIES_PAGE = 500

# ?1 session id -> (step id) of every step with staged changes. Primary keys.
SELECT_STAGED_STEPS: LiteralString = """
    SELECT DISTINCT g.step_id
    FROM __agents_states AS s
    JOIN __agents_staged_changes AS g ON g.session_no = s.session_no
    WHERE s.session_id = ?1
    ORDER BY g.step_id
"""


async def messages_of(opened: OpenDatabase, session_id: str, count: int) -> AsyncIterator[tuple[int, Message]]:
    """Yield the first `count` messages with their sequences."""
    for offset in range(0, count, MESSAGES_PAGE):
        page = await opened.states.get_messages(session_id, offset=offset, limit=min(MESSAGES_PAGE, count - offset))
        for place, message in enumerate(page):
            yield offset + place, message


async def checkpoints_of(opened: OpenDatabase, session_id: str) -> AsyncIterator[Checkpoint]:
    """Yield the checkpoints without their states, the newest first."""
    cursor = None
    while True:
        page = await opened.states.list_checkpoints(
            session_id, limit=CHECKPOINTS_PAGE, cursor=cursor, include_state=False
        )
        for checkpoint in page.items:
            yield checkpoint
        cursor = page.next_cursor
        if cursor is None:
            return


async def runs_of(opened: OpenDatabase, session_id: str) -> AsyncIterator[Run]:
    """Yield the runs, the latest first."""
    before_turn = None
    while runs := await opened.states.list_runs(session_id, limit=RUNS_PAGE, before_turn=before_turn):
        for run in runs:
            yield run
        before_turn = runs[-1].turn
        if before_turn <= 1:
            return


async def staged_changes_of(opened: OpenDatabase, session_id: str) -> AsyncIterator[tuple[str, StagedChange]]:
    """Yield the staged changes with the ids of their steps, each step's in the order of promotion."""
    [rows] = await batch_with_retry(opened.database, [Statement(SELECT_STAGED_STEPS, (session_id,))])
    for [step_id] in cast("list[list[str]]", rows):
        for change in await opened.states.get_staged_changes(session_id, step_id):
            yield step_id, change


async def entries_of(opened: OpenDatabase, session_id: str) -> AsyncIterator[UsageEntry]:
    """Yield the usage entries by time, then insertion."""
    offset = 0
    while entries := await opened.usage.get_entries(session_id, limit=ENTRIES_PAGE, offset=offset):
        for entry in entries:
            yield entry
        offset += len(entries)
