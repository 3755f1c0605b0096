"""The SQL of stored amounts. A row that another program has damaged adds nothing. It stays damaged until it is counted anew."""

from __future__ import annotations

from typing import LiteralString

__all__ = ["EXACT", "UNREADABLE", "amounts_added", "readable", "recorded_amounts_added"]

EXACT: LiteralString = "BETWEEN -9007199254740991 AND 9007199254740991"
"""The condition that a counter must meet so that no sum overflows.

An overflow would fail the whole statement. Texts do not meet the condition.
"""

UNREADABLE: LiteralString = """'{"unreadable":1}'"""
"""Replaces amounts that cannot be read. They count as one row that is missing in the sums."""


def readable(amounts: LiteralString, otherwise: LiteralString = "'{}'") -> LiteralString:
    """Return the SQL of stored amounts, or `otherwise` if they are no JSON object."""
    return f"""CASE
      WHEN json_valid({amounts}) THEN CASE json_type({amounts}) WHEN 'object' THEN {amounts} ELSE {otherwise} END
      ELSE {otherwise}
    END"""


def amounts_added(
    table: LiteralString, added: LiteralString = "excluded.amounts", sign: LiteralString = ""
) -> LiteralString:
    """Return the assignment that adds amounts to the stored row, counter by counter. Counters that become zero are removed.

    Args:
        table: the table of the stored row.
        added: the amounts to add.
        sign: "-" to subtract them.
    """
    stored = readable(f"{table}.amounts", "NULL")
    return f"""
      amounts = CASE WHEN {stored} IS NULL THEN {table}.amounts ELSE (
        SELECT json_group_object(counter, total)
        FROM (
          SELECT counter, sum(amount) AS total
          FROM (
            SELECT key AS counter, value AS amount FROM json_each({table}.amounts)
            UNION ALL
            SELECT key AS counter, {sign}value AS amount FROM json_each({added})
          )
          WHERE amount {EXACT}
          GROUP BY counter
        )
        WHERE total <> 0
      ) END
    """


def recorded_amounts_added(table: LiteralString) -> LiteralString:
    """Return the assignment of `amounts_added` for an upsert that records entries. It has the same effect and takes less time."""
    stored = readable(f"{table}.amounts", "NULL")
    return f"""
      amounts = CASE WHEN {stored} IS NULL THEN {table}.amounts ELSE (
        SELECT json_group_object(key, total)
        FROM (
          SELECT
            key,
            coalesce({table}.amounts ->> key, 0) + coalesce(excluded.amounts ->> key, 0) AS total
          FROM json_each(json_patch({table}.amounts, excluded.amounts))
        )
        WHERE total <> 0
      ) END
    """
