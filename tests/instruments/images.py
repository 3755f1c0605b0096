"""Databases that are filled once: each world begins with a copy of the image, which takes a tenth of the time of filling it."""

from __future__ import annotations

from typing import Any, cast

from agents_store_cloudflare.testing import SqliteDatabase

__all__ = ["image_of", "open_image"]


def image_of(database: SqliteDatabase) -> bytes:
    """Return all that the database holds now."""
    return cast("bytes", _connection(database).serialize())


def open_image(image: bytes) -> SqliteDatabase:
    """Return a new database with the same content."""
    database = SqliteDatabase()
    _connection(database).deserialize(image)
    return database


def _connection(database: SqliteDatabase) -> Any:
    """Return the private SQLite connection of the database."""
    return cast("Any", database)._connection._connection
