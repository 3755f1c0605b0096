// A lease with a fencing token, in a Durable Object; who waits for it stands in line in the object's memory.

import { DurableObject } from "cloudflare:workers";
import { CountedRows } from "./row_counts.js";

export class LeaseLock extends DurableObject {
  line = [];

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

  /** Count this object's rows from now on: only where the rows are asked for. */
  countRows() {
    this.sql = new CountedRows(this.ctx.storage.sql);
  }

  countedRows() {
    return this.sql.rows();
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

  /** `acquire` in turn; null when `waitMs` has passed. */
  acquireInTurn(owner, ttlMs, waitMs) {
    const lease = this.line.length ? null : this.acquire(owner, ttlMs);
    if (lease) return lease;
    const { promise, resolve } = Promise.withResolvers();
    const waiter = { owner, ttlMs, resolve };
    waiter.timer = setTimeout(() => this.leave(waiter), waitMs);
    this.line.push(waiter);
    if (this.line.length === 1) this.serveAtExpiry();
    return promise;
  }

  /** Whether the lease was held under this token, and is free now. */
  release(token) {
    const ended = this.sql.exec(
      "UPDATE lease SET expires_at = 0 WHERE id = 1 AND token = ? AND expires_at > ? RETURNING token",
      token,
      Date.now(),
    );
    const released = ended.toArray().length === 1;
    if (released && this.line.length) this.serve();
    return released;
  }

  isLocked() {
    return this.sql.exec("SELECT 1 FROM lease WHERE expires_at > ?", Date.now()).toArray().length === 1;
  }

  serve() {
    const [next] = this.line;
    const lease = next && this.acquire(next.owner, next.ttlMs);
    if (lease) {
      this.line.shift();
      clearTimeout(next.timer);
      next.resolve(lease);
    }
    this.serveAtExpiry();
  }

  serveAtExpiry() {
    clearTimeout(this.expiry);
    if (!this.line.length) return;
    const [row] = this.sql.exec("SELECT expires_at FROM lease").toArray();
    this.expiry = setTimeout(() => this.serve(), Math.max(0, row.expires_at - Date.now()));
  }

  leave(waiter) {
    this.line = this.line.filter((other) => other !== waiter);
    waiter.resolve(null);
  }
}
