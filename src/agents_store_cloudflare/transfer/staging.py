"""Stores the rows of an import under numbers that no session has, so that nobody reads them before the session becomes visible.

An import claims two numbers. The first becomes the session's number. Under the second lie usage and tasks, as texts in the table of
message blocks; see `state/copied_accounts_sql.py`. With homes the session's number is claimed in the home, and the other one in D1. An
import that dies leaves rows that nobody reads.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, cast

from agents_store_cloudflare.database import MAX_VALUE_BYTES, Database, Statement, batch_with_retry
from agents_store_cloudflare.state.blocks import blocks_of
from agents_store_cloudflare.state.copied_accounts_sql import ACCOUNT_TABLES, LARGE_COLUMNS
from agents_store_cloudflare.state.numbering import MAX_MESSAGES
from agents_store_cloudflare.transfer import import_sql
from agents_store_cloudflare.transfer.copies import CheckedCopy
from agents_store_cloudflare.transfer.tables import HIDDEN, StoredRow, insert

__all__ = ["BATCH_BYTES", "claim", "stage", "stage_accounts", "stage_texts"]

BATCH_BYTES: Final = 1_000_000
LARGEST_TEXT_BYTES: Final = MAX_VALUE_BYTES - 2
"""The most bytes of a row in a JSON list."""


async def claim(database: Database) -> tuple[int, str]:
    """Claim a number that no session has, and the number after it. Return the first one, and the name of the claim."""
    name = f"import {secrets.token_hex(16)}"
    [[[free]]] = await batch_with_retry(database, [Statement(import_sql.NEXT)])
    parameters = (name, free)
    _, [[number]] = await batch_with_retry(
        database, [Statement(import_sql.CLAIM, parameters), Statement(import_sql.CLAIMED, parameters)]
    )
    return cast("int", number), name


async def stage(database: Database, copy: CheckedCopy, number: int) -> None:
    """Store messages, checkpoints, staged changes, runs and references where nobody reads them."""
    await _store(database, _hidden(copy, number))


async def stage_accounts(database: Database, copy: CheckedCopy, number: int) -> None:
    """Store usage and tasks as texts under a number. The column `count` has the kind of the table."""
    keys = itertools.count(number * MAX_MESSAGES + 1)
    texts = _account_texts(copy)
    await _store(database, (Statement(import_sql.INSERT_BLOCK, (next(keys), *each)) for each in texts))


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
    largest = max((len(_text(message).encode()) for message in copy.messages), default=0)
    most_bytes = BATCH_BYTES if largest <= BATCH_BYTES // 2 else max(BATCH_BYTES, largest + 1_000)
    for block in blocks_of(copy.messages, 0, most_bytes, copy.session_id, "import_session"):
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


def _account_texts(copy: CheckedCopy) -> Iterator[tuple[int, str]]:
    """Yield the kind and the text of each block. The kind 0 is the text of one large column, of the row before."""
    for kind, table in enumerate(ACCOUNT_TABLES, 1):
        column = LARGE_COLUMNS.get(table)
        for is_large, rows in itertools.groupby(copy.stored[table], _is_large):
            if column is None or not is_large:
                yield from ((kind, text) for text in _texts(map(_text, rows)))
                continue
            for row in rows:
                yield kind, f"[{_text({**row, column: None})}]"
                yield 0, cast("str", row[column])


def _is_large(row: StoredRow) -> bool:
    return len(_text(row).encode()) > LARGEST_TEXT_BYTES


def _texts(rows: Iterable[str]) -> Iterator[str]:
    """Yield the rows as JSON lists of about 1 MB each."""
    waiting: list[str] = []
    size_bytes = 0
    for text in rows:
        row_bytes = len(text.encode())
        if waiting and size_bytes + row_bytes > BATCH_BYTES:
            yield f"[{','.join(waiting)}]"
            waiting, size_bytes = [], 0
        waiting.append(text)
        size_bytes += row_bytes + 1
    if waiting:
        yield f"[{','.join(waiting)}]"


def _text(row: StoredRow) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))
