"""The SQL of the usage pages."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.usage.amounts_sql import EXACT, UNREADABLE, readable

__all__ = ["LIST_BUDGETS", "TENANT_TOTALS"]


def _sum(counter: LiteralString) -> LiteralString:
    """Return the SQL of the sum of one counter. A value that is none, which only another program writes, adds nothing."""
    value: LiteralString = f"t.amounts ->> '$.{counter}'"
    return f"sum(CASE WHEN {value} {EXACT} THEN {value} ELSE 0 END)"


# ?1 the session id after which the list begins, ?2 prefix of the ids, ?3 the first text after all texts with that prefix, ?4 the
# text that ends a tenant's name, ?5 most rows -> for each tenant: (name, rows, last session id, sums …). A tenant is the text of a
# session id up to the first ?4, or the whole id, so that its sessions are neighbours. Primary key: reads at most ?5 rows of the
# totals by session.
TENANT_TOTALS: LiteralString = f"""
    SELECT
      CASE instr(t.session_id, ?4)
        WHEN 0 THEN t.session_id
        ELSE substr(t.session_id, 1, instr(t.session_id, ?4) + length(?4) - 1)
      END AS tenant,
      count(*) AS row_count,
      max(t.session_id) AS last_id,
      {_sum("entries")} AS entries,
      {_sum("calls")} AS calls,
      {_sum("failed")} AS failed,
      {_sum("prompt")} AS prompt,
      {_sum("promptHigh")} AS prompt_high,
      {_sum("completion")} AS completion,
      {_sum("completionHigh")} AS completion_high,
      {_sum("costMicros")} AS cost,
      {_sum("costMicrosHigh")} AS cost_high,
      {_sum("unpriced")} AS unpriced,
      {_sum("unreadable")} AS unreadable
    FROM (
      SELECT session_id, {readable("amounts", UNREADABLE)} AS amounts
      FROM __agents_usage_by_session
      WHERE session_id > ?1
        AND session_id >= ?2
        AND session_id < ?3
      ORDER BY session_id
      LIMIT ?5
    ) AS t
    GROUP BY tenant
    ORDER BY last_id
"""

# ?1 the scope after which the list begins, ?2 most rows -> (scope, unit, cap, parent, reserved, settled, overruns), numbers as
# text. Reservations that have expired count until somebody reserves. Primary key.
LIST_BUDGETS: LiteralString = """
    SELECT
      scope, unit, CAST(cap AS TEXT) AS cap_text, parent, CAST(reserved AS TEXT) AS reserved_text,
      CAST(settled AS TEXT) AS settled_text, overruns
    FROM __agents_budgets
    WHERE scope > ?1
    ORDER BY scope
    LIMIT ?2
"""
