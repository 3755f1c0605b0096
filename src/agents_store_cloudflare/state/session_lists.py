"""The checked arguments of `list_sessions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agents_store_cloudflare.contract.arguments import (
    MAX_ID_BYTES,
    MAX_LABEL_BYTES,
    check_id,
    check_text,
    check_whole_number,
)
from agents_store_cloudflare.state.cursors import number_of
from agents_store_cloudflare.state.stored_text import stored_text

__all__ = ["MAX_PAGE", "ListedSessions"]

MAX_PAGE: Final = 1_000

_LAST_CHARACTER: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSessions:
    """A page of sessions to read.

    Attributes:
        below: only sessions with a lower number.
        limit: the most sessions.
        prefix: only sessions whose ids begin with it, or None.
        agent_type: only sessions of this agent type, in its stored form, or None.
        status: only sessions with this status, in its stored form, or None.
        parent_session_id: only children of this session, or None.
    """

    below: int
    limit: int
    prefix: str | None
    agent_type: str | None
    status: str | None
    parent_session_id: str | None

    @classmethod
    def of(
        cls,
        *,
        prefix: str | None,
        agent_type: str | None,
        status: str | None,
        parent_session_id: str | None,
        limit: int,
        cursor: str | None,
    ) -> ListedSessions:
        """Check the arguments of `list_sessions`.

        Raises:
            TypeError: an argument has a wrong type; the message names it.
            InvalidArgumentError: an argument breaks a rule; the message names it.
        """
        for name, value in (("agent_type", agent_type), ("status", status)):
            if value is not None:
                check_text(value, name, max_bytes=MAX_LABEL_BYTES)
        if parent_session_id is not None:
            check_id(parent_session_id, "parent_session_id")
        check_whole_number(limit, "limit", low=1, high=MAX_PAGE)
        if prefix is not None:
            check_text(prefix, "prefix", empty=True, max_bytes=MAX_ID_BYTES)
        return cls(
            below=number_of(cursor, "sessions"),
            limit=limit,
            prefix=prefix or None,
            agent_type=stored_text(agent_type),
            status=stored_text(status),
            parent_session_id=parent_session_id,
        )

    @property
    def after_prefix(self) -> str:
        """The first text, in the order of UTF-8 bytes, after all texts with the prefix."""
        kept = (self.prefix or "").rstrip(_LAST_CHARACTER)
        if not kept:
            return _LAST_CHARACTER * (MAX_ID_BYTES // 4 + 1)
        last = ord(kept[-1])
        return kept[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)  # no surrogates
