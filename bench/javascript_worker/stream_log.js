// A stream of chunks in a Durable Object, one row a chunk, and its live readers on hibernating WebSockets. Chunks cross as JSON texts:
// a text is cheaper to copy than the object that it stands for.

import { DurableObject } from "cloudflare:workers";
import { CountedRows } from "./row_counts.js";

export class StreamLog extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.sql = ctx.storage.sql;
    this.sql.exec("CREATE TABLE IF NOT EXISTS chunks (sequence INTEGER PRIMARY KEY, body TEXT NOT NULL)");
    this.lastSequence = this.sql.exec("SELECT coalesce(max(sequence), 0) AS last FROM chunks").one().last;
  }

  /** Count this object's rows from now on: only where the rows are asked for. */
  countRows() {
    this.sql = new CountedRows(this.ctx.storage.sql);
  }

  countedRows() {
    return this.sql.rows();
  }

  /**
   * Store chunks, as JSON texts, in one transaction (no await between them), and tell who listens; the last sequence.
   * `tuned`: one statement for all of them.
   */
  append(bodies, tuned) {
    const first = this.lastSequence + 1;
    if (tuned) {
      const all = `[${bodies.join(",")}]`;
      this.sql.exec("INSERT INTO chunks (sequence, body) SELECT ?1 + key, value FROM json_each(?2)", first, all);
      this.lastSequence += bodies.length;
    } else {
      for (const body of bodies) {
        this.sql.exec("INSERT INTO chunks (sequence, body) VALUES (?, ?)", ++this.lastSequence, body);
      }
    }
    const listeners = this.ctx.getWebSockets();
    if (listeners.length) {
      const message = `{"id":${first},"chunks":[${bodies.join(",")}]}`;
      for (const listener of listeners) listener.send(message);
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

  fetch() {
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }
}
