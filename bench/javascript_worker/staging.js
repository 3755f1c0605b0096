// What the tools of a step want to change, kept until the step is done and then applied together.

import { patched } from "./patches.js";

export const SCHEMA = [
  `CREATE TABLE IF NOT EXISTS staged (
     session_id TEXT NOT NULL,
     step_id TEXT NOT NULL,
     tool_call_id TEXT NOT NULL,
     patches TEXT NOT NULL,
     timestamp INTEGER NOT NULL,
     PRIMARY KEY (session_id, step_id, tool_call_id)
   )`,
];

export class StagingStore {
  /**
   * @param {D1Database} db
   * @param {(results: D1Result[]) => void} [observe] called with the results of each batch
   */
  constructor(db, observe) {
    this.db = db;
    this.observe = observe;
  }

  async stage(sessionId, stepId, changes) {
    const insert = this.db.prepare("INSERT OR REPLACE INTO staged VALUES (?, ?, ?, ?, ?)");
    await this.batch(
      changes.map(({ toolCallId, patches, timestamp }) =>
        insert.bind(sessionId, stepId, toolCallId, JSON.stringify(patches), timestamp),
      ),
    );
  }

  /** Apply the staged changes to the custom state, in order, and drop them: one read, one batch; the ids of the tool calls. */
  async promote(sessionId, stepId) {
    const [sessions, staged] = await this.batch([
      this.db.prepare("SELECT custom_state FROM sessions WHERE id = ?").bind(sessionId),
      this.db
        .prepare("SELECT * FROM staged WHERE session_id = ? AND step_id = ? ORDER BY timestamp, rowid")
        .bind(sessionId, stepId),
    ]);
    const before = sessions.results[0].custom_state;
    const operations = staged.results.flatMap(({ patches }) => JSON.parse(patches));
    const after = JSON.stringify(patched(JSON.parse(before), operations));
    const [updated] = await this.batch([
      this.db
        .prepare("UPDATE sessions SET custom_state = ?, updated_at = ? WHERE id = ? AND custom_state = ?")
        .bind(after, Date.now(), sessionId, before),
      this.db
        .prepare(
          `DELETE FROM staged
           WHERE session_id = ?1 AND step_id = ?2 AND EXISTS (SELECT 1 FROM sessions WHERE id = ?1 AND custom_state = ?3)`,
        )
        .bind(sessionId, stepId, after),
    ]);
    if (!updated.meta.changes) throw new Error("the session was changed meanwhile");
    return staged.results.map(({ tool_call_id }) => tool_call_id);
  }

  async batch(statements) {
    const results = await this.db.batch(statements);
    this.observe?.(results);
    return results;
  }
}
