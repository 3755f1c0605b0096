"""The summary of a session that followers get."""

from __future__ import annotations

from dataclasses import dataclass

from agents_store_cloudflare.contract.record import Record

__all__ = ["SessionSummary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary(Record):
    """A session as its followers see it. It has no messages: `get_messages(offset=…)` gives the ones that a follower lacks.

    Attributes:
        version: rises with each change of the session.
        updated_at: when the session was changed last (milliseconds since 1970).
    """

    session_id: str
    version: int
    status: str
    step_count: int
    message_count: int
    updated_at: int
