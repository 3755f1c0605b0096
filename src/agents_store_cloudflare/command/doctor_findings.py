"""What `doctor` can find, and what to do about it. To look for one more thing, add a row here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, LiteralString

from agents_store_cloudflare.command import doctor_sql
from agents_store_cloudflare.state.numbering import KEYS_PER_SESSION

__all__ = ["COUNTS", "EXAMPLES", "LISTS", "Count", "Finding", "Listing"]

EXAMPLES = 5
"""How many of a kind are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a person should know.

    Attributes:
        level: "problem" (the database is not as it should be) or "note" (it is, but there is something to do).
        check: a stable name for programs.
        about: what it was found at, the first few.
        remedy: what to do.
    """

    level: Literal["problem", "note"]
    check: str
    text: str
    about: tuple[str, ...] = ()
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A statement whose every row is a problem; ?1 is the most rows."""

    check: str
    sql: LiteralString
    text: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A statement whose one number is worth a note when it is not 0. `takes_now`: ?1 is the time."""

    check: str
    sql: LiteralString
    takes_now: bool = False
    text: str
    remedy: str


_REBUILD = (
    "what the session's messages should be only its agent knows: export it, then replace_messages, or delete_session"
)

LISTS: tuple[Listing, ...] = (
    Listing(
        check="unnumbered_sessions",
        sql=doctor_sql.UNNUMBERED,
        text="sessions without a number, so that nothing can hang on them",
        remedy="somebody inserted them without the trigger __agents_numbered: insert them again with it in place",
    ),
    Listing(
        check="bad_json",
        sql=doctor_sql.BAD_JSON,
        text="sessions with columns that are no JSON; load_state fails on them",
        remedy="somebody wrote them by hand: set custom_state, output, details or commits to JSON, or delete the session",
    ),
    Listing(
        check="blocks_without_session",
        sql=doctor_sql.BLOCKS_ALONE,
        text="messages of sessions that are not there",
        remedy=f"they take space, no more: DELETE FROM __agents_message_blocks WHERE id / {KEYS_PER_SESSION} NOT IN "  # noqa: S608 - constants alone
        "(SELECT session_no FROM __agents_states WHERE session_no IS NOT NULL)",
    ),
    Listing(
        check="checkpoints_without_session",
        sql=doctor_sql.CHECKPOINTS_ALONE,
        text="checkpoints of sessions that are not there",
        remedy=f"they take space, no more: DELETE FROM __agents_checkpoints WHERE id / {KEYS_PER_SESSION} NOT IN "  # noqa: S608 - constants alone
        "(SELECT session_no FROM __agents_states WHERE session_no IS NOT NULL)",
    ),
    Listing(
        check="parts_without_session",
        sql=doctor_sql.PARTS_ALONE,
        text="staged changes, runs or references of sessions that are not there",
        remedy="sessions were deleted without the trigger __agents_session_deleted: delete the rows of these session_no in "
        "__agents_staged_changes, "
        "__agents_runs, __agents_sub_sessions",
    ),
    Listing(
        check="message_gaps",
        sql=doctor_sql.BLOCK_GAPS,
        text="histories with gaps or overlaps",
        remedy=_REBUILD,
    ),
    Listing(
        check="message_counts",
        sql=doctor_sql.BLOCK_ENDS,
        text="sessions that count other than the messages they have",
        remedy=_REBUILD,
    ),
    Listing(
        check="message_texts",
        sql=doctor_sql.BLOCK_LINES,
        text="blocks of messages that hold other than they count, or no JSON",
        remedy=_REBUILD,
    ),
    Listing(
        check="checkpoints_above_messages",
        sql=doctor_sql.CHECKPOINTS_ABOVE,
        text="checkpoints that count messages which are not there",
        remedy="restoring them gives fewer messages; truncate_messages with drop_checkpoints=True drops them",
    ),
    Listing(
        check="checkpoints_without_base",
        sql=doctor_sql.CHECKPOINTS_WITHOUT_BASE,
        text="checkpoints whose custom state is lost with the one they share it with",
        remedy="bring the database back with D1 Time Travel, or prune them",
    ),
)

COUNTS: tuple[Count, ...] = (
    Count(
        check="expired_sessions",
        sql=doctor_sql.EXPIRED,
        takes_now=True,
        text="expired sessions wait for cleanup_expired_sessions",
        remedy="call it from a scheduled handler, as examples/scheduled_cleanup does",
    ),
    Count(
        check="fences_without_session",
        sql=doctor_sql.FENCES_ALONE,
        text="fencing marks of sessions that are not there",
        remedy="nothing: they keep a late writer of a deleted session out",
    ),
    Count(
        check="usage_without_session",
        sql=doctor_sql.USAGE_ALONE,
        text="usage entries of sessions that are not there",
        remedy="nothing, if their cost is still to be known; else usage_store.delete or delete_old_entries",
    ),
)
