// The jobs. Each has `once`, which is timed, and `readBack`, which says what was stored or read; both get the order as it came.

import { SCHEMA as SESSIONS, SessionStore } from "./sessions.js";
import { SCHEMA as USAGE, UsageStore } from "./usage.js";

const FLUSH_CHUNKS = 50;
const LOCK_TTL_MS = 30_000;

class Save {
  async setUp({ env, key, input }) {
    this.session = { id: key, agentType: "bench", status: "active", stepCount: 0, stored: 0, ...input.state };
    await new SessionStore(env.DB).save(this.session);
  }

  async once({ env, observe, input }) {
    this.session.messages.push(...input.added);
    this.session.stepCount += 1;
    await new SessionStore(env.DB, observe).save(this.session);
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
    this.page = await new SessionStore(env.DB, observe).page(input.session, input.offset, input.limit);
  }

  readBack() {
    return this.page;
  }
}

class StreamWrite {
  written = 0;

  async once({ env, key, input }) {
    await writeChunks(env.STREAMS.getByName(`${key}-${++this.written}`), input.chunks);
  }

  async readBack({ env, key, input }) {
    const stream = env.STREAMS.getByName(`${key}-${this.written}`);
    return { chunks: await readChunks(stream, input.chunks.length + 1) };
  }
}

class StreamReplay {
  async once({ env, input }) {
    this.chunks = await readChunks(env.STREAMS.getByName(input.stream), input.count);
  }

  readBack() {
    return { chunks: this.chunks };
  }
}

class AcquireRelease {
  tokens = [];

  async setUp(order) {
    await this.once(order);
  }

  async once({ env, key }) {
    const lock = env.LOCKS.getByName(key);
    const lease = await lock.acquire(crypto.randomUUID(), LOCK_TTL_MS);
    const released = await lock.release(lease.token);
    if (!released) throw new Error("the lease was lost");
    this.tokens.push(lease.token);
  }

  async readBack({ env, key }) {
    const rising = this.tokens.every((token, index) => index === 0 || token > this.tokens[index - 1]);
    return { grants: this.tokens.length, rising, locked: await env.LOCKS.getByName(key).isLocked() };
  }
}

class RecordUsage {
  async once({ env, observe, key, input }) {
    const entries = input.entries.map((entry) => ({ ...entry, sessionId: key }));
    await new UsageStore(env.DB, observe).record(entries);
  }

  async readBack({ env, key }) {
    const store = new UsageStore(env.DB);
    const stored = await store.entries(key);
    const ids = new Set(stored.map(({ id }) => id));
    const entries = stored.map(({ id, sessionId, ...entry }) => entry);
    return { ids: ids.size, entries, rollup: await store.rollup(key) };
  }
}

export const JOBS = {
  save: Save,
  load: Load,
  page: Page,
  stream_write: StreamWrite,
  stream_replay: StreamReplay,
  acquire_release: AcquireRelease,
  record_usage: RecordUsage,
};

/** The tables, and what the timed jobs read: a session saved turn by turn, a stream. */
export const PREPARATIONS = {
  async tables({ env }) {
    await env.DB.batch([...SESSIONS, ...USAGE].map((statement) => env.DB.prepare(statement)));
  },

  async session({ env, input }) {
    const store = new SessionStore(env.DB);
    const session = { id: input.session, agentType: "bench", status: "active", stepCount: 0, stored: 0, ...input.state };
    for (const turn of input.turns) {
      session.messages.push(...turn);
      session.stepCount += 1;
      await store.save(session);
    }
  },

  async stream({ env, input }) {
    await writeChunks(env.STREAMS.getByName(input.stream), input.chunks);
  },
};

async function writeChunks(stream, chunks) {
  let buffer = [];
  for (const chunk of chunks) {
    buffer.push(JSON.stringify(chunk));
    if (buffer.length === FLUSH_CHUNKS) {
      await stream.append(buffer);
      buffer = [];
    }
  }
  if (buffer.length) await stream.append(buffer);
}

async function readChunks(stream, limit) {
  const bodies = await stream.read(0, limit);
  return bodies.map((body) => JSON.parse(body));
}

function described({ status, stepCount, customState, messages }) {
  return { status, stepCount, customState, messages };
}
