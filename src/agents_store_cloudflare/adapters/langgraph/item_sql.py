"""The SQL of the long-term memory of graphs."""

from __future__ import annotations

from typing import Final, LiteralString

from agents_store_cloudflare.database.clock_sql import NOW_MS

__all__ = [
    "BEYOND",
    "GET",
    "GUARD_ITEMS",
    "NAMESPACES",
    "PUT",
    "REFRESH_FOUND",
    "REFRESH_GOT",
    "REVISION",
    "SEARCH",
    "SWEEP",
]

REVISION: Final = 12
"""The number of characters of a write's name."""

_FIRST_WRITE: LiteralString = "substr(i.writes, 1, 12)"

# A deleted item is a row without a value.
_IS_LIVE: LiteralString = f"i.value IS NOT NULL AND (i.expires_at IS NULL OR i.expires_at > {NOW_MS})"

# The columns of an item.
_ITEM: LiteralString = f"i.namespace, i.key, i.value, i.created_at, i.updated_at, {_FIRST_WRITE} AS revision"

# Whether a leaf of a filter holds: [path, kind, operand]. See filters.py.
_HOLDS: LiteralString = """
    CASE leaf.value ->> 1
      WHEN 'null or missing' THEN coalesce(json_type(i.value, leaf.value ->> 0), 'null') = 'null'
      WHEN 'null' THEN json_type(i.value, leaf.value ->> 0) IS 'null'
      WHEN 'text' THEN json_type(i.value, leaf.value ->> 0) IS 'text'
        AND json_extract(i.value, leaf.value ->> 0) = leaf.value ->> 2
      WHEN 'number' THEN json_type(i.value, leaf.value ->> 0) IN ('integer', 'real', 'true', 'false')
        AND json_extract(i.value, leaf.value ->> 0) = leaf.value ->> 2
      WHEN 'digits' THEN json_type(i.value, leaf.value ->> 0) IS 'integer'
        AND (i.value -> (leaf.value ->> 0)) = leaf.value ->> 2
      WHEN 'object' THEN json_type(i.value, leaf.value ->> 0) IS 'object'
        AND (leaf.value ->> 2 IS NULL OR (SELECT count(*) FROM json_each(i.value, leaf.value ->> 0)) = leaf.value ->> 2)
      WHEN 'array' THEN json_type(i.value, leaf.value ->> 0) IS 'array'
        AND json_array_length(i.value, leaf.value ->> 0) = leaf.value ->> 2
      ELSE json_type(i.value, leaf.value ->> 0) IN ('integer', 'real')
        AND CASE leaf.value ->> 1
          WHEN '$gt' THEN json_extract(i.value, leaf.value ->> 0) > leaf.value ->> 2
          WHEN '$gte' THEN json_extract(i.value, leaf.value ->> 0) >= leaf.value ->> 2
          WHEN '$lt' THEN json_extract(i.value, leaf.value ->> 0) < leaf.value ->> 2
          WHEN '$lte' THEN json_extract(i.value, leaf.value ->> 0) <= leaf.value ->> 2
        END
    END
"""

# ?4: the filter, as [[is negated, [leaf, …]], …]. Every group must hold, and a negated group must not hold.
# A row that holds no object matches, so that whoever reads it hears of it.
_MATCHES: LiteralString = f"""
    CASE WHEN NOT json_valid(i.value) THEN 1 WHEN json_type(i.value) <> 'object' THEN 1 ELSE NOT EXISTS (
      SELECT 1
      FROM json_each(?4) AS part
      WHERE part.value ->> 0 = NOT EXISTS (
        SELECT 1
        FROM json_each(part.value, '$[1]') AS leaf
        WHERE NOT coalesce({_HOLDS}, 0)
      )
    ) END
"""

_PAGE: LiteralString = f"""
    FROM (
      SELECT namespace, key, value, created_at, updated_at, expires_at, writes
      FROM __agents_graph_items
      WHERE namespace >= ?1
        AND namespace < ?2
        AND value IS NOT NULL
      ORDER BY namespace, key
      LIMIT ?3
    ) AS i
    WHERE {_IS_LIVE}
      AND {_MATCHES}
    ORDER BY i.namespace, i.key
    LIMIT ?5 OFFSET ?6
"""

# ?1 first namespace, ?2 the end of the range of namespaces, ?3 most rows to look at, ?4 filter, ?5 limit, ?6 offset
# -> (namespace, key, value, created, updated, revision). Primary key.
SEARCH: LiteralString = f"SELECT {_ITEM} {_PAGE}"

# The same parameters: the found items of SEARCH get their time to live anew.
REFRESH_FOUND: LiteralString = f"""
    UPDATE __agents_graph_items
    SET expires_at = {NOW_MS} + ttl_ms
    WHERE ttl_ms IS NOT NULL
      AND expires_at < {NOW_MS} + ttl_ms
      AND (namespace, key) IN (SELECT i.namespace, i.key {_PAGE})
"""

# ?1 first namespace, ?2 the end of the range, ?3 most rows -> one row if there are more. Primary key.
BEYOND: LiteralString = """
    SELECT 1
    FROM __agents_graph_items
    WHERE namespace >= ?1
      AND namespace < ?2
      AND value IS NOT NULL
    ORDER BY namespace, key
    LIMIT 1 OFFSET ?3
"""

# ?1 JSON list of [namespace, key] -> (place in the list, namespace, key, value, created, updated, revision). Primary key.
GET: LiteralString = f"""
    SELECT asked.key AS place, {_ITEM}
    FROM json_each(?1) AS asked
    CROSS JOIN __agents_graph_items AS i ON i.namespace = asked.value ->> 0 AND i.key = asked.value ->> 1
    WHERE {_IS_LIVE}
"""

# ?1 JSON list of [namespace, key]: these items get their time to live anew.
REFRESH_GOT: LiteralString = f"""
    UPDATE __agents_graph_items
    SET expires_at = {NOW_MS} + ttl_ms
    WHERE ttl_ms IS NOT NULL
      AND expires_at > {NOW_MS}
      AND expires_at < {NOW_MS} + ttl_ms
      AND (namespace, key) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))
"""

# ?1 first namespace, ?2 the end of the range, ?3 most namespaces -> (namespace, whether an item is in it), in order, and
# one more if there is one. Primary key: one row for each namespace, and the deleted or expired items before its first valid item.
NAMESPACES: LiteralString = f"""
    WITH RECURSIVE found (namespace, place) AS (
      SELECT (
        SELECT min(n.namespace)
        FROM __agents_graph_items AS n
        WHERE n.namespace >= ?1
          AND n.namespace < ?2
      ), 0
      UNION ALL
      SELECT (
        SELECT min(n.namespace)
        FROM __agents_graph_items AS n
        WHERE n.namespace > found.namespace
          AND n.namespace < ?2
      ), found.place + 1
      FROM found
      WHERE found.namespace IS NOT NULL
        AND found.place < ?3
    )
    SELECT
      found.namespace,
      EXISTS (
        SELECT 1
        FROM __agents_graph_items AS i
        WHERE i.namespace = found.namespace
          AND {_IS_LIVE}
      ) AS has_items
    FROM found
    WHERE found.namespace IS NOT NULL
"""

# ?1 JSON list of [namespace, key, [the writes that may be the last, "" for no item]], ?2 the write's name: aborts the batch
# with `item` if another write is the last. Primary key.
GUARD_ITEMS: LiteralString = f"""
    SELECT json_extract('{{}}', 'agents-store ' || json_object(
      'fault', 'item',
      'place', expected.key
    )) AS verdict
    FROM json_each(?1) AS expected
    LEFT JOIN __agents_graph_items AS i ON i.namespace = expected.value ->> 0 AND i.key = expected.value ->> 1
    WHERE instr(coalesce(i.writes, ''), ?2) = 0
      AND CASE WHEN {_IS_LIVE} THEN {_FIRST_WRITE} ELSE '' END NOT IN (SELECT value FROM json_each(expected.value, '$[2]'))
"""

# ?1 namespace, ?2 key, ?3 value or NULL to delete, ?4 in how many milliseconds its row expires or NULL, ?5 its time to live or NULL,
# ?6 the write's name. If this write was stored before, nothing changes, even if others wrote since. Primary key.
PUT: LiteralString = f"""
    INSERT INTO __agents_graph_items AS i (namespace, key, value, created_at, updated_at, expires_at, ttl_ms, writes)
    VALUES (?1, ?2, ?3, {NOW_MS}, {NOW_MS}, {NOW_MS} + ?4, ?5, ?6)
    ON CONFLICT (namespace, key) DO UPDATE SET
      value = excluded.value,
      created_at = CASE
        WHEN i.value IS NOT NULL AND (i.expires_at IS NULL OR i.expires_at > {NOW_MS}) THEN i.created_at
        ELSE excluded.created_at
      END,
      updated_at = excluded.updated_at,
      expires_at = excluded.expires_at,
      ttl_ms = excluded.ttl_ms,
      writes = excluded.writes || ' ' || substr(i.writes, 1, 194)
    WHERE instr(i.writes, excluded.writes) = 0
"""

# ?1 most rows -> one row for each deleted row. idx___agents_graph_items_expiry.
SWEEP: LiteralString = f"""
    DELETE FROM __agents_graph_items
    WHERE (namespace, key) IN (
      SELECT namespace, key
      FROM __agents_graph_items
      WHERE expires_at <= {NOW_MS}
      ORDER BY expires_at
      LIMIT ?1
    )
    RETURNING 1
"""
