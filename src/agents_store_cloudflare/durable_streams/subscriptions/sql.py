"""The SQL of the subscription index: tables of one reserved object, made with its first subscription."""

from __future__ import annotations

from typing import LiteralString

__all__ = [
    "CREATE_TABLES",
    "DELETE_GONE",
    "DELETE_LINK",
    "DELETE_LINKS",
    "DELETE_PATTERN_LINK",
    "DELETE_SUBSCRIPTION",
    "INSERT_SETTING",
    "SELECT_LINK",
    "SELECT_LINKS",
    "SELECT_PENDING",
    "SELECT_SETTING",
    "SELECT_SILENT",
    "SELECT_STREAM",
    "SELECT_STREAMS",
    "SELECT_SUBSCRIPTIONS",
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
# 2 (by name) or 3 (both). `streams`: every known path, the number of its present life, the last sequence before that life and in it,
# whether there is a stream now, and the time to ask whether it still exists. The row of a stream that is gone has the number of the
# next life, so that late news of the last one is recognised.
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
  begun INTEGER NOT NULL,
  life INTEGER NOT NULL,
  is_gone INTEGER NOT NULL,
  check_at INTEGER NOT NULL,
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

# ?1 subscription. Path, kinds, acked, and the stream's last sequence and the last one before its present life (0 for a stream that
# was never seen), by the head of the key. A position before the present life stands for its beginning.
SELECT_LINKS: LiteralString = """
SELECT
  links.path,
  links.kinds,
  MAX(links.acked, COALESCE(streams.begun, 0)),
  COALESCE(streams.tail, 0),
  COALESCE(streams.begun, 0)
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
  AND streams.tail > MAX(links.acked, streams.begun)
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

# ?1 path, ?2 its last sequence, ?3 the last one before its life, ?4 its life, ?5 whether it is gone, ?6 the time to ask whether it
# still exists, in ms. By key; writes nothing if the row knows this or more. Numbers never fall.
UPSERT_STREAM: LiteralString = """
INSERT INTO streams (path, tail, begun, life, is_gone, check_at, is_telling)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)
ON CONFLICT (path) DO UPDATE
SET tail = MAX(excluded.tail, streams.tail),
    begun = MAX(excluded.begun, streams.begun),
    life = excluded.life,
    is_gone = excluded.is_gone,
    check_at = excluded.check_at
WHERE excluded.life > streams.life
   OR (
     excluded.life = streams.life
     AND excluded.is_gone = 0
     AND (streams.is_gone = 1 OR excluded.tail > streams.tail)
   )
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

# ?1 now in ms, ?2 how many. Streams that have to be asked whether they still exist. Reads every row, once an hour.
SELECT_UNCHECKED: LiteralString = """
SELECT path
FROM streams
WHERE check_at <= ?1
  AND is_gone = 0
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

# ?1 path. What is known of the stream, by key; no row for a stream that was never seen.
SELECT_STREAM: LiteralString = """
SELECT tail, begun, life, is_gone
FROM streams
WHERE path = ?1
"""

# No parameters. Every known stream, for a new pattern.
SELECT_STREAMS: LiteralString = """
SELECT path, tail, begun, life, is_gone
FROM streams
"""

# ?1 now in ms. Forgets streams that are gone for long and that no subscription names; reads every row, once an hour.
DELETE_GONE: LiteralString = """
DELETE FROM streams
WHERE is_gone = 1
  AND check_at <= ?1
  AND path NOT IN (SELECT path FROM links)
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
