// The jobs on usage.

import { UsageStore } from "./usage.js";

class RecordUsage {
  async once({ env, observe, key, input }) {
    const entries = input.entries.map((entry) => ({ ...entry, sessionId: key }));
    await new UsageStore(env.DB, observe).record(entries, input);
  }

  async readBack({ env, key }) {
    const store = new UsageStore(env.DB);
    const stored = await store.entries(key);
    const ids = new Set(stored.map(({ id }) => id));
    const entries = stored.map(({ id, sessionId, ...entry }) => entry);
    return { ids: ids.size, entries, rollup: await store.rollup(key) };
  }
}

class Rollup {
  async once({ env, observe, input }) {
    this.rollup = await new UsageStore(env.DB, observe).rollup(input.session);
  }

  readBack() {
    return { rollup: this.rollup };
  }
}

export const USAGE_JOBS = { record_usage: RecordUsage, rollup: Rollup };

export const USAGE_PREPARATIONS = {
  /** The same entries under new ids, again and again. */
  async usage({ env, input }) {
    const store = new UsageStore(env.DB);
    const entries = input.entries.map((entry) => ({ ...entry, sessionId: input.session }));
    for (let done = 0; done < input.times; done++) {
      await store.record(entries);
    }
  },
};
