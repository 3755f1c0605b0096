// The jobs on sessions. A job has `once`, which is timed, and `readBack`, which says what was stored or read; both get the order as it
// came. `setUp` goes before all of them and `beforeEach` before each, untimed.

import { SCHEMA as CHECKPOINTS, CheckpointStore } from "./checkpoints.js";
import { SCHEMA as SESSIONS, SessionStore, described } from "./sessions.js";
import { SCHEMA as STAGING, StagingStore } from "./staging.js";
import { SCHEMA as USAGE } from "./usage.js";

class Save {
  async setUp({ env, key, input }) {
    this.session = newSession(key, input);
    await new SessionStore(env.DB).save(this.session);
  }

  async once({ env, observe, input }) {
    this.session.messages.push(...input.added);
    this.session.stepCount += 1;
    await new SessionStore(env.DB, observe).save(this.session, input);
  }

  async readBack({ env, key }) {
    return described(await new SessionStore(env.DB).load(key));
  }
}

class Load {
  async once({ env, observe, input }) {
    this.session = await new SessionStore(env.DB, observe).load(input.session);
  }

  readBack() {
    return described(this.session);
  }
}

class Page {
  async once({ env, observe, input }) {
    const store = new SessionStore(env.DB, observe);
    this.page = input.tuned
      ? await store.tunedPage(input.session, input.offset, input.limit)
      : await store.page(input.session, input.offset, input.limit);
  }

  readBack() {
    return this.page;
  }
}

class CheckpointRestore {
  async setUp({ env, key, input }) {
    await new SessionStore(env.DB).save(newSession(key, input));
  }

  async once({ env, observe, key }) {
    const checkpoints = new CheckpointStore(env.DB, observe);
    this.session = await checkpoints.restore(key, await checkpoints.save(key));
  }

  async readBack({ env, key }) {
    return { ...described(this.session), checkpoints: await new CheckpointStore(env.DB).count(key) };
  }
}

class Promote {
  async setUp({ env, key, input }) {
    await new SessionStore(env.DB).save(newSession(key, input));
  }

  async beforeEach({ env, key, input }) {
    await new StagingStore(env.DB).stage(key, "step-1", input.changes);
  }

  async once({ env, observe, key }) {
    this.applied = await new StagingStore(env.DB, observe).promote(key, "step-1");
  }

  async readBack({ env, key }) {
    const { customState } = await new SessionStore(env.DB).load(key);
    return { applied: this.applied, customState };
  }
}

export const STATE_JOBS = {
  save: Save,
  load: Load,
  page: Page,
  checkpoint_restore: CheckpointRestore,
  promote: Promote,
};

/** The tables, and what the timed jobs read: a session saved turn by turn. */
export const STATE_PREPARATIONS = {
  async tables({ env }) {
    const schema = [...SESSIONS, ...CHECKPOINTS, ...STAGING, ...USAGE];
    await env.DB.batch(schema.map((statement) => env.DB.prepare(statement)));
  },

  async session({ env, input }) {
    const store = new SessionStore(env.DB);
    const session = newSession(input.session, input);
    for (const turn of input.turns) {
      session.messages.push(...turn);
      session.stepCount += 1;
      await store.save(session);
    }
  },
};

export function newSession(id, { state }) {
  return { id, agentType: "bench", status: "active", stepCount: 0, stored: 0, ...state, messages: [...state.messages] };
}
