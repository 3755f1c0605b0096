"""The fence of a session for tables of an adapter. One lock covers the session and the adapter's rows of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, LiteralString, TypeAlias

from agents_store_cloudflare.contract.errors import D1StateError, StaleFencingTokenError
from agents_store_cloudflare.database import Homes, Row, SqlError, Statement, batch_with_retry
from agents_store_cloudflare.state.commit_sql import RAISE_FENCE
from agents_store_cloudflare.state.guard import Facts

__all__ = ["CHECK_FENCE", "Faults", "fence_statements", "fenced_batch"]

Faults: TypeAlias = "Mapping[str, Callable[[Facts], Exception]]"
"""A `fault` that a guard of the batch can name -> its error, made from the guard's facts."""

# ?1 session id, ?2 fencing token: aborts the batch when a higher token has been seen. Writes nothing. Primary key.
CHECK_FENCE: Final[LiteralString] = """
    SELECT
      CASE WHEN token > ?2 THEN json_extract('{}', 'agents-store ' || json_object(
        'fault', 'fence',
        'token', token
      )) END AS verdict
    FROM __agents_fences
    WHERE session_id = ?1
"""


def fence_statements(session_id: str, token: int | None) -> list[Statement]:
    """Return the first statements of a batch that an old holder of the lock must not send.

    The first statement aborts the batch when a higher token has been seen. The second one raises the session's fence; it writes a row
    only when the token rises.

    Args:
        session_id: the lock's key.
        token: the fencing token of the lock, as `contract.arguments.check_fencing_token` returns it. None gives no statement.
    """
    if token is None:
        return []
    return [Statement(CHECK_FENCE, (session_id, token)), Statement(RAISE_FENCE, (session_id, token))]


async def fenced_batch(
    homes: Homes,
    operation: str,
    session_id: str,
    statements: Sequence[Statement],
    *,
    token: int | None = None,
    faults: Faults | None = None,
) -> list[list[Row]]:
    """Send statements behind the session's fence, as one transaction in the database of the session.

    The batch is sent again after a lost reply, so a second run of the statements must change nothing.

    Args:
        operation: the name of the call, for errors.
        token: the fencing token, checked; None for a write without a fence.
        faults: the errors of guards among the statements.

    Raises:
        StaleFencingTokenError: a higher token has been seen; nothing was written.
        D1StateError: the database failed.
    """
    fence = fence_statements(session_id, token)
    try:
        results = await batch_with_retry(homes.of(session_id), [*fence, *statements])
    except SqlError as error:
        if error.guard is not None:
            raise _refusal(operation, session_id, token, error.guard, faults or {}) from None
        hint = "; `await store.migrate()` or `run_migration(db)` makes the tables" if error.is_missing_table() else ""
        raise D1StateError(
            f"{operation} of session {session_id!r} failed: {error}{hint}", outcome_unknown=error.outcome_unknown
        ) from error
    return results[len(fence) :]


def _refusal(operation: str, session_id: str, token: int | None, facts: Facts, faults: Faults) -> Exception:
    fault = facts["fault"]
    if fault == "fence":
        return StaleFencingTokenError(session_id, expected=facts.get("token") or 0, actual=token or 0)
    if make := faults.get(fault):
        return make(facts)
    return D1StateError(f"a condition of {operation} did not hold in session {session_id!r}, nothing was written")
