// Usage entries in D1 with their totals, in one batch: a statement for each table of totals, then one prepared statement bound once an
// entry. An entry whose id is stored already counts nowhere twice. The tables and their indexes are those that the package
// documents, so that both sides can answer the same questions.

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
  `CREATE TABLE IF NOT EXISTS usage_by_session (
     session_id TEXT NOT NULL,
     kind TEXT NOT NULL,
     name TEXT NOT NULL,
     entries INTEGER NOT NULL,
     first_timestamp INTEGER NOT NULL,
     last_timestamp INTEGER NOT NULL,
     prompt INTEGER NOT NULL,
     completion INTEGER NOT NULL,
     reasoning INTEGER NOT NULL,
     cached INTEGER NOT NULL,
     total INTEGER NOT NULL,
     failed INTEGER NOT NULL,
     duration_ms INTEGER NOT NULL,
     PRIMARY KEY (session_id, kind, name)
   ) WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS usage_by_day (
     day INTEGER NOT NULL,
     kind TEXT NOT NULL,
     name TEXT NOT NULL,
     agent TEXT NOT NULL,
     entries INTEGER NOT NULL,
     prompt INTEGER NOT NULL,
     completion INTEGER NOT NULL,
     reasoning INTEGER NOT NULL,
     cached INTEGER NOT NULL,
     total INTEGER NOT NULL,
     failed INTEGER NOT NULL,
     duration_ms INTEGER NOT NULL,
     PRIMARY KEY (day, kind, name, agent)
   ) WITHOUT ROWID`,
];

const SUMS = `
  sum(value ->> '$.tokens.prompt'), sum(value ->> '$.tokens.completion'), sum(value ->> '$.tokens.reasoning'),
  sum(value ->> '$.tokens.cached'), sum(value ->> '$.tokens.total'), sum(value ->> 'failed'), sum(value ->> 'durationMs')`;

const ADD = `
  entries = entries + excluded.entries,
  prompt = prompt + excluded.prompt,
  completion = completion + excluded.completion,
  reasoning = reasoning + excluded.reasoning,
  cached = cached + excluded.cached,
  total = total + excluded.total,
  failed = failed + excluded.failed,
  duration_ms = duration_ms + excluded.duration_ms`;

const ADD_TO_SESSIONS = `
  INSERT INTO usage_by_session
  SELECT value ->> 'sessionId', value ->> 'kind', value ->> 'name', count(*),
         min(value ->> 'timestamp'), max(value ->> 'timestamp'), ${SUMS}
  FROM json_each(?1)
  WHERE NOT EXISTS (SELECT 1 FROM usage WHERE id = value ->> 'id')
  GROUP BY 1, 2, 3
  ON CONFLICT DO UPDATE SET
    first_timestamp = min(first_timestamp, excluded.first_timestamp),
    last_timestamp = max(last_timestamp, excluded.last_timestamp), ${ADD}`;

const ADD_TO_DAYS = `
  INSERT INTO usage_by_day
  SELECT value ->> 'timestamp' / 86400000, value ->> 'kind', value ->> 'name', value ->> 'agent', count(*), ${SUMS}
  FROM json_each(?1)
  WHERE NOT EXISTS (SELECT 1 FROM usage WHERE id = value ->> 'id')
  GROUP BY 1, 2, 3, 4
  ON CONFLICT DO UPDATE SET ${ADD}`;

const INSERT = `
  INSERT INTO usage (id, session_id, kind, step_count, timestamp, source_type, source_name, data, created_at)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (id) DO NOTHING`;

const INSERT_ALL = `
  INSERT INTO usage (id, session_id, kind, step_count, timestamp, source_type, source_name, data, created_at)
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8
  FROM json_each(?1)
  WHERE true
  ON CONFLICT (id) DO NOTHING`;

const SELECT_STORED = "SELECT * FROM usage WHERE id IN (SELECT value FROM json_each(?1))";

const NO_TOKENS = { prompt: 0, completion: 0, reasoning: 0, cached: 0, total: 0 };

export class UsageStore {
  /**
   * @param {D1Database} db
   * @param {(results: D1Result[]) => void} [observe] called with the results of each batch
   */
  constructor(db, observe) {
    this.db = db;
    this.observe = observe;
  }

  /** The entries as they are stored: an earlier one where its id was there already. `tuned`: one statement for all. */
  async record(given, { tuned = false } = {}) {
    given.forEach(check);
    const now = Date.now();
    const entries = given.map((entry) => ({ ...entry, id: entry.id ?? crypto.randomUUID() }));
    const counted = JSON.stringify(entries.map(whatCounts));
    const rows = entries.map(({ id, sessionId, kind, stepCount, timestamp, source, ...data }) =>
      [id, sessionId, kind, stepCount, timestamp, source.type, source.name, JSON.stringify(data), now],
    );
    const insert = this.db.prepare(INSERT);
    const inserts = tuned
      ? [this.db.prepare(INSERT_ALL).bind(JSON.stringify(rows))]
      : rows.map((row) => insert.bind(...row));
    const results = await this.db.batch([
      this.db.prepare(SELECT_STORED).bind(JSON.stringify(entries.map(({ id }) => id))),
      this.db.prepare(ADD_TO_SESSIONS).bind(counted),
      this.db.prepare(ADD_TO_DAYS).bind(counted),
      ...inserts,
    ]);
    this.observe?.(results);
    const earlier = new Map(results[0].results.map((row) => [row.id, entryOf(row)]));
    return entries.map((entry) => earlier.get(entry.id) ?? entry);
  }

  async entries(sessionId) {
    const { results } = await this.db
      .prepare("SELECT * FROM usage WHERE session_id = ? ORDER BY timestamp, rowid")
      .bind(sessionId)
      .all();
    return results.map(entryOf);
  }

  async rollup(sessionId) {
    const { results } = await this.db.prepare("SELECT * FROM usage_by_session WHERE session_id = ?").bind(sessionId).all();
    const sum = (column) => results.reduce((total, row) => total + row[column], 0);
    return {
      entryCount: sum("entries"),
      prompt: sum("prompt"),
      cached: sum("cached"),
      total: sum("total"),
      durationMs: sum("duration_ms"),
    };
  }
}

function entryOf(row) {
  return {
    id: row.id,
    sessionId: row.session_id,
    kind: row.kind,
    stepCount: row.step_count,
    timestamp: row.timestamp,
    source: { type: row.source_type, name: row.source_name },
    ...JSON.parse(row.data),
  };
}

function whatCounts({ id, sessionId, kind, timestamp, source, model, toolName, tokens, success, durationMs }) {
  return {
    id,
    sessionId,
    kind,
    timestamp,
    name: model ?? toolName,
    agent: source.name,
    tokens: tokens ?? NO_TOKENS,
    failed: success === false ? 1 : 0,
    durationMs: durationMs ?? 0,
  };
}

function check({ kind, sessionId, stepCount, timestamp, tokens, durationMs }) {
  if (!["tokens", "tool", "subagent", "custom"].includes(kind)) throw new RangeError(`kind: ${kind}`);
  if (typeof sessionId !== "string" || !sessionId) throw new TypeError("sessionId");
  for (const count of [stepCount, timestamp, durationMs ?? 0, ...Object.values(tokens ?? {})]) {
    if (!Number.isSafeInteger(count) || count < 0) throw new RangeError(`not a count: ${count}`);
  }
  if (tokens && (tokens.cached > tokens.prompt || tokens.reasoning > tokens.completion)) throw new RangeError("tokens");
}
