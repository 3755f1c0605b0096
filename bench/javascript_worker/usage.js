// Usage entries in D1: one prepared statement bound once an entry, one batch. The table and its indexes are those that
// the package documents, so that both sides can answer the same questions.

export const SCHEMA = [
  `CREATE TABLE IF NOT EXISTS usage (
     id TEXT PRIMARY KEY,
     session_id TEXT NOT NULL,
     kind TEXT NOT NULL,
     step_count INTEGER NOT NULL,
     timestamp INTEGER NOT NULL,
     source_type TEXT NOT NULL,
     source_name TEXT NOT NULL,
     data TEXT NOT NULL,
     created_at INTEGER NOT NULL
   )`,
  "CREATE INDEX IF NOT EXISTS usage_session ON usage (session_id)",
  "CREATE INDEX IF NOT EXISTS usage_kind ON usage (kind)",
  "CREATE INDEX IF NOT EXISTS usage_timestamp ON usage (timestamp)",
];

export class UsageStore {
  /**
   * @param {D1Database} db
   * @param {(results: D1Result[]) => void} [observe] called with the results of each batch
   */
  constructor(db, observe) {
    this.db = db;
    this.observe = observe;
  }

  async record(entries) {
    const now = Date.now();
    const insert = this.db.prepare(
      `INSERT INTO usage (id, session_id, kind, step_count, timestamp, source_type, source_name, data, created_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO NOTHING`,
    );
    const inserts = entries.map(({ id, sessionId, kind, stepCount, timestamp, source, ...data }) =>
      insert.bind(
        id ?? crypto.randomUUID(),
        sessionId,
        kind,
        stepCount,
        timestamp,
        source.type,
        source.name,
        JSON.stringify(data),
        now,
      ),
    );
    const results = await this.db.batch(inserts);
    this.observe?.(results);
  }

  async entries(sessionId) {
    const { results } = await this.db
      .prepare("SELECT * FROM usage WHERE session_id = ? ORDER BY timestamp, rowid")
      .bind(sessionId)
      .all();
    return results.map((row) => ({
      id: row.id,
      sessionId: row.session_id,
      kind: row.kind,
      stepCount: row.step_count,
      timestamp: row.timestamp,
      source: { type: row.source_type, name: row.source_name },
      ...JSON.parse(row.data),
    }));
  }
}
