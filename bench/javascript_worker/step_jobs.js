// An agent's whole step under its session's lock.

import { CheckpointStore } from "./checkpoints.js";
import { LOCK_TTL_MS } from "./lock_jobs.js";
import { SessionStore, described } from "./sessions.js";
import { newSession } from "./state_jobs.js";
import { readChunks, writeChunks } from "./stream_jobs.js";
import { UsageStore } from "./usage.js";

class Step {
  async setUp({ env, key, input }) {
    await new SessionStore(env.DB).save(newSession(key, input));
  }

  async once({ env, observe, key, input }) {
    const lock = env.LOCKS.getByName(key);
    const lease = await lock.acquire(crypto.randomUUID(), LOCK_TTL_MS);
    const sessions = new SessionStore(env.DB, observe);
    const session = await sessions.load(key);
    await writeChunks(env.STREAMS.getByName(key), input.chunks);
    session.messages.push(...input.added);
    session.stepCount += 1;
    await sessions.save(session, { more: [new CheckpointStore(env.DB).saving(key)] });
    await new UsageStore(env.DB, observe).record([{ ...input.entry, sessionId: key }]);
    if (!(await lock.release(lease.token))) throw new Error("the lease was lost");
  }

  async readBack({ env, key, input, repetitions }) {
    return {
      ...described(await new SessionStore(env.DB).load(key)),
      chunks: await readChunks(env.STREAMS.getByName(key), input.chunks.length * repetitions + 1),
      checkpoints: await new CheckpointStore(env.DB).count(key),
      rollup: await new UsageStore(env.DB).rollup(key),
      locked: await env.LOCKS.getByName(key).isLocked(),
    };
  }
}

export const STEP_JOBS = { step: Step };
