"""The findings of `doctor`, each with its remedy. To check one more thing, add a row here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, LiteralString

from agents_store_cloudflare.command import doctor_sql
from agents_store_cloudflare.state.numbering import KEYS_PER_SESSION

__all__ = ["COUNTS", "EXAMPLES", "LISTS", "Count", "Finding", "Listing"]

EXAMPLES = 5
"""The number of examples that a finding names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding about a database.

    Attributes:
        level: "problem" (the database is damaged) or "note" (it is not damaged, but there is work to do).
        check: a stable name for programs.
        about: the first few sessions or rows that it concerns.
        remedy: the advice.
    """

    level: Literal["problem", "note"]
    check: str
    text: str
    about: tuple[str, ...] = ()
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A statement that returns a row for each problem. ?1 is the most rows."""

    check: str
    sql: LiteralString
    text: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A statement that returns one number; a number above 0 is a note. With `takes_now`, ?1 is the time."""

    check: str
    sql: LiteralString
    takes_now: bool = False
    text: str
    remedy: str


_REBUILD = "only the session's agent knows its messages: export the session, then replace_messages, or delete_session"

LISTS: tuple[Listing, ...] = (
    Listing(
        check="unnumbered_sessions",
        sql=doctor_sql.UNNUMBERED,
        text="sessions without a number, so that they can have no messages, checkpoints or runs",
        remedy="somebody inserted them without the trigger __agents_numbered: insert them again with it in place",
    ),
    Listing(
        check="blocks_without_session",
        sql=doctor_sql.BLOCKS_ALONE,
        text="messages of sessions that do not exist",
        remedy=f"they take space, no more: DELETE FROM __agents_message_blocks WHERE id / {KEYS_PER_SESSION} NOT IN "  # noqa: S608 - constants alone
        "(SELECT session_no FROM __agents_states WHERE session_no IS NOT NULL)",
    ),
    Listing(
        check="checkpoints_without_session",
        sql=doctor_sql.CHECKPOINTS_ALONE,
        text="checkpoints of sessions that do not exist",
        remedy=f"they take space, no more: DELETE FROM __agents_checkpoints WHERE id / {KEYS_PER_SESSION} NOT IN "  # noqa: S608 - constants alone
        "(SELECT session_no FROM __agents_states WHERE session_no IS NOT NULL)",
    ),
    Listing(
        check="parts_without_session",
        sql=doctor_sql.PARTS_ALONE,
        text="staged changes, runs or references of sessions that do not exist",
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
        text="sessions whose count of messages differs from the stored messages",
        remedy=_REBUILD,
    ),
    Listing(
        check="message_texts",
        sql=doctor_sql.BLOCK_LINES,
        text="blocks of messages whose count differs from their content, or whose content is no JSON",
        remedy=_REBUILD,
    ),
    Listing(
        check="checkpoints_above_messages",
        sql=doctor_sql.CHECKPOINTS_ABOVE,
        text="checkpoints that count messages that do not exist",
        remedy="restoring them gives fewer messages; truncate_messages with drop_checkpoints=True drops them",
    ),
    Listing(
        check="checkpoints_without_base",
        sql=doctor_sql.CHECKPOINTS_WITHOUT_BASE,
        text="checkpoints whose custom state is lost, because another checkpoint held it",
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
        text="fencing marks of sessions that do not exist",
        remedy="nothing to do: they keep out late writers of deleted sessions",
    ),
    Count(
        check="usage_without_session",
        sql=doctor_sql.USAGE_ALONE,
        text="usage entries of sessions that do not exist",
        remedy="nothing, to keep their cost; otherwise usage_store.delete or delete_old_entries",
    ),
)
