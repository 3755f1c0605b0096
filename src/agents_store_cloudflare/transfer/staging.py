"""Stores the rows of an import under numbers that no session has, so that nobody reads them before the session becomes visible.

An import claims two numbers. The first becomes the session's number. Under the second lie the usage entries, as texts in the table
of message blocks. The transaction that makes the session visible turns them into rows. An import that dies leaves rows that nobody
reads. `doctor` names them.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, cast

from agents_store_cloudflare.database import MAX_VALUE_BYTES, Database, Statement, batch_with_retry
from agents_store_cloudflare.state.blocks import blocks_of
from agents_store_cloudflare.state.numbering import MAX_MESSAGES
from agents_store_cloudflare.transfer import import_sql
from agents_store_cloudflare.transfer.copies import CheckedCopy
from agents_store_cloudflare.transfer.tables import ENTRIES, HIDDEN, StoredRow, insert

__all__ = ["BATCH_BYTES", "claim", "large_entries", "stage", "stage_texts"]

BATCH_BYTES: Final = 1_000_000
LARGEST_TEXT_BYTES: Final = MAX_VALUE_BYTES - 2
"""The most bytes of a row in a JSON list."""


async def claim(database: Database) -> int:
    """Claim a number that no session has, and the number after it. Return the first one."""
    name = f"import {secrets.token_hex(16)}"
    [[[free]]] = await batch_with_retry(database, [Statement(import_sql.NEXT)])
    parameters = (name, free)
    _, [[number]] = await batch_with_retry(
        database, [Statement(import_sql.CLAIM, parameters), Statement(import_sql.CLAIMED, parameters)]
    )
    return cast("int", number)


async def stage(database: Database, copy: CheckedCopy, number: int) -> None:
    """Store messages, checkpoints, staged changes, runs, references and usage where nobody reads them."""
    await _store(database, (*_hidden(copy, number), *_entry_texts(copy, number)))


async def stage_texts(database: Database, number: int, kinds: Sequence[Iterable[StoredRow]]) -> None:
    """Store rows of several kinds, 1, 2, 3 …, as texts under the second number. The column `count` has the kind."""
    texts = [(kind, text) for kind, rows in enumerate(kinds, 1) for text in _texts(map(_text, rows))]
    keys = itertools.count((number + 1) * MAX_MESSAGES + 1)
    await _store(database, [Statement(import_sql.INSERT_BLOCK, (next(keys), *each)) for each in texts])


async def _store(database: Database, statements: Iterable[Statement]) -> None:
    waiting: list[Statement] = []
    size_bytes = 0
    for statement in statements:
        waiting.append(statement)
        size_bytes += sum(len(value.encode()) for value in statement.parameters if isinstance(value, str))
        if size_bytes > BATCH_BYTES:
            await batch_with_retry(database, waiting)
            waiting, size_bytes = [], 0
    if waiting:
        await batch_with_retry(database, waiting)


def _hidden(copy: CheckedCopy, number: int) -> Iterator[Statement]:
    for block in blocks_of(copy.messages, 0, BATCH_BYTES, copy.session_id, "import_session"):
        yield Statement(
            import_sql.INSERT_BLOCK, (number * MAX_MESSAGES + block.first_sequence, block.count, block.body)
        )
    for table in HIDDEN:
        for row in copy.stored[table]:
            yield insert(table, _numbered(row, number))


def _numbered(row: StoredRow, number: int) -> StoredRow:
    """Return the row under another number of its session."""
    moved = dict(row)
    if "session_no" in moved:
        moved["session_no"] = number
    for name in ("id", "base_id"):
        if isinstance(key := moved.get(name), int):
            moved[name] = number * MAX_MESSAGES + key % MAX_MESSAGES
    return moved


def _entry_texts(copy: CheckedCopy, number: int) -> Iterator[Statement]:
    for place, text in enumerate(_texts(map(_text, copy.stored[ENTRIES])), 1):
        yield Statement(import_sql.INSERT_BLOCK, ((number + 1) * MAX_MESSAGES + place, 0, text))


def _texts(rows: Iterable[str]) -> Iterator[str]:
    """Yield the rows as JSON lists of about 1 MB each. Rows that are too large for one value are left out."""
    waiting: list[str] = []
    size_bytes = 0
    for text in rows:
        row_bytes = len(text.encode())
        if row_bytes > LARGEST_TEXT_BYTES:
            continue
        if waiting and size_bytes + row_bytes > BATCH_BYTES:
            yield f"[{','.join(waiting)}]"
            waiting, size_bytes = [], 0
        waiting.append(text)
        size_bytes += row_bytes + 1
    if waiting:
        yield f"[{','.join(waiting)}]"


def large_entries(copy: CheckedCopy) -> list[StoredRow]:
    """Return the usage entries that are too large for a text inside a text.

    The transaction that makes the session visible stores them directly.
    """
    return [row for row in copy.stored[ENTRIES] if len(_text(row).encode()) > LARGEST_TEXT_BYTES]


def _text(row: StoredRow) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))
