"""What several adapters raise beside the store's own errors."""

from __future__ import annotations

from agents_store_cloudflare.contract.errors import D1StateError

__all__ = ["ForeignValueError"]


class ForeignValueError(D1StateError):
    """A value cannot be stored, or a stored one cannot be read. Nothing was written, and stored values stay.

    Values of classes that are not allowed, or are gone; rows that another program wrote; rows of a newer version.
    """

    code = "foreign_value"
    http_status = 422
