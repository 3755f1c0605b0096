// Sessions and their messages in D1: prepared statements, one batch a call, one row a message. WITHOUT ROWID would write half the
// rows, in the same time, and double the time of a page.

export const SCHEMA = [
  `CREATE TABLE IF NOT EXISTS sessions (
     id TEXT PRIMARY KEY,
     agent_type TEXT NOT NULL,
     status TEXT NOT NULL,
     step_count INTEGER NOT NULL,
     custom_state TEXT NOT NULL,
     created_at INTEGER NOT NULL,
     updated_at INTEGER NOT NULL
   )`,
  `CREATE TABLE IF NOT EXISTS messages (
     session_id TEXT NOT NULL,
     sequence INTEGER NOT NULL,
     body TEXT NOT NULL,
     PRIMARY KEY (session_id, sequence)
   )`,
];

export class SessionStore {
  /**
   * @param {D1Database} db
   * @param {(results: D1Result[]) => void} [observe] called with the results of each batch
   */
  constructor(db, observe) {
    this.db = db;
    this.observe = observe;
  }

  /** Store the session and the messages from `session.stored` on, and in the same transaction what `more` says. `tuned`: one statement for all. */
  async save(session, { more = [], tuned = false } = {}) {
    const now = Date.now();
    const upsert = this.db
      .prepare(
        `INSERT INTO sessions (id, agent_type, status, step_count, custom_state, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
         ON CONFLICT (id) DO UPDATE SET
           status = excluded.status, step_count = excluded.step_count,
           custom_state = excluded.custom_state, updated_at = excluded.updated_at`,
      )
      .bind(
        session.id,
        session.agentType,
        session.status,
        session.stepCount,
        JSON.stringify(session.customState),
        now,
      );
    const added = session.messages.slice(session.stored);
    const inserts = tuned ? [this.insertOfAll(session, added)] : this.insertsOfEach(session, added);
    await this.batch([upsert, ...inserts, ...more]);
    session.stored = session.messages.length;
  }

  insertsOfEach(session, added) {
    const insert = this.db.prepare("INSERT INTO messages (session_id, sequence, body) VALUES (?, ?, ?)");
    return added.map((message, index) => insert.bind(session.id, session.stored + index, JSON.stringify(message)));
  }

  insertOfAll(session, added) {
    return this.db
      .prepare("INSERT INTO messages (session_id, sequence, body) SELECT ?1, ?2 + key, value FROM json_each(?3)")
      .bind(session.id, session.stored, JSON.stringify(added));
  }

  async load(id) {
    const [sessions, messages] = await this.batch([
      this.db.prepare("SELECT * FROM sessions WHERE id = ?").bind(id),
      this.db.prepare("SELECT body FROM messages WHERE session_id = ? ORDER BY sequence").bind(id),
    ]);
    return sessionOf(sessions.results[0], messages.results);
  }

  async page(id, offset, limit) {
    const [count, rows] = await this.batch([
      this.db.prepare("SELECT COUNT(*) AS total FROM messages WHERE session_id = ?").bind(id),
      this.db
        .prepare("SELECT body FROM messages WHERE session_id = ? ORDER BY sequence LIMIT ? OFFSET ?")
        .bind(id, limit, offset),
    ]);
    const total = count.results[0].total;
    const messages = rows.results.map(({ body }) => JSON.parse(body));
    return { messages, total, hasMore: offset + messages.length < total };
  }

  /** The same by the sequences, which have no gaps: nothing is counted, nothing skipped. */
  async tunedPage(id, offset, limit) {
    const [count, rows] = await this.batch([
      this.db.prepare("SELECT coalesce(max(sequence) + 1, 0) AS total FROM messages WHERE session_id = ?").bind(id),
      this.db
        .prepare("SELECT body FROM messages WHERE session_id = ? AND sequence >= ? ORDER BY sequence LIMIT ?")
        .bind(id, offset, limit),
    ]);
    const total = count.results[0].total;
    const messages = rows.results.map(({ body }) => JSON.parse(body));
    return { messages, total, hasMore: offset + messages.length < total };
  }

  async batch(statements) {
    const results = await this.db.batch(statements);
    this.observe?.(results);
    return results;
  }
}

/** The session of a row and of its messages' rows; null without a row. */
export function sessionOf(row, messages) {
  if (!row) return null;
  return {
    id: row.id,
    agentType: row.agent_type,
    status: row.status,
    stepCount: row.step_count,
    customState: JSON.parse(row.custom_state),
    messages: messages.map(({ body }) => JSON.parse(body)),
    stored: messages.length,
  };
}

export function described({ status, stepCount, customState, messages }) {
  return { status, stepCount, customState, messages };
}
