"""The SQL of copies of budgets. One copy is one tree of scopes, named by its root.

Reservations and settlements are stored before their budgets, so that the triggers add nothing. Then the budgets are stored with the
sums of the copy.
"""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.state.numbering import first_key, last_key

__all__ = ["DELETE_TREE", "GUARD", "INSERT_TREE", "SELECT_EXISTING", "SELECT_ROOT", "SELECT_ROOTS", "SELECT_TREE"]

# ?1 scope -> (root of its tree), or no row. Primary key.
SELECT_ROOT: LiteralString = """
    SELECT root
    FROM __agents_budgets
    WHERE scope = ?1
"""

# ?1 root of the last tree seen, ?2 most rows -> (root). Primary key: an operator's call.
SELECT_ROOTS: LiteralString = """
    SELECT scope
    FROM __agents_budgets
    WHERE scope > ?1
      AND scope = root
    ORDER BY scope
    LIMIT ?2
"""

# ?1 root, ?2 most rows, ?3 rows to skip -> the columns of the table. Numbers are text, because they may be over 2^53. Reads whole
# tables, except for reservations: an operator's call.
SELECT_TREE: tuple[LiteralString, ...] = (
    """
    SELECT root, expires_at, id, scope, amount
    FROM __agents_reservations
    WHERE root = ?1
    ORDER BY expires_at, id
    LIMIT ?2 OFFSET ?3
""",
    """
    SELECT id, root, expires_at, scope, amount, actual, settled_at
    FROM __agents_settlements
    WHERE root = ?1
    ORDER BY id
    LIMIT ?2 OFFSET ?3
""",
    """
    SELECT
      scope, unit, CAST(cap AS TEXT) AS cap, parent, root, chain,
      CAST(reserved AS TEXT) AS reserved, CAST(settled AS TEXT) AS settled, overruns
    FROM __agents_budgets
    WHERE root = ?1
    ORDER BY scope
    LIMIT ?2 OFFSET ?3
""",
)

# ?1 JSON list of the copy's scopes, ?2 root, ?3 1 to replace the tree -> (a scope that stands in the way, or NULL). Primary key.
SELECT_EXISTING: LiteralString = """
    SELECT min(b.scope) AS scope
    FROM json_each(?1) AS given
    CROSS JOIN __agents_budgets AS b ON b.scope = given.value
    WHERE ?3 = 0
      OR b.root <> ?2
"""

# Aborts the batch unless the copy can become visible now. Writes nothing. ?1, ?2, ?3 as above, ?4 the second number of the import
# -> one row (NULL). Primary keys.
GUARD: LiteralString = f"""
    SELECT CASE WHEN fault IS NOT NULL THEN json_extract('{{}}', 'agents-store ' || json_object(
      'fault', fault, 'scope', scope
    )) END AS verdict
    FROM (
      SELECT
        CASE
          WHEN NOT EXISTS (SELECT 1 FROM __agents_message_blocks WHERE id = {first_key("?4")}) THEN 'shown'
          WHEN scope IS NOT NULL THEN 'exists'
        END AS fault,
        scope
      FROM ({SELECT_EXISTING})
    )
"""

# ?1 root. The budgets are deleted first, so that the triggers find none. Reads whole tables: an operator's call.
DELETE_TREE: tuple[LiteralString, ...] = (
    "DELETE FROM __agents_budgets WHERE root = ?1",
    "DELETE FROM __agents_reservations WHERE root = ?1",
    "DELETE FROM __agents_settlements WHERE root = ?1",
)

_STAGED: LiteralString = f"""FROM __agents_message_blocks AS staged
    JOIN json_each(staged.body) AS r
    WHERE staged.id BETWEEN {first_key("?1")} + 1 AND {last_key("?1")}"""

# ?1 the second number of the import. Stores the staged rows, kind by kind, the budgets last. Primary keys.
INSERT_TREE: tuple[LiteralString, ...] = (
    f"""
    INSERT INTO __agents_reservations (root, expires_at, id, scope, amount)
    SELECT r.value ->> 'root', r.value ->> 'expires_at', r.value ->> 'id', r.value ->> 'scope', r.value ->> 'amount'
    {_STAGED}
      AND staged.count = 1
    """,
    f"""
    INSERT INTO __agents_settlements (id, root, expires_at, scope, amount, actual, settled_at)
    SELECT
      r.value ->> 'id', r.value ->> 'root', r.value ->> 'expires_at', r.value ->> 'scope', r.value ->> 'amount',
      r.value ->> 'actual', r.value ->> 'settled_at'
    {_STAGED}
      AND staged.count = 2
    """,
    f"""
    INSERT INTO __agents_budgets (scope, unit, cap, parent, root, chain, reserved, settled, overruns)
    SELECT
      r.value ->> 'scope', r.value ->> 'unit', r.value ->> 'cap', r.value ->> 'parent', r.value ->> 'root', r.value ->> 'chain',
      r.value ->> 'reserved', r.value ->> 'settled', r.value ->> 'overruns'
    {_STAGED}
      AND staged.count = 3
    """,
)
