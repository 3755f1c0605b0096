"""The SQL of `LeaseTable`: one table in the Durable Object's own database, one row a key, one row written a change.

The row of a key is never deleted: it carries the highest fencing token ever granted. A later layout takes another table name and
copies from this one, so that no row is spent on a version number. WITHOUT ROWID: a text key costs no index row beside the table's.
"""

from __future__ import annotations

from typing import LiteralString

__all__ = ["CREATE_LEASES", "SELECT_LEASE", "UPDATE_EXPIRY", "UPDATE_RELEASED", "UPSERT_LEASE"]

# `fencing_token` is the last one granted, `released_token` the last one given back by its holder. `expires_at` is 0 once the lease
# has been seen to be over. `request_id` is the acquire that was granted: asked again, it gets the same answer.
CREATE_LEASES: LiteralString = """
CREATE TABLE IF NOT EXISTS leases_v1 (
  key TEXT PRIMARY KEY,
  fencing_token INTEGER NOT NULL,
  owner TEXT NOT NULL,
  request_id TEXT NOT NULL,
  ttl_ms INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  released_token INTEGER
) WITHOUT ROWID
"""

# ?1 key. The lease granted last, at most one row, by primary key; fails on a missing table where nothing was ever granted.
SELECT_LEASE: LiteralString = """
SELECT fencing_token, owner, request_id, ttl_ms, expires_at, released_token
FROM leases_v1
WHERE key = ?1
"""

# ?1 key, ?2 fencing token, ?3 owner, ?4 request id, ?5 ttl in ms, ?6 expiry in ms. Primary key.
UPSERT_LEASE: LiteralString = """
INSERT INTO leases_v1 (key, fencing_token, owner, request_id, ttl_ms, expires_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (key) DO UPDATE
SET fencing_token = excluded.fencing_token,
  owner = excluded.owner,
  request_id = excluded.request_id,
  ttl_ms = excluded.ttl_ms,
  expires_at = excluded.expires_at
"""

# ?1 key, ?2 ttl in ms, ?3 expiry in ms (0: over). Primary key.
UPDATE_EXPIRY: LiteralString = """
UPDATE leases_v1
SET ttl_ms = ?2,
  expires_at = ?3
WHERE key = ?1
"""

# ?1 key. Ends the lease, and remembers whose it was. Primary key.
UPDATE_RELEASED: LiteralString = """
UPDATE leases_v1
SET expires_at = 0,
  released_token = fencing_token
WHERE key = ?1
"""
