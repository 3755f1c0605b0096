"""Databases that are filled once: each world begins with a copy of the image, which takes a tenth of the time of filling it."""

from __future__ import annotations

from agents_store_cloudflare.testing import SqliteDatabase

__all__ = ["image_of", "open_image"]


def image_of(database: SqliteDatabase) -> bytes:
    """Return all that the database holds now."""
    return database._connection._connection.serialize()  # pyright: ignore[reportPrivateUsage]


def open_image(image: bytes) -> SqliteDatabase:
    """Return a database of its own that holds the same."""
    database = SqliteDatabase()
    database._connection._connection.deserialize(image)  # pyright: ignore[reportPrivateUsage]
    return database
