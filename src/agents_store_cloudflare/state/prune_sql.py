"""The SQL that prunes checkpoints: old ones are deleted, or hidden while a newer one needs their custom state."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.state.commit_sql import session_update
from agents_store_cloudflare.state.numbering import FIRST_KEY, LAST_KEY

__all__ = ["DELETE_PRUNED", "HIDE_PRUNED", "PRUNE_CHECKPOINTS"]


def _judged(keep: LiteralString, before: LiteralString) -> LiteralString:
    """Return the SQL that judges the checkpoints of session ?1.

    A checkpoint stays when it is among the `keep` newest, or was kept at the time `before` or later. Otherwise it is pruned.
    """
    return f"""
      SELECT
        c.id,
        c.base_id,
        c.pruned,
        c.pruned = 0
          AND row_number() OVER (PARTITION BY c.pruned ORDER BY c.id DESC) > {keep}
          AND ({before} IS NULL OR c.timestamp < {before}) AS goes
      FROM __agents_states AS s
      JOIN __agents_checkpoints AS c
        ON c.id BETWEEN {FIRST_KEY} AND {LAST_KEY}
      WHERE s.session_id = ?1"""


# ?6 how many of the newest stay, ?7 a time (milliseconds) from which on all stay, or NULL. The result is the number of pruned
# checkpoints. This statement and the next two read all checkpoints of the session.
PRUNE_CHECKPOINTS: LiteralString = session_update(
    version="version",
    result=f"coalesce(json(?5), (SELECT count(*) FROM ({_judged('?6', '?7')}) AS judged WHERE judged.goes))",
)

# ?1 session id, ?2 and ?3 as ?6 and ?7 above. Deletes the pruned checkpoints. A checkpoint that holds the custom state of a
# checkpoint that stays is not deleted.
DELETE_PRUNED: LiteralString = f"""
    WITH judged AS ({_judged("?2", "?3")}
    )
    DELETE FROM __agents_checkpoints
    WHERE id IN (
      SELECT id
      FROM judged
      WHERE (goes OR pruned = 1)
        AND id NOT IN (SELECT base_id FROM judged WHERE NOT goes AND pruned = 0 AND base_id IS NOT NULL)
    )
"""

# The same parameters. Hides the pruned checkpoints that were not deleted, because they hold the custom state of a checkpoint that
# stays.
HIDE_PRUNED: LiteralString = f"""
    WITH judged AS ({_judged("?2", "?3")}
    )
    UPDATE __agents_checkpoints
    SET pruned = 1
    WHERE id IN (SELECT id FROM judged WHERE goes)
"""
