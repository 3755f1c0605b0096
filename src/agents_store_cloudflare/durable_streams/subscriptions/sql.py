"""The SQL of the subscription index: tables of one reserved object, made with its first subscription."""

from __future__ import annotations

from typing import LiteralString

__all__ = [
    "CREATE_TABLES",
    "DELETE_LINK",
    "DELETE_LINKS",
    "DELETE_PATTERN_LINK",
    "DELETE_STREAM",
    "DELETE_SUBSCRIPTION",
    "INSERT_SETTING",
    "SELECT_LIFE",
    "SELECT_LINK",
    "SELECT_LINKS",
    "SELECT_PENDING",
    "SELECT_SETTING",
    "SELECT_SILENT",
    "SELECT_STREAMS",
    "SELECT_SUBSCRIPTIONS",
    "SELECT_TAIL",
    "SELECT_UNCHECKED",
    "UPDATE_CHECK",
    "UPDATE_LINK_KINDS",
    "UPDATE_TELLING",
    "UPSERT_LINK",
    "UPSERT_SETTING",
    "UPSERT_STREAM",
    "UPSERT_SUBSCRIPTION",
]

# `subscriptions`: configuration and state as JSON. `links`: the position of a subscription in a stream; `kinds` is 1 (by pattern),
# 2 (by name) or 3 (both). `streams`: every known stream, its last sequence, and the time to ask whether it still exists.
# `settings`: the signing keys, and the latest requests.
CREATE_TABLES: tuple[LiteralString, ...] = (
    """
CREATE TABLE IF NOT EXISTS subscriptions (
  id TEXT PRIMARY KEY,
  config TEXT NOT NULL,
  state TEXT NOT NULL
) WITHOUT ROWID
""",
    """
CREATE TABLE IF NOT EXISTS links (
  subscription_id TEXT NOT NULL,
  path TEXT NOT NULL,
  kinds INTEGER NOT NULL,
  acked INTEGER NOT NULL,
  PRIMARY KEY (subscription_id, path)
) WITHOUT ROWID
""",
    """
CREATE TABLE IF NOT EXISTS streams (
  path TEXT PRIMARY KEY,
  tail INTEGER NOT NULL,
  check_at INTEGER NOT NULL,
  life INTEGER NOT NULL,
  is_telling INTEGER NOT NULL
) WITHOUT ROWID
""",
    """
CREATE TABLE IF NOT EXISTS settings (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID
""",
)

# No parameters. Every subscription, read once in an object's life. The statement fails before the first subscription, because the
# table is missing.
SELECT_SUBSCRIPTIONS: LiteralString = """
SELECT id, config, state
FROM subscriptions
"""

# ?1 id, ?2 config, ?3 state. By key.
UPSERT_SUBSCRIPTION: LiteralString = """
INSERT INTO subscriptions (id, config, state)
VALUES (?1, ?2, ?3)
ON CONFLICT (id) DO UPDATE SET config = excluded.config, state = excluded.state
"""

# ?1 id. By key.
DELETE_SUBSCRIPTION: LiteralString = """
DELETE FROM subscriptions
WHERE id = ?1
"""

# ?1 subscription. Path, kinds, acked and the stream's last sequence (0 for a stream that was never seen), by the head of the key.
SELECT_LINKS: LiteralString = """
SELECT links.path, links.kinds, links.acked, COALESCE(streams.tail, 0)
FROM links
LEFT JOIN streams ON streams.path = links.path
WHERE links.subscription_id = ?1
ORDER BY links.path
"""

# ?1 subscription, ?2 path. One row if they are linked; by key.
SELECT_LINK: LiteralString = """
SELECT kinds
FROM links
WHERE subscription_id = ?1
  AND path = ?2
"""

# ?1 subscription. One row if one of its streams has chunks that were not acknowledged. By the head of the key.
SELECT_PENDING: LiteralString = """
SELECT 1
FROM links
JOIN streams ON streams.path = links.path
WHERE links.subscription_id = ?1
  AND streams.tail > links.acked
LIMIT 1
"""

# ?1 subscription, ?2 path, ?3 kinds, ?4 acked. By key.
UPSERT_LINK: LiteralString = """
INSERT INTO links (subscription_id, path, kinds, acked)
VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (subscription_id, path) DO UPDATE SET kinds = excluded.kinds, acked = excluded.acked
"""

# ?1 subscription, ?2 path. By key.
DELETE_LINK: LiteralString = """
DELETE FROM links
WHERE subscription_id = ?1
  AND path = ?2
"""

# ?1 subscription. By the head of the key.
DELETE_LINKS: LiteralString = """
DELETE FROM links
WHERE subscription_id = ?1
"""

# ?1 path, ?2 its last sequence, ?3 the time to ask whether it still exists, in ms, ?4 its life. Sequence and life never fall. By
# key; writes nothing if neither has risen.
UPSERT_STREAM: LiteralString = """
INSERT INTO streams (path, tail, check_at, life, is_telling)
VALUES (?1, ?2, ?3, ?4, 0)
ON CONFLICT (path) DO UPDATE
SET tail = MAX(excluded.tail, streams.tail),
    check_at = excluded.check_at,
    life = MAX(excluded.life, streams.life)
WHERE excluded.tail > streams.tail
   OR excluded.life > streams.life
"""

# ?1 path, ?2 whether its object reports changes. By key; writes nothing if the value is stored already.
UPDATE_TELLING: LiteralString = """
UPDATE streams
SET is_telling = ?2
WHERE path = ?1
  AND is_telling <> ?2
"""

# ?1 how many. Covered streams whose objects were not asked to report changes. Reads every row.
SELECT_SILENT: LiteralString = """
SELECT path
FROM streams
WHERE is_telling = 0
  AND path IN (SELECT path FROM links)
LIMIT ?1
"""

# ?1 path. One row with the life of the stream; by key.
SELECT_LIFE: LiteralString = """
SELECT life
FROM streams
WHERE path = ?1
"""

# ?1 now in ms, ?2 how many. Streams that have to be asked whether they still exist. Reads every row, once an hour.
SELECT_UNCHECKED: LiteralString = """
SELECT path
FROM streams
WHERE check_at <= ?1
LIMIT ?2
"""

# ?1 path, ?2 when to ask again, in ms. By key.
UPDATE_CHECK: LiteralString = """
UPDATE streams
SET check_at = ?2
WHERE path = ?1
"""

# ?1 subscription, ?2 path. Deletes a link that only the pattern has made (kind 1). By key.
DELETE_PATTERN_LINK: LiteralString = """
DELETE FROM links
WHERE subscription_id = ?1
  AND path = ?2
  AND kinds = 1
"""

# ?1 subscription, ?2 path, ?3 kinds. By key; writes nothing if the link has these kinds already.
UPDATE_LINK_KINDS: LiteralString = """
UPDATE links
SET kinds = ?3
WHERE subscription_id = ?1
  AND path = ?2
  AND kinds <> ?3
"""

# ?1 path. Its last sequence, by key; no row for a stream that was never seen.
SELECT_TAIL: LiteralString = """
SELECT tail
FROM streams
WHERE path = ?1
"""

# No parameters. Every known stream, for a new pattern.
SELECT_STREAMS: LiteralString = """
SELECT path, tail
FROM streams
"""

# ?1 path. By key.
DELETE_STREAM: LiteralString = """
DELETE FROM streams
WHERE path = ?1
"""

# ?1 name. By key.
SELECT_SETTING: LiteralString = """
SELECT value
FROM settings
WHERE name = ?1
"""

# ?1 name, ?2 value. A stored value stays.
INSERT_SETTING: LiteralString = """
INSERT INTO settings (name, value)
VALUES (?1, ?2)
ON CONFLICT (name) DO NOTHING
"""

# ?1 name, ?2 value. By key.
UPSERT_SETTING: LiteralString = """
INSERT INTO settings (name, value)
VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
