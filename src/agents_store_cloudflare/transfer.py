"""Sessions copied whole from one database into another: state, messages, checkpoints, staged changes, runs, references, usage.

A copy is a JSON object. It holds the rows of the database as they are, so that versions, fences and commit ids come back too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, LiteralString, TypeAlias, cast

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import InvalidArgumentError, SessionExistsError, StateNotFoundError
from agents_store_cloudflare.database import Database, SqlError, SqlValue, Statement, batch_with_retry
from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.state.codec import blocks_of
from agents_store_cloudflare.state.numbering import MAX_MESSAGES, first_key, last_key
from agents_store_cloudflare.state.session_tables import SESSION_TABLES
from agents_store_cloudflare.usage import D1UsageStore

__all__ = ["FORMAT", "StoredRows", "export_session", "import_session", "stored_rows"]

FORMAT = 1
"""The version of the format that this code writes; it refuses a newer one."""

StoredRows: TypeAlias = "dict[str, list[dict[str, SqlValue]]]"
"""For each table: its rows of one session, each as column -> value."""

_BATCH_BYTES = 1_000_000
_ENTRIES = 200

_SESSION_NO: LiteralString = "(SELECT session_no FROM __agents_states WHERE session_id = ?1)"

# The keys of session ?1, the first and the last one.
_ITS_KEYS: LiteralString = f"""{first_key(_SESSION_NO)}
          AND {last_key(_SESSION_NO)}"""

# Table -> its rows of session ?1. Primary keys.
_ROWS: dict[LiteralString, LiteralString] = {
    "__agents_states": "SELECT json_array({}) FROM __agents_states WHERE session_id = ?1",
    "__agents_fences": "SELECT json_array({}) FROM __agents_fences WHERE session_id = ?1",
    "__agents_checkpoints": f"""
        SELECT json_array({{}}) FROM __agents_checkpoints
        WHERE id BETWEEN {_ITS_KEYS}
    """,  # noqa: S608 - constants alone
    "__agents_staged_changes": """
        SELECT json_array({}) FROM __agents_staged_changes
        WHERE session_no = (SELECT session_no FROM __agents_states WHERE session_id = ?1)
    """,
    "__agents_runs": """
        SELECT json_array({}) FROM __agents_runs
        WHERE session_no = (SELECT session_no FROM __agents_states WHERE session_id = ?1)
    """,
    "__agents_sub_sessions": """
        SELECT json_array({}) FROM __agents_sub_sessions
        WHERE session_no = (SELECT session_no FROM __agents_states WHERE session_id = ?1)
    """,
    **{
        table: f"SELECT json_array({{}}) FROM {table} WHERE session_id = ?1"  # noqa: S608 - constants alone
        for table in SESSION_TABLES
    },
}

# ?1 table -> (column) in order
_COLUMNS: LiteralString = "SELECT name FROM pragma_table_info(?1) ORDER BY cid"

# -> (number of the next session)
_NEXT: LiteralString = "SELECT next_no FROM __agents_next_session_no"

# ?1 session number: aborts the batch when a session has it.
_IS_FREE: LiteralString = """
    SELECT CASE WHEN EXISTS (SELECT 1 FROM __agents_states WHERE session_no = ?1)
      THEN json_extract('{}', 'agents-store taken') END AS verdict
"""

# ?1 session id. What a replaced session leaves; the trigger __agents_session_deleted removes the rest.
_DELETIONS: tuple[LiteralString, ...] = (
    f"""
    DELETE FROM __agents_message_blocks
    WHERE id BETWEEN {_ITS_KEYS}
    """,  # noqa: S608 - constants alone
    f"""
    DELETE FROM __agents_checkpoints
    WHERE id BETWEEN {_ITS_KEYS}
    """,  # noqa: S608 - constants alone
    *(f"DELETE FROM {table} WHERE session_id = ?1" for table in SESSION_TABLES),  # noqa: S608 - constants alone
    "DELETE FROM __agents_states WHERE session_id = ?1",
)

_INSERT_BLOCK: LiteralString = "INSERT INTO __agents_message_blocks (id, count, body) VALUES (?1, ?2, ?3)"

# ?1 session id, ?2 token: a fence that is there never falls. Primary key.
_RAISE_FENCE: LiteralString = """
    UPDATE __agents_fences
    SET token = max(token, ?2)
    WHERE session_id = ?1
"""


async def export_session(database: object, session_id: str) -> dict[str, Any]:
    """Return the session as one JSON object, for `import_session`.

    Nobody may write to the session meanwhile.

    Args:
        database: a D1 binding or a `Database`.
        session_id: which session.

    Raises:
        StateNotFoundError: there is no such session.
    """
    db = as_database(database)
    state = await D1StateStore(db).load_state(check_id(session_id, "session_id"))
    if state is None:
        raise StateNotFoundError(session_id)
    entries = await D1UsageStore(db).get_entries(session_id)
    return {
        "format": FORMAT,
        "schema": CURRENT_SCHEMA_VERSION,
        "sessionId": session_id,
        "stored": await stored_rows(db, session_id),
        "messages": state.messages,
        "usage": [entry.to_dict() for entry in entries],
    }


async def stored_rows(database: Database, session_id: str) -> StoredRows:
    """Return the session's rows of every table but messages and usage."""
    found: StoredRows = {}
    for table, sql in _ROWS.items():
        columns = await _columns_of(database, table)
        # One JSON text a row: integers keep all their digits.
        listed = cast("LiteralString", ", ".join(columns))  # type: ignore[redundant-cast]
        [rows] = await batch_with_retry(database, [Statement(sql.replace("{}", listed), (session_id,))])
        found[table] = [dict(zip(columns, json.loads(cast("str", row[0])), strict=True)) for row in rows]
    return found


async def _columns_of(database: Database, table: LiteralString) -> list[str]:
    [rows] = await batch_with_retry(database, [Statement(_COLUMNS, (table,))])
    return [cast("str", row[0]) for row in rows]


async def import_session(database: object, copy: Mapping[str, Any], *, replace: bool = False) -> None:
    """Store the session of a copy. It becomes visible whole, in one transaction, or not at all.

    Usage is recorded first: an entry whose id is there already counts once. Call again after a failure.

    Args:
        database: a D1 binding or a `Database`, migrated.
        copy: what `export_session` returned.
        replace: replace a session of the same id, with its usage.

    Raises:
        InvalidArgumentError: the copy has a newer format or is not whole. Nothing was written.
        SessionExistsError: the id exists and `replace` is False. Nothing was written.
    """
    db = as_database(database)
    session_id = check_id(copy.get("sessionId"), "sessionId")
    rows, messages = await _checked(db, copy, session_id)
    exists = await D1StateStore(db).exists(session_id)
    if exists and not replace:
        raise SessionExistsError(session_id)
    usage = D1UsageStore(db)
    if exists:
        await usage.delete(session_id)
    entries = cast("list[Mapping[str, object]]", copy.get("usage", []))
    for begin in range(0, len(entries), _ENTRIES):
        await usage.record_entries(entries[begin : begin + _ENTRIES])
    [[[number]]] = await batch_with_retry(db, [Statement(_NEXT)])
    await _put_hidden(db, session_id, cast("int", number), rows, messages)
    await _show(db, session_id, cast("int", number), rows)


async def _checked(db: Database, copy: Mapping[str, Any], session_id: str) -> tuple[StoredRows, list[Any]]:
    if copy.get("format") != FORMAT:
        raise InvalidArgumentError(f"the copy has format {copy.get('format')!r}, this code reads {FORMAT}")
    if not all(
        isinstance(copy.get(name), kind) for name, kind in (("stored", dict), ("messages", list), ("usage", list))
    ):
        raise InvalidArgumentError("the copy has no stored rows, messages or usage")
    stored, messages = cast("dict[str, Any]", copy["stored"]), cast("list[Any]", copy["messages"])
    for table in _ROWS:
        known = set(await _columns_of(db, table))
        if not _are_rows(stored.get(table), known):
            raise InvalidArgumentError(
                f"the copy's rows of {table} are missing or have columns this schema does not know"
            )
    states = cast("StoredRows", stored)["__agents_states"]
    if len(states) != 1 or states[0].get("session_id") != session_id or states[0].get("message_count") != len(messages):
        raise InvalidArgumentError("the copy's state row does not belong to its session id and messages")
    return cast("StoredRows", stored), messages


def _are_rows(value: object, columns: set[str]) -> bool:
    listed = cast("list[object]", value) if isinstance(value, list) else [None]
    return all(isinstance(row, dict) and cast("dict[str, object]", row).keys() <= columns for row in listed)


async def _put_hidden(db: Database, session_id: str, number: int, rows: StoredRows, messages: list[Any]) -> None:
    """Store messages and checkpoints under a number that no session has yet: nobody reads them."""
    statements = [
        Statement(_INSERT_BLOCK, (number * MAX_MESSAGES + block.first_sequence, block.count, block.body))
        for block in blocks_of(messages, 0, _BATCH_BYTES, session_id, "import_session")
    ]
    for row in rows["__agents_checkpoints"]:
        moved = {name: _renumbered(row[name], number) if name in {"id", "base_id"} else row[name] for name in row}
        statements.append(_insert("__agents_checkpoints", moved))
    waiting, size = [Statement(_IS_FREE, (number,))], 0
    for statement in statements:
        waiting.append(statement)
        size += sum(len(value.encode()) for value in statement.parameters if isinstance(value, str))
        if size > _BATCH_BYTES:
            await db.batch(waiting)
            waiting, size = [], 0
    if waiting:
        await db.batch(waiting)


async def _show(db: Database, session_id: str, number: int, rows: StoredRows) -> None:
    """The transaction that replaces the old session by the new one."""
    statements = [Statement(sql, (session_id,)) for sql in _DELETIONS]
    for table in ("__agents_staged_changes", "__agents_runs", "__agents_sub_sessions", "__agents_states"):
        statements += [_insert(table, {**row, "session_no": number}) for row in rows[table]]
    statements += [_insert(table, row) for table in SESSION_TABLES for row in rows[table]]
    for row in rows["__agents_fences"]:
        statements += [_insert("__agents_fences", row, or_ignore=True)]
        statements += [Statement(_RAISE_FENCE, (session_id, row["token"]))]
    try:
        await db.batch(statements)
    except SqlError as error:
        if error.constraint:
            raise InvalidArgumentError(
                f"session {session_id!r} was not imported: its rows contradict each other, or another session "
                f"was created meanwhile ({error}); call again"
            ) from error
        raise


def _renumbered(key: SqlValue, number: int) -> SqlValue:
    return number * MAX_MESSAGES + key % MAX_MESSAGES if isinstance(key, int) else None


def _insert(table: LiteralString, row: Mapping[str, SqlValue], *, or_ignore: bool = False) -> Statement:
    # The names are columns of the table: `_checked` compared them.
    names = cast("LiteralString", ", ".join(row))  # type: ignore[redundant-cast]
    places = cast("LiteralString", ", ".join(f"?{place}" for place in range(1, len(row) + 1)))  # type: ignore[redundant-cast]
    verb: LiteralString = "INSERT OR IGNORE INTO" if or_ignore else "INSERT INTO"
    return Statement(f"{verb} {table} ({names}) VALUES ({places})", tuple(row.values()))
