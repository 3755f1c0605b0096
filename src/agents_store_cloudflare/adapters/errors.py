"""The errors of several adapters."""

from __future__ import annotations

from agents_store_cloudflare.contract.errors import D1StateError

__all__ = ["ForeignValueError"]


class ForeignValueError(D1StateError):
    """A value cannot be stored, or a stored value cannot be read. Nothing was written, and stored values stay unchanged.

    The reason is a class that is not allowed or no longer exists, or a row that another program or a newer version has written.
    """

    code = "foreign_value"
    http_status = 422
