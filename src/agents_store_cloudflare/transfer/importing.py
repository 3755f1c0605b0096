"""Imports a copy. Its rows are stored where nobody reads them, then one transaction makes the session visible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString, cast

from agents_store_cloudflare.contract.errors import D1StateError, InvalidArgumentError, SessionExistsError
from agents_store_cloudflare.database import Database, SqlError, Statement, batch_with_retry
from agents_store_cloudflare.state.copied_accounts_sql import (
    ACCOUNT_TABLES,
    DELETE_TASKS,
    rehearse_accounts,
    store_accounts,
)
from agents_store_cloudflare.state.session_tables import SESSION_TABLES, SHARED_TABLES
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.transfer import import_sql
from agents_store_cloudflare.transfer.copies import CheckedCopy, checked, held
from agents_store_cloudflare.transfer.moments import stored_rows
from agents_store_cloudflare.transfer.places import Place, place_of
from agents_store_cloudflare.transfer.renaming import check_rename, renamed
from agents_store_cloudflare.transfer.staging import claim, stage, stage_accounts
from agents_store_cloudflare.transfer.stream_copies import StreamCopy, arrive, take_place
from agents_store_cloudflare.transfer.tables import HIDDEN, KEPT, insert

__all__ = ["check_import", "import_session"]

_ATTEMPTS = 5
_ADAPTERS: tuple[LiteralString, ...] = tuple(
    table for table in (*SESSION_TABLES, *SHARED_TABLES) if table not in ACCOUNT_TABLES
)
"""The tables of adapters whose rows are with the session."""


@dataclass(frozen=True, slots=True)
class _Staged:
    """The numbers of an import: of the session, and of its usage and tasks. `name` is the name of the second number's claim."""

    session: int
    accounts: int
    name: str


async def import_session(
    target: object,
    copy: Mapping[str, Any],
    *,
    streams: DurableObjectStreamManager | None = None,
    replace: bool = False,
    rename: Mapping[str, str] | None = None,
) -> None:
    """Store the session of a copy with its usage. It becomes visible in one transaction, completely or not at all.

    The stream of a new session is stored just before the session becomes visible. The stream of a replaced session is replaced just
    after the session. A session in a home becomes visible in the home, with a note that makes the home store its usage in D1. Reads of
    the session's usage wait for it, and so does this call.

    A usage entry whose id is stored already stays unchanged and counts once. Nobody can see the rows of a failed import, so call
    again.

    Args:
        target: the store of `create_cloudflare_store`, a D1 binding or a `Database`, migrated. Homes need the store.
        copy: the result of `export_session`.
        streams: the stream manager that stores the copy's streams. Without it a copy with streams is refused.
        replace: replace a session of the same id with its usage and its stream. States that were loaded before are stale
            afterwards. Readers of the stream get the same error as after a reset.
        rename: old id -> new id, for this session and for the sessions and streams that it names (parent, root, references,
            stream). Other ids stay. `names_in_homes` gives children the ids that they need in homes.

    Raises:
        InvalidArgumentError: the copy has a newer format or is incomplete, an id of `rename` is not valid, the copy's stream
            exists and `replace` is False, or the session would live in another home than its parent. No part of the copy is visible.
        SessionExistsError: the id exists and `replace` is False. No part of the copy is visible.
        SessionNotMovedError: the target has homes, and its D1 holds the session. No part of the copy is visible.
        D1StateError: the database failed.
        UsageError: the session is visible in its home, which could not reach D1 yet. The home stores the usage later.
        StreamError: a stream could not be reached.
    """
    place = place_of(target)
    try:
        own = await _prepared(place, copy, replace=replace, rename=rename or {})
        if own.streams and streams is None:
            raise InvalidArgumentError(
                "the copy has streams: pass streams=, the manager that stores them, or leave them out"
            )
        tokens = [await arrive(manager, each, replace=replace) for manager, each in _with(streams, own)]
        staged = await _staged(place, own, replace=replace)
        if not replace:
            await _take_places(streams, own, tokens, replace=replace)
        await _show(place, own, staged, replace=replace)
        if replace:
            await _take_places(streams, own, tokens, replace=replace)
    except SqlError as error:
        raise _failed(copy, error) from error
    await place.settle(own.session_id)


async def check_import(
    target: object, copy: Mapping[str, Any], *, replace: bool = False, rename: Mapping[str, str] | None = None
) -> None:
    """Raise the errors that `import_session` raises before it writes, except the errors of streams. Nothing is written.

    Raises:
        InvalidArgumentError, SessionExistsError, SessionNotMovedError, D1StateError: as `import_session` raises them.
    """
    try:
        await _prepared(place_of(target), copy, replace=replace, rename=rename or {})
    except SqlError as error:
        raise _failed(copy, error) from error


async def _prepared(place: Place, copy: Mapping[str, Any], *, replace: bool, rename: Mapping[str, str]) -> CheckedCopy:
    names = dict(rename)
    check_rename(names)
    own = renamed(await checked(place.accounts, held(copy)), names)
    for state in own.stored["__agents_states"]:
        place.admit(own.session_id, cast("str | None", state.get("parent_session_id")))
    await place.refuse_elsewhere(own.session_id)
    await place.settle(own.session_id)
    version, _ = await _versions(place.sessions(own.session_id), own.session_id)
    is_there = (version and own.is_session) or await _has_rows(place, own)
    if is_there and not replace:
        raise SessionExistsError(own.session_id)
    if not (replace and own.is_session):
        await _check_kept(place, own)
    return own


async def _staged(place: Place, copy: CheckedCopy, *, replace: bool) -> _Staged:
    """Store the copy where nobody reads it.

    With homes, also try out the batch that the home sends to D1 later, because D1 may refuse its rows.
    """
    sessions = place.sessions(copy.session_id)
    number, name = await claim(sessions)
    await stage(sessions, copy, number)
    if place.homes is None:
        await stage_accounts(place.accounts, copy, number + 1)
        return _Staged(number, number + 1, name)
    first, name = await claim(place.accounts)
    staged = _Staged(number, first + 1, name)
    await stage_accounts(place.accounts, copy, staged.accounts)
    try:
        await batch_with_retry(
            place.accounts, rehearse_accounts(copy.session_id, staged.accounts, is_replaced=replace and copy.is_session)
        )
    except SqlError as error:
        if error.guard is None or error.guard["fault"] != "rehearsed":
            raise
    return staged


def _with(
    streams: DurableObjectStreamManager | None, copy: CheckedCopy
) -> Iterator[tuple[DurableObjectStreamManager, StreamCopy]]:
    return iter(() if streams is None else [(streams, each) for each in copy.streams])


async def _take_places(
    streams: DurableObjectStreamManager | None, copy: CheckedCopy, tokens: Sequence[str], *, replace: bool
) -> None:
    for (manager, each), token in zip(_with(streams, copy), tokens, strict=True):
        await take_place(manager, each, token, replace=replace)


async def _has_rows(place: Place, copy: CheckedCopy) -> bool:
    """Return whether the id has rows of adapters here and in the copy."""
    shared: list[LiteralString] = [table for table in SESSION_TABLES if copy.stored[table]]
    return any([await stored_rows(place, table, copy.session_id) for table in shared])


async def _check_kept(place: Place, copy: CheckedCopy) -> None:
    """Refuse a copy with kept totals when entries of the same session are stored here: nobody can know which entries both have
    counted.
    """
    for table in KEPT:
        here = await stored_rows(place, table, copy.session_id)
        if here and here != copy.stored[table]:
            raise InvalidArgumentError(
                f"usage of session {copy.session_id!r} is here already, and some of its entries were deleted with their totals kept; "
                "replace the session with its usage, or delete that usage first"
            )


async def _versions(db: Database, session_id: str) -> tuple[int, int]:
    [[row]] = await batch_with_retry(db, [Statement(import_sql.VERSIONS, (session_id,))])
    version, past = cast("list[int]", row)
    return version, past


async def _show(place: Place, copy: CheckedCopy, staged: _Staged, *, replace: bool) -> None:
    if copy.is_session:
        await _show_session(place, copy, staged, replace=replace)
        return
    gone = [Statement(sql, (copy.session_id,)) for sql in import_sql.DELETE_SESSION_TABLES] if replace else []
    guard, *accounts = store_accounts(copy.session_id, staged.accounts, staged.name, is_replaced=False)
    own = [*_adapters(copy), *_fence(copy)]
    if place.homes is None:
        await _run(place.accounts, [guard, *gone, *accounts, *own])
        return
    await _run(place.accounts, [guard, *(each for each in gone if each.sql == DELETE_TASKS), *accounts])
    if gone or own:
        await _run(place.sessions(copy.session_id), [*gone, *own])


async def _run(database: Database, statements: list[Statement]) -> None:
    """Run a batch that may be a repetition of one whose reply was lost."""
    try:
        await batch_with_retry(database, statements)
    except SqlError as error:
        if error.guard is None or error.guard["fault"] != "shown":
            raise


async def _show_session(place: Place, copy: CheckedCopy, staged: _Staged, *, replace: bool) -> None:
    """Run the transaction that replaces the old session by the new one. If somebody wrote to the old session meanwhile, run it again."""
    sessions = place.sessions(copy.session_id)
    for _ in range(_ATTEMPTS):
        version, past = await _versions(sessions, copy.session_id)
        if version and not replace:
            raise SessionExistsError(copy.session_id)
        accounts = _accounts(place, copy, staged, replace=replace)
        try:
            await _run(sessions, _showing(copy, staged.session, version, max(version, past), accounts, replace=replace))
        except SqlError as error:
            fault = None if error.guard is None else error.guard["fault"]
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


def _accounts(place: Place, copy: CheckedCopy, staged: _Staged, *, replace: bool) -> list[Statement]:
    """Return the statements of the session's transaction that store its usage and its tasks, or have them stored by the home."""
    if place.homes is None:
        return store_accounts(copy.session_id, staged.accounts, staged.name, is_replaced=replace)[1:]
    return [place.homes.letter_of_copy(copy.session_id, staged.accounts, staged.name, is_replaced=replace)]


def _showing(
    copy: CheckedCopy, number: int, version: int, above: int, accounts: list[Statement], *, replace: bool
) -> list[Statement]:
    session_id = copy.session_id
    rows = sum(len(copy.stored[table]) for table in HIDDEN)
    [state] = copy.stored["__agents_states"]
    shown = {**state, "session_no": number}
    if above:  # a caller that loaded the old session now finds another version
        shown["version"] = max(cast("int", state["version"]), above + 1)
    return [
        Statement(import_sql.GUARD, (session_id, number, version, len(copy.messages), rows)),
        *(Statement(sql, (session_id,)) for sql in (import_sql.DELETIONS if replace else ())),
        *accounts,
        insert("__agents_states", shown),
        *_adapters(copy),
        *_fence(copy),
    ]


def _adapters(copy: CheckedCopy) -> list[Statement]:
    return [insert(table, row) for table in _ADAPTERS for row in copy.stored[table]]


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
