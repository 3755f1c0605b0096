// Bindings behind a network: each D1 round trip and each call of an object waits first. It counts them, and the rows that D1 says.

/** Delays from a seed: `ms` times 0.8 to 1.2, the same sequence as in delayed.py. Nothing waits before `begin()`. */
export class Delays {
  constructor({ ms, seed }) {
    this.ms = ms;
    this.seed = seed;
    this.begun = false;
    this.cost = { batches: 0, rowsRead: 0, rowsWritten: 0, calls: 0 };
  }

  begin() {
    this.begun = true;
  }

  async hop() {
    if (!this.begun || !this.ms) return;
    this.seed = (Math.imul(this.seed, 1664525) + 1013904223) >>> 0;
    await new Promise((resolve) => setTimeout(resolve, this.ms * (0.8 + 0.4 * (this.seed / 2 ** 32))));
  }

  async batch(work) {
    await this.hop();
    const answer = await work();
    if (this.begun) {
      this.cost.batches += 1;
      for (const { meta } of Array.isArray(answer) ? answer : [answer]) {
        this.cost.rowsRead += meta.rows_read;
        this.cost.rowsWritten += meta.rows_written;
      }
    }
    return answer;
  }

  async call(work) {
    await this.hop();
    if (this.begun) this.cost.calls += 1;
    return work();
  }
}

/** The Worker's `env` with D1 as `DB`, and its namespaces, behind `delays`. */
export function delayed(env, delays) {
  const named = (name, binding) => (name === "DB" ? new DelayedDatabase(binding, delays) : delayedNamespace(binding, delays));
  return Object.fromEntries(Object.entries(env).map(([name, binding]) => [name, named(name, binding)]));
}

class DelayedDatabase {
  constructor(db, delays) {
    this.db = db;
    this.delays = delays;
  }

  prepare(sql) {
    return new DelayedStatement(this.db.prepare(sql), this.delays);
  }

  batch(statements) {
    return this.delays.batch(() => this.db.batch(statements.map(({ statement }) => statement)));
  }
}

class DelayedStatement {
  constructor(statement, delays) {
    this.statement = statement;
    this.delays = delays;
  }

  bind(...values) {
    return new DelayedStatement(this.statement.bind(...values), this.delays);
  }

  all() {
    return this.delays.batch(() => this.statement.all());
  }

  run() {
    return this.delays.batch(() => this.statement.run());
  }
}

function delayedNamespace(namespace, delays) {
  const stub = (target) =>
    new Proxy(target, { get: (_, method) => (...values) => delays.call(() => target[method](...values)) });
  return { getByName: (name) => stub(namespace.getByName(name)) };
}
