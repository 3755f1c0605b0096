// Checkpoints in D1: the session's own fields and how many messages it had. One batch a call.

import { sessionOf } from "./sessions.js";

export const SCHEMA = [
  `CREATE TABLE IF NOT EXISTS checkpoints (
     number INTEGER PRIMARY KEY,
     session_id TEXT NOT NULL,
     message_count INTEGER NOT NULL,
     status TEXT NOT NULL,
     step_count INTEGER NOT NULL,
     custom_state TEXT NOT NULL,
     created_at INTEGER NOT NULL
   )`,
  "CREATE INDEX IF NOT EXISTS checkpoints_session ON checkpoints (session_id)",
];

const INSERT = `
  INSERT INTO checkpoints (session_id, message_count, status, step_count, custom_state, created_at)
  SELECT id, (SELECT coalesce(max(sequence) + 1, 0) FROM messages WHERE session_id = ?1), status, step_count, custom_state, ?2
  FROM sessions
  WHERE id = ?1
  RETURNING number`;

export class CheckpointStore {
  /**
   * @param {D1Database} db
   * @param {(results: D1Result[]) => void} [observe] called with the results of each batch
   */
  constructor(db, observe) {
    this.db = db;
    this.observe = observe;
  }

  /** Keep the session as it is stored; the checkpoint's number. */
  async save(sessionId) {
    const [{ results }] = await this.batch([this.db.prepare(INSERT).bind(sessionId, Date.now())]);
    return results[0].number;
  }

  /** The same, as a statement for somebody's batch. */
  saving(sessionId) {
    return this.db.prepare(INSERT).bind(sessionId, Date.now());
  }

  /** Take the session back to a checkpoint of its own, dropping what came later; the session, or null. */
  async restore(sessionId, number) {
    const [sessions, , , messages] = await this.batch([
      this.db
        .prepare(
          `UPDATE sessions SET
             status = kept.status, step_count = kept.step_count, custom_state = kept.custom_state, updated_at = ?3
           FROM checkpoints AS kept
           WHERE sessions.id = ?1 AND kept.number = ?2 AND kept.session_id = ?1
           RETURNING *`,
        )
        .bind(sessionId, number, Date.now()),
      this.db
        .prepare(
          `DELETE FROM messages
           WHERE session_id = ?1
             AND sequence >= (SELECT message_count FROM checkpoints WHERE number = ?2 AND session_id = ?1)`,
        )
        .bind(sessionId, number),
      this.db.prepare("DELETE FROM checkpoints WHERE session_id = ? AND number > ?").bind(sessionId, number),
      this.db.prepare("SELECT body FROM messages WHERE session_id = ? ORDER BY sequence").bind(sessionId),
    ]);
    return sessionOf(sessions.results[0], messages.results);
  }

  async count(sessionId) {
    const { results } = await this.db
      .prepare("SELECT count(*) AS checkpoints FROM checkpoints WHERE session_id = ?")
      .bind(sessionId)
      .all();
    return results[0].checkpoints;
  }

  async batch(statements) {
    const results = await this.db.batch(statements);
    this.observe?.(results);
    return results;
  }
}
