"""The SQL of budgets. Triggers of the migration add each reservation and settlement to all scopes around its scope."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.database.clock_sql import NOW_MS

__all__ = [
    "BUDGET_GUARD",
    "CLOCK_GUARD",
    "COUNT_OLD_SETTLEMENTS",
    "DELETE_EXPIRED",
    "DELETE_OLD_SETTLEMENTS",
    "DELETE_RESERVATION",
    "INSERT_RESERVATION",
    "INSERT_SETTLEMENT",
    "LIST_BUDGETS",
    "SELECT_BUDGET",
    "SELECT_ENDED",
    "SELECT_RESERVED",
    "SELECT_SETTLED",
    "UPSERT_BUDGET",
    "settlement_of_turn",
]


def _chain(budget: LiteralString) -> LiteralString:
    """Return the SQL of the chain of a budget: its scope and the scopes around it. A damaged chain is read as the triggers read it."""
    return f"CASE WHEN json_valid({budget}.chain) THEN {budget}.chain ELSE json_array({budget}.scope, {budget}.parent, {budget}.root) END"


# Aborts the batch when the scope cannot have this budget; writes nothing.
# ?1 scope, ?2 unit, ?3 parent or NULL, ?4 most scopes in a chain, ?5 the cap that the caller expects or NULL, ?6 the new cap -> one row
# (NULL). A cap that is the new one already is no fault: the batch may have been repeated. Primary keys.
BUDGET_GUARD: LiteralString = """
    WITH judged AS (
      SELECT
        CASE
          WHEN own.unit <> ?2 THEN 'unit'
          WHEN own.scope IS NOT NULL AND own.parent IS NOT ?3 THEN 'parent'
          WHEN ?3 IS NOT NULL AND around.scope IS NULL THEN 'no parent'
          WHEN around.unit <> ?2 THEN 'unit of the parent'
          WHEN json_array_length(around.chain) >= ?4 THEN 'depth'
          WHEN ?5 IS NOT NULL AND coalesce(own.cap NOT IN (?5, ?6), true) THEN 'cap'
        END AS fault,
        coalesce(own.unit, around.unit) AS unit
      FROM (SELECT ?1 AS scope) AS wanted
      LEFT JOIN __agents_budgets AS own ON own.scope = wanted.scope
      LEFT JOIN __agents_budgets AS around ON around.scope = ?3
    )
    SELECT
      CASE WHEN fault IS NOT NULL THEN json_extract('{}', 'agents-store ' || json_object('fault', fault, 'unit', unit)) END AS verdict
    FROM judged
"""

# ?1 scope, ?2 unit, ?3 parent or NULL, ?4 cap. Primary keys.
UPSERT_BUDGET: LiteralString = """
    INSERT INTO __agents_budgets (scope, unit, cap, parent, root, chain)
    SELECT
      ?1,
      ?2,
      ?4,
      ?3,
      coalesce(around.root, ?1),
      CASE WHEN around.scope IS NULL THEN json_array(?1) ELSE '[' || json_quote(?1) || ',' || substr(around.chain, 2) END
    FROM (SELECT ?3 AS scope) AS wanted
    LEFT JOIN __agents_budgets AS around ON around.scope = wanted.scope
    WHERE true
    ON CONFLICT (scope) DO UPDATE SET cap = excluded.cap
"""

# -> (scope, unit, cap, parent, reserved, settled, overruns) with numbers as text. Expired reservations do not count. Primary keys.
_BUDGET: LiteralString = f"""
    SELECT
      own.scope,
      own.unit,
      CAST(own.cap AS TEXT),
      own.parent,
      CAST(CASE typeof(own.reserved) WHEN 'integer' THEN own.reserved - coalesce((
        SELECT sum(r.amount)
        FROM __agents_reservations AS r
        JOIN __agents_budgets AS theirs ON theirs.scope = r.scope
        WHERE r.root = own.root
          AND r.expires_at <= {NOW_MS}
          AND own.scope IN (SELECT value FROM json_each({_chain("theirs")}))
      ), 0) ELSE own.reserved END AS TEXT),
      CAST(own.settled AS TEXT),
      own.overruns
    FROM __agents_budgets AS own
"""

# ?1 scope -> the columns of _BUDGET, or no row
SELECT_BUDGET: LiteralString = (
    _BUDGET
    + """
    WHERE own.scope = ?1
    """
)

# ?1 a scope or NULL -> the columns of _BUDGET, for all scopes, or for all scopes in the tree of ?1. The scopes of a tree
# stand together, its outermost scope first. Reads the whole table: for an operator's call.
LIST_BUDGETS: LiteralString = (
    _BUDGET
    + """
    WHERE ?1 IS NULL OR own.root = (SELECT root FROM __agents_budgets WHERE scope = ?1)
    ORDER BY own.root, own.scope <> own.root, own.scope
    """
)

# Aborts the batch when the Worker's clock is wrong: fault "clock", with the time of the database. The reservation of a Worker that is
# behind would be over too early, and that of a Worker that is ahead too late. Five seconds and half of the reservation's time are allowed,
# whichever is less. It passes when the reservation is stored already; writes nothing.
# ?1 scope, ?2 expires at, ?3 id, ?4 the Worker's time, or NULL when the database has said its time -> (NULL). Primary keys.
CLOCK_GUARD: LiteralString = f"""
    SELECT
      CASE
        WHEN abs(?4 - clock.now) > min(5000, (?2 - ?4) / 2)
          AND NOT EXISTS (
            SELECT 1
            FROM __agents_budgets AS own
            JOIN __agents_reservations AS r ON r.root = own.root AND r.expires_at = ?2 AND r.id = ?3
            WHERE own.scope = ?1
          )
        THEN json_extract('{{}}', 'agents-store ' || json_object('fault', 'clock', 'now', clock.now))
      END AS verdict
    FROM (SELECT {NOW_MS} AS now) AS clock
"""

# ?1 scope. Gives back the expired reservations of the whole tree of the scope. Primary key.
DELETE_EXPIRED: LiteralString = f"""
    DELETE FROM __agents_reservations
    WHERE root = (SELECT root FROM __agents_budgets WHERE scope = ?1)
      AND expires_at <= {NOW_MS}
"""

# Checks and reserves in one statement. It inserts no row when the amount does not fit under every cap of the chain.
# ?1 scope, ?2 expires at, ?3 id, ?4 amount. Primary keys.
INSERT_RESERVATION: LiteralString = f"""
    INSERT INTO __agents_reservations (root, expires_at, id, scope, amount)
    SELECT own.root, ?2, ?3, own.scope, ?4
    FROM __agents_budgets AS own
    WHERE own.scope = ?1
      AND NOT EXISTS (
        SELECT 1
        FROM json_each({_chain("own")}) AS link
        CROSS JOIN __agents_budgets AS b ON b.scope = link.value
        WHERE b.settled + b.reserved + CAST(?4 AS INTEGER) > b.cap
      )
    ON CONFLICT DO NOTHING
"""

# ?1 scope, ?2 expires at, ?3 id -> (1 when it is reserved, else 0), or no row when there is no budget. Primary keys.
SELECT_RESERVED: LiteralString = """
    SELECT EXISTS (SELECT 1 FROM __agents_reservations AS r WHERE r.root = own.root AND r.expires_at = ?2 AND r.id = ?3) AS reserved
    FROM __agents_budgets AS own
    WHERE own.scope = ?1
"""

# ?1 scope, ?2 expires at, ?3 id -> (1 when its time was not over) when there was a reservation to give back, or no row. Primary key.
DELETE_RESERVATION: LiteralString = f"""
    DELETE FROM __agents_reservations
    WHERE root = (SELECT root FROM __agents_budgets WHERE scope = ?1)
      AND expires_at = ?2
      AND id = ?3
    RETURNING expires_at > {NOW_MS} AS released
"""

# ?1 scope, ?2 expires at, ?3 id, ?4 amount, ?5 actual, ?6 now. Primary keys.
INSERT_SETTLEMENT: LiteralString = """
    INSERT INTO __agents_settlements (id, root, expires_at, scope, amount, actual, settled_at)
    SELECT ?3, own.root, ?2, own.scope, ?4, ?5, ?6
    FROM __agents_budgets AS own
    WHERE own.scope = ?1
    ON CONFLICT (id) DO NOTHING
"""


def settlement_of_turn(given: LiteralString) -> LiteralString:
    """Return the SQL that settles the reservation of a turn, once. It never aborts the batch, because a turn has to end.

    If the settled sum of a scope in the chain would pass 2^53 - 1, the settlement fills the scope and counts no more. If another program
    has damaged a sum of the chain, nothing is settled, and the reservation ends by its time. Primary keys.

    Args:
        given: a SELECT of one row, or of none: scope, expires at, id, amount, actual, now.
    """
    return f"""
    INSERT INTO __agents_settlements (id, root, expires_at, scope, amount, actual, settled_at)
    WITH given (scope, expires_at, id, amount, actual, settled_at) AS ({given}),
    judged AS MATERIALIZED (
      SELECT
        given.*,
        own.root,
        (
          SELECT CASE WHEN min(typeof(b.settled) = 'integer') THEN 9007199254740991 - max(b.settled) END
          FROM json_each({_chain("own")}) AS link
          CROSS JOIN __agents_budgets AS b ON b.scope = link.value
        ) AS room
      FROM given
      JOIN __agents_budgets AS own ON own.scope = given.scope
    )
    SELECT id, root, expires_at, scope, amount, min(CAST(actual AS INTEGER), room), settled_at
    FROM judged
    WHERE room >= 0
    ON CONFLICT (id) DO NOTHING
    """


# ?1 id, ?2 expires at -> (1) when the reservation is settled or its time is over, or no row. Primary key.
SELECT_ENDED: LiteralString = f"""
    SELECT 1 AS ended
    WHERE ?2 <= {NOW_MS}
      OR EXISTS (SELECT 1 FROM __agents_settlements WHERE id = ?1)
"""

# ?1 id -> (id, scope, amount, actual, settled at), or no row. Primary key.
SELECT_SETTLED: LiteralString = """
    SELECT id, scope, amount, actual, settled_at
    FROM __agents_settlements
    WHERE id = ?1
"""

# ?1 time -> (number of settlements before it). Reads the whole table: for an operator's call.
COUNT_OLD_SETTLEMENTS: LiteralString = """
    SELECT count(*) AS settlements
    FROM __agents_settlements
    WHERE settled_at < ?1
"""

# ?1 time. Deletes the settlements before it -> a row for each. Reads the whole table: for an operator's call.
DELETE_OLD_SETTLEMENTS: LiteralString = """
    DELETE FROM __agents_settlements
    WHERE settled_at < ?1
    RETURNING 1 AS deleted
"""
