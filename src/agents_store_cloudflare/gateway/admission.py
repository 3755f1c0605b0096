"""Permissions: the user's `authorize` decides what a request may do with a stream. Any result except `True` denies."""

from __future__ import annotations

import inspect
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias

__all__ = ["Admission", "Authorize", "StreamAction"]

StreamAction: TypeAlias = Literal["read", "append", "create", "delete", "fork", "follow"]
"""What a request wants to do with a stream, or, as `follow`, with a session. The gateway's own routes only read."""

Authorize: TypeAlias = Callable[[Any, str, StreamAction], "bool | Awaitable[bool]"]
"""`authorize(request, stream_id, action)`, sync or async. It gets the same request object as `handle`."""


class Admission:
    """Asks `authorize`. Only `True` admits; any other value denies, and so does an exception."""

    def __init__(self, authorize: Authorize, logger: logging.Logger) -> None:
        if not callable(authorize):
            raise TypeError("authorize must be callable: authorize(request, stream_id, action) -> bool")
        self._authorize = authorize
        self._logger = logger

    async def admits(
        self, request: object, stream_id: str, action: StreamAction, *, source_id: str | None = None
    ) -> bool:
        """Return whether the request may do this. A fork also needs `read` of its source."""
        if not await self._says_yes(request, stream_id, action):
            return False
        return source_id is None or await self._says_yes(request, source_id, "read")

    async def _says_yes(self, request: object, stream_id: str, action: StreamAction) -> bool:
        try:
            answer: object = self._authorize(request, stream_id, action)
            if inspect.isawaitable(answer):
                answer = await answer
        except Exception:
            self._logger.exception("authorize failed, so the request is denied: incident %s", secrets.token_hex(6))
            return False
        if answer is not True and answer:
            self._logger.warning(
                "authorize returned %s, which is not True, so the request is denied", type(answer).__name__
            )
        return answer is True
