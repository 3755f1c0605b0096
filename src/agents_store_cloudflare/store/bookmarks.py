"""Bookmarks: texts that name a point in the history of a D1 database, for its read replicas."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.database import Database, DatabaseSession, HasSessions, Row, Statement, primary_of
from agents_store_cloudflare.state.batches import has_writes

__all__ = ["AdaptersDatabase", "check_bookmark", "session_of"]

MOST_CHARACTERS: Final = 200
BEGINNINGS: Final = ("first-primary", "first-unconstrained")
_BOOKMARK = re.compile(r"[0-9a-f]+(-[0-9a-f]+){3}", re.ASCII)


def check_bookmark(bookmark: object) -> str:
    """Return a bookmark from a client after checking it. The platform accepts any text, and then may show an older state.

    Raises:
        TypeError: it is not text.
        InvalidArgumentError: it is not a bookmark.
    """
    if not isinstance(bookmark, str):
        raise TypeError(f"bookmark must be text, not {type(bookmark).__name__}")
    if bookmark in BEGINNINGS:
        return bookmark
    if len(bookmark) > MOST_CHARACTERS or _BOOKMARK.fullmatch(bookmark) is None:
        raise InvalidArgumentError(
            "bookmark must be the store.bookmark of an earlier request (four groups of hexadecimal digits), "
            '"first-primary" or "first-unconstrained"'
        )
    return bookmark


def session_of(database: Database, bookmark: object) -> DatabaseSession:
    """Return a session of the database.

    Raises:
        TypeError, InvalidArgumentError: the bookmark is not valid, or the database has no sessions.
    """
    checked = check_bookmark(bookmark)
    if not isinstance(database, HasSessions):
        raise InvalidArgumentError("bookmark= needs a D1 binding: this database has no sessions")
    return database.session(checked)


class AdaptersDatabase:
    """The database of a store with a bookmark, for the adapters of frameworks.

    An adapter's reads may decide about its writes, so the primary database answers them. Its writes belong to the store's session:
    the store sees them, and its bookmark covers them.

    Args:
        session: the session of the store.
    """

    def __init__(self, session: Database) -> None:
        self._session = session

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run the statements as one transaction."""
        place = self._session if has_writes(statements) else primary_of(self._session)
        return await place.batch(statements)
