"""Databases that are filled once: each world begins with a copy of the image, which takes a tenth of the time of filling it."""

from __future__ import annotations

from typing import Any, cast

from agents_store_cloudflare.testing import SqliteDatabase

__all__ = ["copy_into", "copy_of"]


def copy_of(database: SqliteDatabase) -> SqliteDatabase:
    """Return a new database with the same content."""
    copy = SqliteDatabase()
    copy_into(database, copy)
    return copy


def copy_into(image: SqliteDatabase, database: SqliteDatabase) -> None:
    """Replace all that the database holds by the image.

    `Connection.deserialize` would be faster, but CPython 3.11 and 3.13 have crashed in connections that went on after it.
    """
    _connection(image).backup(_connection(database))


def _connection(database: SqliteDatabase) -> Any:
    """Return the private SQLite connection of the database."""
    return cast("Any", database)._connection._connection
