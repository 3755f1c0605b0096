"""Databases that are filled once: each world begins with a copy of the image, which takes a tenth of the time of filling it."""

from __future__ import annotations

from typing import Any, cast

from agents_store_cloudflare.testing import SqliteDatabase

__all__ = ["image_of", "open_image"]


def image_of(database: SqliteDatabase) -> bytes:
    """Return all that the database holds now."""
    return cast("bytes", _connection(database).serialize())


def open_image(image: bytes) -> SqliteDatabase:
    """Return a database of its own that holds the same."""
    database = SqliteDatabase()
    _connection(database).deserialize(image)
    return database


def _connection(database: SqliteDatabase) -> Any:
    """Return the connection to SQLite, which the database keeps to itself."""
    return cast("Any", database)._connection._connection
