"""Imports a copy. Its rows are stored where nobody reads them, then one transaction makes the session visible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, LiteralString, cast

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.errors import D1StateError, InvalidArgumentError, SessionExistsError
from agents_store_cloudflare.database import Database, SqlError, Statement, batch_with_retry
from agents_store_cloudflare.state.session_tables import SESSION_TABLES, SHARED_TABLES
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.transfer import import_sql, usage_sql
from agents_store_cloudflare.transfer.copies import CheckedCopy, checked, held
from agents_store_cloudflare.transfer.renaming import check_rename, renamed
from agents_store_cloudflare.transfer.staging import claim, large_entries, stage
from agents_store_cloudflare.transfer.stream_copies import StreamCopy, arrive, take_place
from agents_store_cloudflare.transfer.tables import ENTRIES, HIDDEN, KEPT, insert, rows_of

__all__ = ["check_import", "import_session"]

_ATTEMPTS = 5


async def import_session(
    database: object,
    copy: Mapping[str, Any],
    *,
    streams: DurableObjectStreamManager | None = None,
    replace: bool = False,
    rename: Mapping[str, str] | None = None,
) -> None:
    """Store the session of a copy with its usage. It becomes visible in one transaction, completely or not at all.

    The stream of a new session is stored just before the session becomes visible. The stream of a replaced session is replaced just
    after the session.

    A usage entry whose id is stored already stays unchanged and counts once. Nobody can see the rows of a failed import, so call
    again.

    Args:
        database: a D1 binding or a `Database`, migrated.
        copy: the result of `export_session`.
        streams: the stream manager that stores the copy's streams. Without it a copy with streams is refused.
        replace: replace a session of the same id with its usage and its stream. States that were loaded before are stale
            afterwards. Readers of the stream get the same error as after a reset.
        rename: old id -> new id, for this session and for the sessions and streams that it names (parent, root, references,
            stream). Other ids stay.

    Raises:
        InvalidArgumentError: the copy has a newer format or is incomplete, an id of `rename` is not valid, or the copy's stream
            exists and `replace` is False. No part of the copy is visible.
        SessionExistsError: the id exists and `replace` is False. No part of the copy is visible.
        D1StateError: the database failed.
        StreamError: a stream could not be reached.
    """
    db = as_database(database)
    try:
        own = await _prepared(db, copy, replace=replace, rename=rename or {})
        if own.streams and streams is None:
            raise InvalidArgumentError(
                "the copy has streams: pass streams=, the manager that stores them, or leave them out"
            )
        tokens = [await arrive(manager, each, replace=replace) for manager, each in _with(streams, own)]
        number = await claim(db)
        await stage(db, own, number)
        if not replace:
            await _take_places(streams, own, tokens, replace=replace)
        await _show(db, own, number, replace=replace)
        if replace:
            await _take_places(streams, own, tokens, replace=replace)
    except SqlError as error:
        raise _failed(copy, error) from error


async def check_import(
    database: object, copy: Mapping[str, Any], *, replace: bool = False, rename: Mapping[str, str] | None = None
) -> None:
    """Raise the errors that `import_session` raises before it writes, except the errors of streams. Nothing is written.

    Raises:
        InvalidArgumentError, SessionExistsError, D1StateError: as `import_session` raises them.
    """
    try:
        await _prepared(as_database(database), copy, replace=replace, rename=rename or {})
    except SqlError as error:
        raise _failed(copy, error) from error


async def _prepared(db: Database, copy: Mapping[str, Any], *, replace: bool, rename: Mapping[str, str]) -> CheckedCopy:
    names = dict(rename)
    check_rename(names)
    own = renamed(await checked(db, held(copy)), names)
    version, _ = await _versions(db, own.session_id)
    is_there = (version and own.is_session) or await _has_rows(db, own)
    if is_there and not replace:
        raise SessionExistsError(own.session_id)
    if not (replace and own.is_session):
        await _check_kept(db, own)
    return own


def _with(
    streams: DurableObjectStreamManager | None, copy: CheckedCopy
) -> Iterator[tuple[DurableObjectStreamManager, StreamCopy]]:
    return iter(() if streams is None else [(streams, each) for each in copy.streams])


async def _take_places(
    streams: DurableObjectStreamManager | None, copy: CheckedCopy, tokens: Sequence[str], *, replace: bool
) -> None:
    for (manager, each), token in zip(_with(streams, copy), tokens, strict=True):
        await take_place(manager, each, token, replace=replace)


async def _has_rows(db: Database, copy: CheckedCopy) -> bool:
    """Return whether the id has rows of adapters here and in the copy."""
    shared: list[LiteralString] = [table for table in SESSION_TABLES if copy.stored[table]]
    rows = [row for table in shared async for row in rows_of(db, table, copy.session_id)]
    return bool(rows)


async def _check_kept(db: Database, copy: CheckedCopy) -> None:
    """Refuse a copy with kept totals when entries of the same session are stored here: nobody can know which entries both have
    counted.
    """
    for table in KEPT:
        here = [row async for row in rows_of(db, table, copy.session_id)]
        if here and here != copy.stored[table]:
            raise InvalidArgumentError(
                f"usage of session {copy.session_id!r} is here already, and some of its entries were deleted with their totals kept; "
                "replace the session with its usage, or delete that usage first"
            )


async def _versions(db: Database, session_id: str) -> tuple[int, int]:
    [[row]] = await batch_with_retry(db, [Statement(import_sql.VERSIONS, (session_id,))])
    version, past = cast("list[int]", row)
    return version, past


async def _show(db: Database, copy: CheckedCopy, number: int, *, replace: bool) -> None:
    """Run the transaction that replaces the old session by the new one. If somebody wrote to the old session meanwhile, run it again."""
    for _ in range(_ATTEMPTS):
        version, past = await _versions(db, copy.session_id)
        if version and copy.is_session and not replace:
            raise SessionExistsError(copy.session_id)
        try:
            await batch_with_retry(db, _showing(copy, number, version, max(version, past), replace=replace))
        except SqlError as error:
            fault = None if error.guard is None else error.guard["fault"]
            if fault == "shown":
                return
            if fault == "gone":
                raise D1StateError(
                    f"rows of session {copy.session_id!r} share keys, or what the import had stored was deleted meanwhile; nothing is shown"
                ) from None
            if fault != "version":
                raise
        else:
            return
    raise D1StateError(
        f"session {copy.session_id!r} was written {_ATTEMPTS} times meanwhile; import it when nobody writes"
    )


def _showing(copy: CheckedCopy, number: int, version: int, above: int, *, replace: bool) -> list[Statement]:
    session_id = copy.session_id
    adapters = [insert(table, row) for table in (*SESSION_TABLES, *SHARED_TABLES) for row in copy.stored[table]]
    if not copy.is_session:
        gone = [Statement(sql, (session_id,)) for sql in import_sql.DELETE_SESSION_TABLES] if replace else []
        return [*_usage(copy, number, is_replaced=False), *gone, *adapters, *_fence(copy)]
    rows = sum(len(copy.stored[table]) for table in HIDDEN)
    [state] = copy.stored["__agents_states"]
    shown = {**state, "session_no": number}
    if above:  # a caller that loaded the old session now finds another version
        shown["version"] = max(cast("int", state["version"]), above + 1)
    return [
        Statement(import_sql.GUARD, (session_id, number, version, len(copy.messages), rows)),
        *(Statement(sql, (session_id,)) for sql in import_sql.DELETIONS),
        *_usage(copy, number, is_replaced=replace),
        insert("__agents_states", shown),
        *adapters,
        *_fence(copy),
    ]


def _usage(copy: CheckedCopy, number: int, *, is_replaced: bool) -> list[Statement]:
    """Return the statements that store entries and count the session's totals anew."""
    own = (copy.session_id,)
    return [
        *(Statement(sql, own) for sql in (usage_sql.REPLACED if is_replaced else usage_sql.FORGET_TOTALS)),
        Statement(usage_sql.INSERT_STAGED, (number + 1,)),
        *(insert(ENTRIES, row) for row in large_entries(copy)),
        Statement(usage_sql.DELETE_STAGED, (number + 1,)),
        *(insert(table, row) for table in KEPT for row in copy.stored[table]),
        *(Statement(sql, own) for sql in usage_sql.COUNT_ENTRIES),
    ]


def _fence(copy: CheckedCopy) -> list[Statement]:
    found: list[Statement] = []
    for row in copy.stored["__agents_fences"]:
        found += [
            insert("__agents_fences", row),
            Statement(import_sql.RAISE_FENCE, (copy.session_id, row.get("token") or 0)),
        ]
    return found


def _failed(copy: Mapping[str, Any], error: SqlError) -> D1StateError | InvalidArgumentError:
    session_id = copy.get("sessionId")
    if error.constraint:
        return InvalidArgumentError(
            f"session {session_id!r} was not imported: its rows contradict each other ({error})"
        )
    hint = "; `await store.migrate()` or `run_migration(db)` makes the tables" if error.is_missing_table() else ""
    return D1StateError(
        f"import_session of session {session_id!r} failed: {error}{hint}", outcome_unknown=error.outcome_unknown
    )
