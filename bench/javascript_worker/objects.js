// The two Durable Objects: a stream of chunks, one row a chunk, and a lease with a fencing token. Chunks cross as JSON texts:
// a text is cheaper to copy than the object that it stands for.

import { DurableObject } from "cloudflare:workers";

export class StreamLog extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.sql = ctx.storage.sql;
    this.sql.exec("CREATE TABLE IF NOT EXISTS chunks (sequence INTEGER PRIMARY KEY, body TEXT NOT NULL)");
    this.lastSequence = this.sql.exec("SELECT coalesce(max(sequence), 0) AS last FROM chunks").one().last;
  }

  /** Store chunks, as JSON texts, in one transaction (no await between them); the last sequence. */
  append(bodies) {
    for (const body of bodies) {
      this.sql.exec("INSERT INTO chunks (sequence, body) VALUES (?, ?)", ++this.lastSequence, body);
    }
    return this.lastSequence;
  }

  /** The chunks after `sequence`, as JSON texts. */
  read(sequence, limit) {
    const rows = this.sql.exec(
      "SELECT body FROM chunks WHERE sequence > ? ORDER BY sequence LIMIT ?",
      sequence,
      limit,
    );
    return rows.toArray().map(({ body }) => body);
  }
}

export class LeaseLock extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.sql = ctx.storage.sql;
    this.sql.exec(
      `CREATE TABLE IF NOT EXISTS lease (
         id INTEGER PRIMARY KEY,
         token INTEGER NOT NULL,
         owner TEXT NOT NULL,
         expires_at INTEGER NOT NULL
       )`,
    );
  }

  /** The fencing token and when the lease ends; null while somebody holds it. */
  acquire(owner, ttlMs) {
    const now = Date.now();
    const expiresAt = now + ttlMs;
    const [row] = this.sql
      .exec(
        `INSERT INTO lease (id, token, owner, expires_at) VALUES (1, 1, ?1, ?2)
         ON CONFLICT (id) DO UPDATE SET token = token + 1, owner = excluded.owner, expires_at = excluded.expires_at
         WHERE expires_at <= ?3
         RETURNING token`,
        owner,
        expiresAt,
        now,
      )
      .toArray();
    return row ? { token: row.token, expiresAt } : null;
  }

  /** Whether the lease was held under this token, and is free now. */
  release(token) {
    const ended = this.sql.exec(
      "UPDATE lease SET expires_at = 0 WHERE id = 1 AND token = ? AND expires_at > ? RETURNING token",
      token,
      Date.now(),
    );
    return ended.toArray().length === 1;
  }

  isLocked() {
    return this.sql.exec("SELECT 1 FROM lease WHERE expires_at > ?", Date.now()).toArray().length === 1;
  }
}
